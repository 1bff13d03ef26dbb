"""How far two players agree in harmony: notes in the chord that sounds, and consonances between the parts.

- ``in_chord``: share of notes that belong to the chord annotated at their onset, sevenths, suspensions and
  basses included.
- ``consonant``: share of notes that are neither a semitone nor a tritone, in any octave, from a note of the
  player sounding at their onset (StreamMUSE's rate).
- ``chord_now``, ``chord_late``: share of time in which the triad believed is the one annotated then, and
  ``LATE_S`` before.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import DataError
from kelly_edge.harmony.chords import MAJOR, MINOR, NO_CHORD, chord_of
from models.composer.data import Notes
from models.ensemble.measures import SETTLED_S, Party
from models.ensemble.songs import EXCERPT_S, Song

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Definition of the note names, in semitones above C, and of the accidentals.
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
"""Pitch classes above the root of the chords that POP909 names. Definition of the chords."""
LIKE_MINOR: Final = {"min", "min7", "min6", "minmaj7", "dim", "dim7", "hdim7"}
"""Chords that count as the minor triad on their root; the others count as the major one."""
DEGREES: Final = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of the degrees 1 to 7 that name a bass. Definition of the major scale."""
LATE_S: Final = 0.2
"""A chord is known this long after it is struck: half the window of the spectrum, and some. Chosen by
hand."""
ROUGH: Final = (1, 6, 11)
"""Semitones (modulo an octave) that clash: StreamMUSE's semitone and tritone, in any octave. As StreamMUSE
(2026) counts them."""


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
    triad: Ints
    """[n] as ``kelly_edge.harmony.chords`` numbers them; -1 where there is no chord."""

    def at(self, time_s: Floats) -> Ints:
        """Number of the chord that sounds at each time [m]; -1 outside of all."""
        index = np.searchsorted(self.start_s, time_s, side="right") - 1
        inside = (index >= 0) & (time_s < self.end_s[np.maximum(index, 0)])
        return np.where(inside, index, -1)


def parse_chord(name: str) -> tuple[int, tuple[int, ...]]:
    """Root and pitch classes of a chord such as ``Bb:min7/b3``; (-1, ()) of ``N``. Raises ValueError."""
    if name == "N":
        return -1, ()
    match = re.fullmatch(r"([A-G])([b#]?):([^/]+)(?:/([b#]?)([1-7]))?", name)
    if not match or match[3] not in SHORTHANDS:
        raise ValueError(f"unknown chord {name!r}")
    root = (LETTERS[match[1]] + ACCIDENTALS[match[2]]) % 12
    steps = {*SHORTHANDS[match[3]]}
    if match[5]:
        steps.add(DEGREES[int(match[5]) - 1] + ACCIDENTALS[match[4]])
    return root, tuple(sorted((root + step) % 12 for step in steps))


def as_triad(name: str) -> int:
    """The major or minor triad (``kelly_edge.harmony.chords``) that a chord counts as; -1 of ``N``."""
    root, _ = parse_chord(name)
    if root < 0:
        return NO_CHORD
    return chord_of(root, MINOR if name.split(":")[1].split("/", maxsplit=1)[0] in LIKE_MINOR else MAJOR)


def chords_of(song: Song) -> Chords:
    """A song's annotation. Raises DataError with a chord nobody knows."""
    try:
        parsed = [parse_chord(chord.name) for chord in song.chords]
    except ValueError as error:
        raise DataError(f"song {song.name}: {error}; give POP909's chord_midi.txt") from None
    return Chords(
        np.array([chord.begin_s for chord in song.chords]),
        np.array([chord.end_s for chord in song.chords]),
        np.array([root for root, _ in parsed], np.int64),
        np.array([sum(1 << p for p in classes) for _, classes in parsed], np.int64),
        np.array([as_triad(chord.name) for chord in song.chords], np.int64),
    )


def in_chord_rate(onset_s: Floats, pitch: Ints, chords: Chords) -> float:
    """Share of the notes [n] that belong to the chord at their onset; NaN where no note has one."""
    index = chords.at(onset_s)
    classes = np.where(index >= 0, chords.classes[np.maximum(index, 0)], 0)
    known = classes != 0
    return float((classes[known] >> pitch[known] % 12 & 1).mean()) if known.any() else float("nan")


def consonant_rate(onset_s: Floats, pitch: Ints, others: Notes) -> float:
    """Share of the notes [n] that clash with none of the notes of ``others`` sounding at their onset.

    A note is not held against itself, if it is one of them. Notes struck while nothing else sounds do not
    count; NaN where no note is left.
    """
    n_heard = n_consonant = 0
    for onset, note in zip(onset_s, pitch, strict=True):
        sounding = (others.onset_s <= onset) & (others.end_s > onset)
        sounding &= (others.onset_s != onset) | (others.pitch != note)
        if sounding.any():
            n_heard += 1
            n_consonant += not np.isin(np.abs(others.pitch[sounding] - note) % 12, ROUGH).any()
    return n_consonant / n_heard if n_heard else float("nan")


def heard_rate(party: Party, chords: Chords, late_s: float) -> float:
    """Share of the chords' time in which they were believed ``late_s`` later; NaN: nobody listened."""
    if not party.heard.size:
        return float("nan")
    time_s = party.heard["time_s"].astype(float)
    measured = (time_s >= SETTLED_S) & (time_s < EXCERPT_S)
    index = chords.at(time_s[measured] - late_s)
    triad = np.where(index >= 0, chords.triad[np.maximum(index, 0)], NO_CHORD)
    known = triad != NO_CHORD
    return float((party.heard["chord"][measured] == triad)[known].mean()) if known.any() else float("nan")


def measure(song: Song, party: Party) -> dict[str, float]:
    """A row of figures; see the module's text."""
    chords = chords_of(song)
    measured = (party.onset_s >= SETTLED_S) & (party.onset_s < EXCERPT_S)
    onset_s, pitch = party.onset_s[measured], party.pitch[measured]
    return {
        "in_chord": in_chord_rate(onset_s, pitch, chords),
        "consonant": consonant_rate(onset_s, pitch, song.notes),
        "chord_now": heard_rate(party, chords, 0.0),
        "chord_late": heard_rate(party, chords, LATE_S),
    }
