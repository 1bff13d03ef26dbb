"""Compound words: music as rows of small integers, one token a family, one row a bar or a note.

After Hsiao et al., "Compound Word Transformer" (AAAI 2021). A bar row carries what holds for the whole
bar: the emotion asked for, density, mode, tempo and chord. The note rows that follow it repeat all that,
so that no note is far from it, and add position, pitch, duration and velocity; they are sorted by position
and then upwards by pitch, so that one piece of music has exactly one encoding. Token 0 of a family means
"does not apply" (or "unknown", for a condition).

Music is written in one key: pitches are moved so that the tonic is C (by -6 to +5 semitones), and the
mode is a condition. The instrument plays in any key by moving them back (``generator``).
Time: a bar has 4 beats of 4 steps (sixteenth notes).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.units import clamp

Rows = NDArray[np.int16]

# Chosen: common time in sixteenths, the grid that POP909 is quantised to.
N_BEATS: Final = 4
STEPS_PER_BEAT: Final = 4
N_STEPS: Final = N_BEATS * STEPS_PER_BEAT
DURATION_STEPS: Final = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32)
"""Lengths a note may have, in steps; token = index + 1. Chosen: every sixteenth up to a half note, then
those written as one note or with a dot, up to two bars."""
# Tokens. Chosen: steps of 6 % between the ends below.
N_TEMPI: Final = 25
TEMPO_LOW_BPM, TEMPO_HIGH_BPM = 48.0, 192.0
"""The first and the last tempo token; those between are spaced geometrically (6 % apart). Chosen: an
octave below and above 96 beats per minute."""
VELOCITY_STEP: Final = 6
"""MIDI velocities a token covers; a token decodes to the middle of its range. Chosen: some 21 levels for
the 127 of MIDI."""
PITCH_LOW, PITCH_HIGH = 15, 114
"""The piano's 21..108, moved into C by up to six semitones. MIDI notes; follows from the piano's range."""
CHORD_QUALITIES: Final = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "7": (0, 4, 7, 10),
}
"""Pitch classes above the root; chord token = 1 + root * 6 + quality. Definition of the chords."""
N_LEVELS: Final = 6
"""Levels of valence and of arousal; level 1 is the lowest. Chosen: three either side of 0."""
DENSITY_EDGES: Final = (3, 5, 7, 10, 13, 17, 23)
"""Notes a bar from which the next density level begins; level 1 has 0 to 2 notes. Chosen: about a third
more notes from level to level."""
N_DENSITIES: Final = len(DENSITY_EDGES) + 1

NO_CHORD: Final = 1 + 12 * len(CHORD_QUALITIES)
BAR, NOTE = 1, 2
"""Tokens of the family ``type``. Our own format."""
UNKNOWN: Final = 0
"""Token of a condition that is withheld; our own format."""
MINOR, MAJOR = 1, 2
"""Tokens of the family ``mode``. Our own format."""


@dataclass(frozen=True)
class Family:
    """One column of a row."""

    name: str
    size: int
    """Tokens, the 0 included."""
    row: int
    """The row type it is decided in: BAR, NOTE, or 0 for every row."""
    given: bool = False
    """A condition: set from outside, never sampled."""
    parents: tuple[str, ...] = ()
    """Families of the same row its distribution depends on; all stand before it or are given."""


FAMILIES: Final = (
    Family("type", 3, 0),
    Family("valence", N_LEVELS + 1, BAR, given=True),
    Family("arousal", N_LEVELS + 1, BAR, given=True),
    Family("density", N_DENSITIES + 1, BAR, given=True),
    Family("mode", 3, BAR, given=True),
    Family("tempo", N_TEMPI + 1, BAR, parents=("valence", "arousal", "density", "mode")),
    Family("chord", NO_CHORD + 1, BAR, parents=("valence", "arousal", "density", "mode", "tempo")),
    Family("position", N_STEPS + 1, NOTE, parents=("arousal", "density")),
    Family("pitch", PITCH_HIGH - PITCH_LOW + 2, NOTE, parents=("valence", "mode", "chord", "position")),
    Family("duration", len(DURATION_STEPS) + 1, NOTE, parents=("density", "tempo", "position", "pitch")),
    Family("velocity", 128 // VELOCITY_STEP + 2, NOTE, parents=("arousal", "position", "pitch", "duration")),
)
"""The columns of a row, in the order they are decided."""

N_FAMILIES: Final = len(FAMILIES)
COLUMN: Final = {family.name: i for i, family in enumerate(FAMILIES)}
SAMPLED: Final = tuple(family for family in FAMILIES if not family.given)
"""The families with a head in the network."""
OFFSETS: Final = tuple(int(n) for n in np.cumsum([0] + [family.size for family in FAMILIES]))
"""Where each family begins in the one table of all tokens; the last entry is its size."""

TYPE, VALENCE, AROUSAL, DENSITY, MODE, TEMPO, CHORD, POSITION, PITCH, DURATION, VELOCITY = range(N_FAMILIES)


@dataclass(frozen=True)
class Condition:
    """What a bar shall be like; tokens, 0 is unknown."""

    valence: int = UNKNOWN
    arousal: int = UNKNOWN
    density: int = UNKNOWN
    mode: int = UNKNOWN


@dataclass(frozen=True, order=True)
class GridNote:
    """A note on the grid of a bar."""

    position: int
    """Steps after the bar line, 0..15."""
    pitch: int
    """MIDI note with the tonic moved to C, 15..114."""
    steps: int
    """Length, one of ``DURATION_STEPS``."""
    velocity: int
    """1..127."""


@dataclass(frozen=True)
class GridBar:
    """A bar with its notes, before or after encoding."""

    condition: Condition
    tempo_bpm: float
    chord: int
    notes: tuple[GridNote, ...]


def tempo_token(tempo_bpm: float) -> int:
    """Nearest tempo token, 1..25; tempi outside the range are held to its ends."""
    ratio = np.log(max(tempo_bpm, 1.0) / TEMPO_LOW_BPM) / np.log(TEMPO_HIGH_BPM / TEMPO_LOW_BPM)
    return 1 + int(clamp(round(ratio * (N_TEMPI - 1)), 0, N_TEMPI - 1))


def tempo_of(token: int) -> float:
    """Beats a minute of a tempo token."""
    return float(TEMPO_LOW_BPM * (TEMPO_HIGH_BPM / TEMPO_LOW_BPM) ** ((token - 1) / (N_TEMPI - 1)))


def duration_token(steps: float) -> int:
    """Token of the nearest length in ``DURATION_STEPS``; the shorter one of two equally near."""
    return 1 + min(range(len(DURATION_STEPS)), key=lambda i: abs(DURATION_STEPS[i] - steps))


def velocity_token(velocity: int) -> int:
    """Token of a MIDI velocity 0..127."""
    return 1 + velocity // VELOCITY_STEP


def velocity_of(token: int) -> int:
    """MIDI velocity (1..127) in the middle of a token's range."""
    return int(clamp((token - 1) * VELOCITY_STEP + VELOCITY_STEP // 2, 1, 127))


def chord_token(root: int, quality: str) -> int:
    """Token of a chord; ``root`` is a pitch class with the tonic at 0."""
    return 1 + root % 12 * len(CHORD_QUALITIES) + list(CHORD_QUALITIES).index(quality)


def density_token(n_notes: int) -> int:
    """Density level 1..8 of a bar with ``n_notes`` notes."""
    return 1 + int(np.searchsorted(DENSITY_EDGES, n_notes, side="right"))


def bar_row(condition: Condition, tempo: int, chord: int) -> Rows:
    """A bar row from tokens; shape [11]."""
    row = np.zeros(N_FAMILIES, np.int16)
    row[:POSITION] = (
        BAR,
        condition.valence,
        condition.arousal,
        condition.density,
        condition.mode,
        tempo,
        chord,
    )
    return row


def begin_note(bar: Rows) -> Rows:
    """A note row whose note is not decided yet, in the bar of the row ``bar``; shape [11]."""
    row = np.zeros(N_FAMILIES, np.int16)
    row[VALENCE:POSITION] = bar[VALENCE:POSITION]
    row[TYPE] = NOTE
    return row


def note_row(note: GridNote, bar: Rows) -> Rows:
    """A note row in the bar of the row ``bar``; shape [11]."""
    row = begin_note(bar)
    row[POSITION:] = (
        note.position + 1,
        note.pitch - PITCH_LOW + 1,
        duration_token(note.steps),
        velocity_token(note.velocity),
    )
    return row


def note_of(row: Sequence[int] | Rows) -> GridNote:
    """The note of a note row."""
    return GridNote(
        position=int(row[POSITION]) - 1,
        pitch=int(row[PITCH]) - 1 + PITCH_LOW,
        steps=DURATION_STEPS[int(row[DURATION]) - 1],
        velocity=velocity_of(int(row[VELOCITY])),
    )


def encode(bars: Iterable[GridBar]) -> Rows:
    """Bars to rows [n_rows, 11]; notes are sorted, and of two on one position and pitch one is kept."""
    rows = []
    for bar in bars:
        head = bar_row(bar.condition, tempo_token(bar.tempo_bpm), bar.chord)
        rows.append(head)
        unique = {(note.position, note.pitch): note for note in bar.notes}
        rows.extend(note_row(unique[place], head) for place in sorted(unique))
    return np.array(rows, np.int16).reshape(-1, N_FAMILIES)


def decode(rows: Rows) -> list[GridBar]:
    """Rows that begin with a bar row back to bars; notes before the first bar row are left out."""
    starts = np.flatnonzero(rows[:, TYPE] == BAR)
    ends = np.append(starts, len(rows))[1:]
    return [
        GridBar(
            Condition(*(int(token) for token in rows[start, VALENCE:TEMPO])),
            tempo_of(int(rows[start, TEMPO])),
            int(rows[start, CHORD]),
            tuple(note_of(row) for row in rows[start + 1 : end]),
        )
        for start, end in zip(starts, ends, strict=True)
    ]
