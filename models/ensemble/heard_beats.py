"""Beats as the ears tap them in a song, with the beat of the bar that each of them is.

What the filter of the bar (``kelly_edge.rhythm.bar``) is given is kept with them, so that it can be run again
with another network. Frames and activations are kept on disk, so that a song is rendered and heard only
once.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ, HOP_SIZE
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES
from kelly_edge.rhythm.bar import FIRST, METRES, N_CELLS, weigh
from kelly_edge.rhythm.bar_evidence import (
    N_COMPARED,
    BarNetwork,
    BeatVectors,
    beat_vectors,
    begin_beat,
    compared,
    complete,
    take_frame,
    take_notes,
)
from kelly_edge.rhythm.bar_weights import BAR
from kelly_edge.rhythm.beat import (
    DELAY_S,
    LATE_S,
    OTHER_TEMPO,
    PERIOD,
    PHASE,
    BeatState,
    beat_group,
    beat_state,
)
from kelly_edge.rhythm.count import (
    COUNTED,
    COUNTED_PERIOD,
    OFF,
    beat_count,
    count_anew,
    count_on,
    next_frame,
)
from kelly_edge.rhythm.evidence import STILL, Network
from kelly_edge.rhythm.pulse import HARMONY_LAG, PulseTables, pulse_tables
from kelly_edge.rhythm.weights import ACCENTS, HARMONY
from models.ensemble.songs import Song

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FIRST_CELL: Final = dict(zip(METRES, FIRST, strict=True))
SAME_TEMPO: Final = 0.15
"""Nats by which a beat tapped may differ from the annotated one or its half. Chosen by hand."""
NEAR_BEATS: Final = 0.2
"""How far from an annotated beat, or half, a beat tapped may lie. Chosen by hand."""
ACCENTS_SAY, HARMONY_SAYS = 0, 1
"""What is known of the cells beside the network's word, in order. By definition of ``Steps``."""


class Steps(NamedTuple):
    """What the filter is given from one beat to the next: t of them."""

    before: Float32  # [t, 2, N_CELLS] log likelihoods by accents and harmony until the network's word
    after: Float32  # [t, 2, N_CELLS] the same from then on
    beat: Ints  # [t] of which beat tapped the network spoke; -1 where of none
    is_new: NDArray[np.bool_]  # [t] whether nothing before it is remembered

    def some(self, begin: int, end: int) -> "Steps":
        """From ``begin`` to before ``end``."""
        chosen = slice(begin, end)
        return Steps(self.before[chosen], self.after[chosen], self.beat[chosen], self.is_new[chosen])


class TappedBeats(NamedTuple):
    """Beats of a piece as the tracker collects them: n of them."""

    compared: Float32  # [n, N_COMPARED] of the beat before with those before it
    period: Floats  # [n] in frames
    begin_s: Floats  # [n] seconds of the sound
    steps: Steps


