"""The notes of a performance: in a bar as it is composed, and on the time line as they leave.

On the network's grid a note is ``compound_word.GridNote``; in a record, ``contract.NOTE_DTYPE``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class BarNote:
    """A note of a bar; beats are quarter notes from the bar line."""

    onset_beats: float
    duration_beats: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Bar:
    """A composed bar."""

    number: int
    tempo_bpm: float
    n_beats: int
    notes: tuple[BarNote, ...]
    rung: int
    """``contract.Rung``: how it was made."""
    tonic: int = -1
    """Pitch class of the key it is written in; -1 for one without notes while no key is known."""
    mode: int = -1
    """1 major, 0 minor, -1 as ``tonic``."""


@dataclass(frozen=True)
class TimedNote:
    """A note on the time line of the stream."""

    onset_s: float
    duration_s: float
    pitch: int
    velocity: int
