"""Beats as the ears tap them in a rendered song, with the beat of the bar that each of them is."""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ, HOP_SIZE
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES
from kelly_edge.rhythm.bar import FIRST, METRES
from kelly_edge.rhythm.beat import DELAY_S, LATE_S, BeatTracker
from models.ensemble.songs import Song

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FIRST_CELL: Final = dict(zip(METRES, FIRST, strict=True))
SAME_TEMPO: Final = 0.15
"""Nats by which a beat tapped may differ from the annotated one or its half. Chosen by hand."""
NEAR_BEATS: Final = 0.2
"""How far from an annotated beat, or half, a beat tapped may lie. Chosen by hand."""


class TappedBeats(NamedTuple):
    """Beats of a piece as the tracker collects them: n of them."""

    vectors: Float32  # [n, N_VECTOR] of the beat before
    period: Floats  # [n] in frames
    begin_s: Floats  # [n] seconds of the sound
    is_new: NDArray[np.bool_]  # [n] whether nothing before it is remembered


def tapped_beats(frames: Float32, notes: Float32) -> TappedBeats:
    """What the tracker collects of log mel frames [8 n, 27] and note activations [n, 88]."""
    tracker, rows = BeatTracker(), []
    last = tracker.tapped()[0]
    for group, activations in enumerate(notes):
        tracker.push(frames[group * N_FRAMES : (group + 1) * N_FRAMES], activations)
        vectors, period, phase = tracker.tapped()
        if not np.array_equal(vectors[-1], last[-1]):
            age_s = DELAY_S + LATE_S + phase * period / FRAME_RATE_HZ
            rows.append((vectors[-1], period, (group + 1) / EMOTION_RATE_HZ - age_s, not vectors[-2].any()))
        last = vectors
    return TappedBeats(*(np.array(column) for column in zip(*rows, strict=True)))


def heard_of(sound: Float32) -> tuple[Float32, Float32]:
    """Log mel of every frame [8 n, 27] and activations of every group [n, 88]."""
    extractor, frames, notes = FeatureExtractor(), [], []
    for i in range(len(sound) // HOP_SIZE):
        if extractor.push(sound[i * HOP_SIZE : (i + 1) * HOP_SIZE]):
            frames.append(extractor.frames.copy())
            notes.append(extractor.notes.copy())
    return np.concatenate(frames), np.array(notes)


def cells_of(song: Song, per_beat: int) -> Ints:
    """The cell of every beat, or of every half where ``per_beat`` is 2; -1 where no metre fits."""
    n, lines = len(song.beats_s), np.searchsorted(song.beats_s, song.downbeats_s - 0.01)
    cells = np.full(per_beat * (n - 1) + 1, -1)
    usual = int(np.median(np.diff(lines))) if len(lines) > 2 else 0
    for begin, end in pairwise(lines):
        length = usual if end - begin == 2 and usual == 4 else end - begin
        if per_beat * length in FIRST_CELL and not (per_beat == 1 and length == 8):
            places = np.arange(per_beat * (end - begin))
            cells[per_beat * begin : per_beat * end] = FIRST_CELL[per_beat * length] + places
    return cells


def cells_tapped(song: Song, tapped: TappedBeats) -> Ints:
    """The cell of every beat tapped, as the annotation says; -1 where the ears tap something else."""
    beats_s = song.beats_s
    place = np.interp(tapped.begin_s, beats_s, np.arange(len(beats_s)), left=np.nan, right=np.nan)
    length_s = np.interp(tapped.begin_s, beats_s[:-1], np.diff(beats_s))
    cells = np.full(len(place), -1)
    for per_beat in (1, 2):
        annotated = cells_of(song, per_beat)
        ratio = tapped.period / FRAME_RATE_HZ / length_s * per_beat
        at = np.where(np.isfinite(place), place * per_beat, -1.0)
        number = np.round(at).astype(int)
        known = (np.abs(np.log(ratio)) < SAME_TEMPO) & (np.abs(at - number) < NEAR_BEATS)
        known &= (number >= 0) & (number < len(annotated))
        cells[known] = annotated[number[known]]
    return cells