def steps_of(n: int) -> Steps:
    """None of which anything is known."""
    shape = (n, 2, N_CELLS)
    none = np.full(n, -1)
    return Steps(np.zeros(shape, np.float32), np.zeros(shape, np.float32), none, np.zeros(n, np.bool_))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tap(
    frames: Float32,
    notes: Float32,
    accents: Network,
    harmony: Network,
    bar: BarNetwork,
    tables: PulseTables,
    state: BeatState,
    vectors: BeatVectors,
    count: Floats,
    comparisons: Float32,
    period_and_begin: Floats,
    steps: Steps,
) -> tuple[int, int]:
    """How many beats and steps there were. Groups are taken as in ``beat._keep_bar``, which weighs at once
    what is collected here."""
    n, t = 0, 0
    for group in range(len(notes)):
        beat_group(
            frames[group * N_FRAMES : (group + 1) * N_FRAMES],
            notes[group],
            accents,
            harmony,
            bar,
            tables,
            state,
        )
        period, last = state.reading[PERIOD], count[COUNTED_PERIOD]
        if last > 0.0 and abs(math.log(period / last)) > math.log(OTHER_TEMPO):
            count_anew(count)
            vectors.ring[:] = 0.0
            t += 1
            steps.is_new[t] = True
        per_frame = count_on(state.reading[PHASE], period, N_FRAMES, count)
        for i in range(N_FRAMES):
            if next_frame(per_frame, count):
                t += 1
                begin_beat(period, vectors)
            take_frame(state.rises[i], count[COUNTED], period, vectors)
            evidence = steps.before if steps.beat[t] < 0 else steps.after
            weigh(evidence[t, ACCENTS_SAY], state.accents[i], count[COUNTED] + count[OFF], 1.0)
        place = count[COUNTED] + count[OFF] - HARMONY_LAG / period
        evidence = steps.before if steps.beat[t] < 0 else steps.after
        weigh(evidence[t, HARMONY_SAYS], state.harmony, place, 1.0)
        mean = state.evidence.mean
        if complete(vectors) and mean[0] >= STILL * mean[1]:
            steps.beat[t] = n
            compared(vectors.ring, period, comparisons[n])
            age_s = DELAY_S + LATE_S + count[COUNTED] * period / FRAME_RATE_HZ
            period_and_begin[n, 0] = period
            period_and_begin[n, 1] = (group + 1) / EMOTION_RATE_HZ - age_s
            n += 1
        take_notes(notes[group], vectors)
    return n, t + 1


def tapped_beats(frames: Float32, notes: Float32) -> TappedBeats:
    """What the tracker collects of log mel frames [8 n, 27] and note activations [n, 88]."""
    most = len(notes) + 2
    comparisons, steps = np.zeros((most, N_COMPARED), np.float32), steps_of(2 * most)
    period_and_begin = np.zeros((most, 2))
    states = (beat_state(), beat_vectors(), beat_count())
    networks = (ACCENTS, HARMONY, BAR, pulse_tables())
    n, t = _tap(frames, notes, *networks, *states, comparisons, period_and_begin, steps)
    period, begin_s = period_and_begin[:n].T
    return TappedBeats(comparisons[:n], period, begin_s, steps.some(0, t))


def heard_of(sound: Float32) -> tuple[Float32, Float32]:
    """Log mel of every frame [8 n, 27] and activations of every group [n, 88]."""
    extractor, frames, notes = FeatureExtractor(), [], []
    for i in range(len(sound) // HOP_SIZE):
        if extractor.push(sound[i * HOP_SIZE : (i + 1) * HOP_SIZE]):
            frames.append(extractor.frames.copy())
            notes.append(extractor.notes.copy())
    return np.concatenate(frames), np.array(notes)


def heard_and_kept(folder: Path, key: str, sound: Callable[[], Float32]) -> tuple[Float32, Float32]:
    """``heard_of`` a sound as it lies in ``folder`` under ``key``, or heard and put there: as half floats."""
    path = folder / f"{key}.npz"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        frames, notes = heard_of(sound())
        partial = path.with_suffix(".part.npz")
        np.savez(partial, frames=frames.astype(np.float16), notes=notes.astype(np.float16))
        partial.replace(path)
    with np.load(path) as file:
        return file["frames"].astype(np.float32), file["notes"].astype(np.float32)


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


def cells_tapped(song: Song, begin_s: Floats, period: Floats) -> Ints:
    """The cell of every beat tapped, as the annotation says; -1 where the ears tap something else.

    ``begin_s``: in seconds of the song; ``period``: in frames.
    """
    beats_s = song.beats_s
    place = np.interp(begin_s, beats_s, np.arange(len(beats_s)), left=np.nan, right=np.nan)
    length_s = np.interp(begin_s, beats_s[:-1], np.diff(beats_s))
    cells = np.full(len(place), -1)
    for per_beat in (1, 2):
        annotated = cells_of(song, per_beat)
        ratio = period / FRAME_RATE_HZ / length_s * per_beat
        at = np.where(np.isfinite(place), place * per_beat, -1.0)
        number = np.round(at).astype(int)
        known = (np.abs(np.log(ratio)) < SAME_TEMPO) & (np.abs(at - number) < NEAR_BEATS)
        known &= (number >= 0) & (number < len(annotated))
        cells[known] = annotated[number[known]]
    return cells
