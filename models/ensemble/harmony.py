"""How far two players agree in harmony: notes in the chord that sounds, and consonances between the parts.

The chords are POP909's annotations (``chord_midi.txt``), sevenths, suspensions and basses included. Both
rates stand beside *chance*, the same notes moved in time by some seconds, and beside the player's own notes.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LETTERS: Final = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS: Final = {"": 0, "b": -1, "#": 1}
SHORTHANDS: Final = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "sus4(b7)": (0, 5, 7, 10),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
}
"""Pitch classes above the root of the chords that POP909 names."""
DEGREES: Final = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of the degrees 1 to 7 that name a bass."""
SHIFTS_S: Final = (-11.3, -7.7, -5.1, -3.3, 3.3, 5.1, 7.7, 11.3)
"""What notes are moved by to find what chance reaches: by no whole number of usual bars."""
ROUGH: Final = (1, 6, 11)
"""Semitones (modulo an octave) that clash: StreamMUSE's semitone and tritone, in any octave."""


@dataclass(frozen=True)
class Chords:
    """Annotated chords in time."""

    start_s: Floats
    """[n], ascending."""
    end_s: Floats
    """[n]."""
    root: Ints
    """[n] pitch classes; -1 where there is no chord."""
    classes: Ints
    """[n] sets of pitch classes (bit ``p`` is pitch class ``p``); 0 where there is no chord."""

    def at(self, time_s: Floats) -> Ints:
        """Number of the chord that sounds at each time [m]; -1 outside of all."""
        index = np.searchsorted(self.start_s, time_s, side="right") - 1
        inside = (index >= 0) & (time_s < self.end_s[np.maximum(index, 0)])
        return np.where(inside, index, -1)


@dataclass(frozen=True)
class Played:
    """Notes of one player, by onset."""

    onset_s: Floats
    end_s: Floats
    pitch: Ints


def parse_chord(name: str) -> tuple[int, tuple[int, ...]]:
    """Root and pitch classes of a chord such as ``Bb:min7/b3``; (-1, ()) of ``N``. Raises ValueError."""
    if name == "N":
        return -1, ()
    match = re.fullmatch(r"([A-G])([b#]?):([^/]+)(?:/([b#]?)(\d))?", name)
    if not match or match[3] not in SHORTHANDS:
        raise ValueError(f"unknown chord {name!r}")
    root = (LETTERS[match[1]] + ACCIDENTALS[match[2]]) % 12
    steps = {*SHORTHANDS[match[3]]}
    if match[5]:
        steps.add(DEGREES[int(match[5]) - 1] + ACCIDENTALS[match[4]])
    return root, tuple(sorted((root + step) % 12 for step in steps))


def read_chords(path: Path) -> Chords:
    """A song's ``chord_midi.txt``. Raises DataError naming file, line and remedy."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            start, end, name = line.split()
            root, classes = parse_chord(name)
            rows.append((float(start), float(end), root, sum(1 << p for p in classes)))
        except ValueError as error:
            raise DataError(f"{path}, line {number}: {error}; give POP909's chord_midi.txt") from None
    table = np.array(rows, np.float64).reshape(-1, 4)
    return Chords(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64))


def in_chord_rate(onset_s: Floats, pitch: Ints, chords: Chords) -> float:
    """Share of the notes [n] that belong to the chord at their onset; NaN where no note has one."""
    index = chords.at(onset_s)
    classes = np.where(index >= 0, chords.classes[np.maximum(index, 0)], 0)
    known = classes != 0
    return float((classes[known] >> pitch[known] % 12 & 1).mean()) if known.any() else float("nan")


def consonant_rate(onset_s: Floats, pitch: Ints, others: Played, own: bool = False) -> float:
    """Share of notes [n] that clash with none of the notes of ``others`` sounding at their onset.

    Notes struck while nothing sounds do not count; NaN where none is left. ``own``: the notes are those of
    ``others`` themselves, in the same order, and a note is not held against itself.
    """
    n_heard = n_consonant = 0
    for i, (onset, note) in enumerate(zip(onset_s, pitch, strict=True)):
        sounding = (others.onset_s <= onset) & (others.end_s > onset)
        if own:
            sounding[i] = False
        if not sounding.any():
            continue
        n_heard += 1
        n_consonant += not np.isin(np.abs(others.pitch[sounding] - note) % 12, ROUGH).any()
    return n_consonant / n_heard if n_heard else float("nan")


def measure_harmony(
    box: Played, player: Played, chords: Chords, from_s: float, to_s: float
) -> dict[str, float]:
    """Both rates of the box's notes from ``from_s`` to ``to_s``, of chance and of the player, by name.

    Chance is the mean over ``SHIFTS_S``; a note moved out of the passage comes in again at its other end.
    """

    def within(notes: Played) -> Played:
        inside = (notes.onset_s >= from_s) & (notes.onset_s < to_s)
        return Played(notes.onset_s[inside], notes.end_s[inside], notes.pitch[inside])

    inner = within(box)

    def rates(onset_s: Floats) -> tuple[float, float]:
        return in_chord_rate(onset_s, inner.pitch, chords), consonant_rate(onset_s, inner.pitch, player)

    in_chord, consonant = rates(inner.onset_s)
    moved = [from_s + (inner.onset_s - from_s + shift) % (to_s - from_s) for shift in SHIFTS_S]
    chance = np.array([rates(onset_s) for onset_s in moved])
    own = within(player)
    return {
        "in_chord": in_chord,
        "in_chord_chance": float(chance[:, 0].mean()),
        "in_chord_player": in_chord_rate(own.onset_s, own.pitch, chords),
        "consonant": consonant,
        "consonant_chance": float(chance[:, 1].mean()),
        "consonant_player": consonant_rate(own.onset_s, own.pitch, own, own=True),
        "notes_per_s": len(inner.pitch) / (to_s - from_s),
    }
