"""A piano piece for other players: the same notes as a band with drums, strings, winds, guitars or a choir.

There is far less annotated music for ensembles than for the piano; a piece that is only orchestrated keeps
its mood nearly enough to learn from. The notes are dealt by where they lie: the highest of what is struck
together is the melody, the lowest up to E3 the bass, the rest lies between. Drums follow the piece's own
onsets or its tempo, with a level drawn at random, so that they carry nothing of the label that the notes do
not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import mido
import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.symbolic import CHORD_S, tempo_octaves
from models.emotion.strings import pressed

Notes = NDArray[np.float64]
"""Rows (onset s, duration s, pitch, velocity), by onset."""
DRUM_CHANNEL: Final = 9
"""Channel 10, counted from 0 (General MIDI)."""
# MIDI note up to which the lowest voice is the bass; chosen by hand.
BASS_TOP: Final = 52
KICK, SNARE, CLOSED_HAT, OPEN_HAT, RIDE = 36, 38, 42, 46, 51
"""Keys of General MIDI's drum map."""
# Chosen: of the file that is written; the finest that sequencers use.
TICKS_PER_BEAT: Final = 480
TEMPO_US: Final = 500_000
"""Of the file: a beat of half a second, so that a second is 960 ticks."""


def deal(notes: Notes) -> tuple[Notes, Notes, Notes]:
    """Melody, middle and bass of ``notes``."""
    first = np.r_[True, np.diff(notes[:, 0]) > CHORD_S]
    chord = np.cumsum(first) - 1
    part = np.ones(len(notes), int)
    for c in range(int(chord[-1]) + 1):
        rows = np.flatnonzero(chord == c)
        by_pitch = rows[np.argsort(notes[rows, 2])]
        if notes[by_pitch[0], 2] <= BASS_TOP:
            part[by_pitch[0]] = 2
        if notes[by_pitch[-1], 2] > BASS_TOP:
            part[by_pitch[-1]] = 0
    return notes[part == 0], notes[part == 1], notes[part == 2]


def _drums(notes: Notes, bass: Notes, rng: np.random.Generator) -> list[tuple[float, int, int]]:
    """Strokes (s, key, velocity)."""
    level = rng.uniform(0.45, 1.1)
    loud = float(np.mean(notes[:, 3]))

    def velocity(share: float) -> int:
        return int(np.clip(level * share * loud + rng.normal(0.0, 4.0), 1, 127))

    strokes: list[tuple[float, int, int]] = []
    hat = int(rng.choice([CLOSED_HAT, OPEN_HAT, RIDE]))
    if rng.random() < 0.5:
        struck = np.unique(notes[:, 0].round(2))
        strokes += [(float(t), hat, velocity(0.8)) for t in struck]
        strokes += [(float(t), KICK, velocity(1.1)) for t in np.unique(bass[:, 0].round(2))]
        strokes += [(float(t), SNARE, velocity(1.0)) for t in struck[2::4]]
    else:
        beat_s = 60.0 / (120.0 * 2.0 ** tempo_octaves(notes[:, 0] - notes[0, 0]))
        per_beat = int(rng.choice([1, 2]))
        end = float(notes[-1, 0] + notes[-1, 1])
        for i, t in enumerate(np.arange(float(notes[0, 0]), end, beat_s / per_beat)):
            strokes.append((float(t), hat, velocity(0.8)))
            if i % (4 * per_beat) == 0 or (per_beat == 2 and i % 8 == 5):
                strokes.append((float(t), KICK, velocity(1.1)))
            if i % (4 * per_beat) == 2 * per_beat:
                strokes.append((float(t), SNARE, velocity(1.0)))
    return strokes


def _one_of(rng: np.random.Generator, *programmes: int) -> int:
    return int(rng.choice(programmes))


Score = list[tuple[int, Notes]]
"""(General MIDI programme counted from 0, notes) for each player."""


def _band(notes: Notes, rng: np.random.Generator) -> Score:
    melody, middle, bass = deal(notes)
    return [
        (_one_of(rng, 0, 11, 22, 25, 27, 29, 40, 56, 65, 73, 80, 81), melody),
        (_one_of(rng, 0, 4, 16, 24, 25, 27, 29, 30, 48, 50, 61, 89), middle),
        (_one_of(rng, 32, 33, 34, 35, 38), bass),
    ]


def _strings(notes: Notes, rng: np.random.Generator) -> Score:
    melody, middle, bass = deal(notes)
    if rng.random() < 0.4:
        return [(_one_of(rng, 48, 49, 50), notes)]
    high = middle[:, 2] >= 60
    return [(40, np.concatenate([melody, middle[high]])), (41, middle[~high]), (42, bass)]


def _winds(notes: Notes, rng: np.random.Generator) -> Score:
    melody, middle, bass = deal(notes)
    return [
        (_one_of(rng, 68, 71, 73, 75, 56, 65), melody),
        (_one_of(rng, 71, 60, 61, 64, 68), middle),
        (_one_of(rng, 70, 57, 58, 67), bass),
    ]


def _guitar(notes: Notes, rng: np.random.Generator) -> Score:
    return [(_one_of(rng, 24, 25, 26, 27), notes)]


def _choir(notes: Notes, rng: np.random.Generator) -> Score:
    return [(_one_of(rng, 16, 19, 21, 52, 53, 88, 91), notes)]


ARRANGEMENTS: Final[dict[str, Callable[[Notes, np.random.Generator], Score]]] = {
    "band": _band,
    "strings": _strings,
    "winds": _winds,
    "guitar": _guitar,
    "choir": _choir,
}
WITH_DRUMS: Final = ("band",)


def arrange(source: Path, arrangement: str, target: Path, rng: np.random.Generator) -> Path:
    """Write the piece of ``source`` to ``target`` as one of ``ARRANGEMENTS`` plays it. Raises DataError."""
    notes = pressed(source)
    # A player cannot hold as long as a pedal does.
    notes[:, 1] = np.minimum(notes[:, 1], 4.0)
    score = ARRANGEMENTS[arrangement](notes, rng)
    events: list[tuple[float, int, mido.Message]] = []
    channels = [c for c in range(16) if c != DRUM_CHANNEL]
    for channel, (programme, part) in zip(channels, score, strict=False):
        events.append((0.0, 0, mido.Message("program_change", channel=channel, program=programme)))
        for onset, duration, pitch, velocity in part:
            on = mido.Message("note_on", channel=channel, note=int(pitch), velocity=int(velocity))
            events.append((float(onset), 2, on))
            events.append(
                (float(onset + duration), 1, mido.Message("note_off", channel=channel, note=int(pitch)))
            )
    if arrangement in WITH_DRUMS:
        for at, key, velocity in _drums(notes, deal(notes)[2], rng):
            events.append((at, 2, mido.Message("note_on", channel=DRUM_CHANNEL, note=key, velocity=velocity)))
            off = mido.Message("note_off", channel=DRUM_CHANNEL, note=key)
            events.append((at + 0.1, 1, off))
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT)
    track = mido.MidiTrack()
    file.tracks.append(track)
    now = 0
    for at, _, message in sorted(events, key=lambda e: e[:2]):
        tick = round(at * TICKS_PER_BEAT * 1e6 / TEMPO_US)
        track.append(message.copy(time=tick - now))
        now = tick
    file.save(target)
    return target
