"""From the grid of a bar to notes as a person strikes them: in the key, a little after the beat, unevenly."""

from typing import Final

import numpy as np

from kelly_edge.music.compound_word import N_STEPS, STEPS_PER_BEAT, GridNote
from kelly_edge.music.notes import BarNote
from kelly_edge.music.sampling import PIANO_HIGH, PIANO_LOW, Floats

LATEST_BEATS: Final = 0.2
"""Within the step of 0.25, however fast. Chosen for that reason."""
TOGETHER_DELAY_S, NOTE_DELAY_S, LATEST_S = 0.0065, 0.004, 0.025
"""How unevenly people play: mean delays of a chord and of each note in it, measured around the grid of
EMOPIA's training clips. Pianists let the melody lead (Goebl, JASA 110, 2001)."""


def delays_s(notes: tuple[GridNote, ...], unevenness: float, rng: np.random.Generator) -> Floats:
    """Seconds after the grid at which the notes are struck, the melody first in a chord: [n_notes].

    ``unevenness``: share of a player's delays; 0 is a machine's time.
    """
    position = np.array([note.position for note in notes])
    delays = rng.exponential(TOGETHER_DELAY_S, N_STEPS)[position]
    delays = np.minimum(delays, LATEST_S) + rng.exponential(NOTE_DELAY_S, len(notes))
    # Notes are sorted by position, then upwards: the later delays go to the lower notes.
    delays = delays[np.lexsort((-delays, position))]
    return np.asarray(unevenness * delays, np.float32)


def sounding(notes: tuple[GridNote, ...], shift: int, delays_beats: Floats) -> tuple[BarNote, ...]:
    """Notes ``shift`` semitones above C, struck late by ``delays_beats`` [n_notes]; a note ends where its
    pitch is struck again."""
    bar_notes = []
    for i, note in enumerate(notes):
        again = [n.position for n in notes[i + 1 :] if n.pitch == note.pitch]
        pitch = note.pitch + shift
        pitch += 12 * ((pitch < PIANO_LOW) - (pitch > PIANO_HIGH))
        begin = note.position / STEPS_PER_BEAT + min(float(delays_beats[i]), LATEST_BEATS)
        end = begin + note.steps / STEPS_PER_BEAT
        end = min([end, *(position / STEPS_PER_BEAT for position in again)])
        bar_notes.append(BarNote(begin, end - begin, pitch, note.velocity))
    return tuple(sorted(bar_notes, key=lambda note: (note.onset_beats, note.pitch)))
