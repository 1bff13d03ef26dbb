"""From the grid of a bar to notes as a person strikes and holds them: in the key, a little after the beat,
unevenly.

All numbers were measured around the grid of EMOPIA's training clips (every fifth: the first note of a chord
apart from the others, a note's length beside its token's), but where another origin is given.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import N_STEPS, STEPS_PER_BEAT, GridNote
from kelly_edge.music.notes import BarNote
from kelly_edge.music.sampling import PIANO_HIGH, PIANO_LOW, Floats

LATEST_BEATS: Final = 0.2
"""Within the step of 0.25, however fast. Chosen for that reason."""
TOGETHER_DELAY_S, NOTE_DELAY_S, LATEST_S = 0.0065, 0.006, 0.025
"""How unevenly people play: mean delays of a chord and of each note in it. Pianists let the melody lead
(Goebl, JASA 110, 2001). Measured, but for a note's own: chosen by hand above the 4 ms first measured, since
half of people's chords are spread by 8 to 17 ms."""
LOOSE, MOST_LOOSE = 0.14, 0.45
"""Share of a player's chords that are spread further, and the most of it. Measured: 13 % of the chords are
spread by more than 30 ms, 0 to 37 % of a clip's."""
SPREAD_S, WIDEST_S = 0.04, 0.1
"""Mean delay of the notes of such a chord, and the longest. Chosen by hand, so that as many chords are spread
by more than 30 ms."""
HELD, HELD_SD = 0.1, 0.35
"""How much longer than written a player holds the notes (log of the factor), and its deviation. Chosen by
hand, towards how many notes sound at once in people's clips, and how that differs."""
LENGTH_SD, EVENEST = 0.25, 6
"""Deviation of the length (log) of a note of one step; it falls with the root of the steps, up to so many.
Measured, see above."""
CLIPPED, CLIPPED_BY, SHORTEST = 0.5, 0.9, 1.5
"""Share of the notes of one step that are clipped, mean and most of it (log): the grid knows no shorter ones.
Measured: a quarter of them last less than .42 of the step."""


@dataclass(frozen=True)
class Touch:
    """How somebody plays who plays unevenly, through a whole form."""

    loose: float = 0.0
    """Share of the chords whose notes are spread."""
    held: float = 0.0
    """Log of the factor by which notes are held longer than written."""


def draw_touch(rng: np.random.Generator) -> Touch:
    """Somebody's touch."""
    return Touch(min(MOST_LOOSE, rng.exponential(LOOSE)), rng.normal(HELD, HELD_SD))


def delays_s(
    notes: tuple[GridNote, ...], unevenness: float, touch: Touch, rng: np.random.Generator
) -> Floats:
    """Seconds after the grid at which the notes are struck, the melody first in a chord: [n_notes].

    ``unevenness``: share of a player's delays; 0 is a machine's time.
    """
    position = np.array([note.position for note in notes])
    delays = rng.exponential(TOGETHER_DELAY_S, N_STEPS)[position]
    spread = np.minimum(rng.exponential(SPREAD_S, len(notes)), WIDEST_S)
    spread *= (rng.random(N_STEPS) < touch.loose)[position]
    first = np.full(N_STEPS, np.inf)
    np.minimum.at(first, position, spread)
    own = rng.exponential(NOTE_DELAY_S, len(notes)) + spread - first[position]
    delays = np.minimum(delays, LATEST_S) + own
    # Notes are sorted by position, then upwards: the later delays go to the lower notes.
    delays = delays[np.lexsort((-delays, position))]
    return np.asarray(unevenness * delays, np.float32)


def lengths(notes: tuple[GridNote, ...], unevenness: float, touch: Touch, rng: np.random.Generator) -> Floats:
    """How long the notes are held, as shares of what is written: [n_notes]; ``unevenness`` as above."""
    steps = np.array([note.steps for note in notes])
    logs = touch.held + LENGTH_SD / np.sqrt(np.minimum(steps, EVENEST)) * rng.normal(size=len(notes))
    clipped = (steps == 1) & (rng.random(len(notes)) < CLIPPED)
    by = np.minimum(rng.exponential(CLIPPED_BY, len(notes)), SHORTEST)
    return np.asarray(np.exp(unevenness * np.where(clipped, touch.held - by, logs)), np.float32)


def sounding(
    notes: tuple[GridNote, ...], shift: int, delays_beats: Floats, held: Floats
) -> tuple[BarNote, ...]:
    """Notes ``shift`` semitones above C; a note ends where its pitch is struck again.

    They are struck late by ``delays_beats`` [n_notes] and held ``held`` [n_notes] times as long as written.
    """
    bar_notes = []
    for i, note in enumerate(notes):
        again = [n.position for n in notes[i + 1 :] if n.pitch == note.pitch]
        pitch = note.pitch + shift
        pitch += 12 * ((pitch < PIANO_LOW) - (pitch > PIANO_HIGH))
        begin = note.position / STEPS_PER_BEAT + min(float(delays_beats[i]), LATEST_BEATS)
        end = begin + float(held[i]) * note.steps / STEPS_PER_BEAT
        end = min([end, *(position / STEPS_PER_BEAT for position in again)])
        bar_notes.append(BarNote(begin, end - begin, pitch, note.velocity))
    return tuple(sorted(bar_notes, key=lambda note: (note.onset_beats, note.pitch)))


def mean_delay_s(unevenness: float) -> float:
    """Mean of ``delays_s``, in seconds; of chords that are spread as if every other note were in one."""
    together_s = TOGETHER_DELAY_S * (1.0 - math.exp(-LATEST_S / TOGETHER_DELAY_S))
    return unevenness * (together_s + NOTE_DELAY_S + LOOSE * SPREAD_S / 2.0)
