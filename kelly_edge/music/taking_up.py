"""Taking up a theme heard: its notes are the melody, and the network draws what lies below it.

The network reads the bar row by row, as every other, so its context is music in which the theme was played.
The melody keeps the theme's rhythm and goes up and down where the theme does; its pitches are the nearest
such that chord and key allow.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import (
    BAR,
    DURATION,
    N_STEPS,
    NOTE,
    PITCH,
    PITCH_HIGH,
    PITCH_LOW,
    POSITION,
    TYPE,
    GridNote,
    Rows,
    duration_token,
)
from kelly_edge.music.recital import along_the_scale
from kelly_edge.music.sampling import Floats, Mask, Sampler

BELOW: Final = 3
"""Semitones below the melody from which on lies what accompanies it. Chosen: a third."""
MOST_BELOW: Final = 2
"""Notes struck with a note of the melody, at most. Chosen by hand: it shall be heard."""
FARTHEST: Final = 4
"""Semitones a note of the melody is moved at most so that it rises or falls as the theme does. Chosen: to
the next tone of any chord."""


def into_c(bar: Sequence[GridNote], shift: int, n_degrees: int, mode: int) -> deque[GridNote]:
    """A bar of a theme, ``shift`` semitones above C, brought into C and moved along the scale."""
    notes = [replace(n, pitch=n.pitch - shift) for n in bar]
    if n_degrees:
        notes = [replace(n, pitch=along_the_scale(n.pitch, n_degrees, mode)) for n in notes]
    return deque(n for n in notes if PITCH_LOW <= n.pitch <= PITCH_HIGH)


@dataclass
class _Line:
    """The melody of a bar: notes to come, and where it stands."""

    notes: deque[GridNote]
    is_first: bool
    """Nothing may begin before it."""
    asked: int = 0
    """Pitch token that the theme had last, and"""
    top: int = 0
    """the one that was played for it."""
    place: int = -1
    """Position token at which nothing more is struck: that of the melody's note, or of one drawn after it."""
    n_below: int = 0
    """Notes drawn at the place of the next."""
    is_due: bool = False
    """The row is the melody's."""

    def token(self, legal: Mask) -> int:
        """Pitch token of the next note, of those that are ``legal``."""
        tokens = np.flatnonzero(legal)
        wanted = self.notes[0].pitch - PITCH_LOW + 1
        nearest = int(tokens[np.abs(tokens - wanted).argmin()])
        if not self.top:
            return nearest
        same_way = tokens[np.sign(tokens - self.top) == np.sign(wanted - self.asked)]
        if not same_way.size:
            return nearest
        kept = int(same_way[np.abs(same_way - wanted).argmin()])
        return kept if abs(kept - wanted) <= FARTHEST else nearest


@dataclass(frozen=True)
class TakingUp(Sampler):
    """A sampler that gives the notes of a melody, and draws what begins with them and between them below
    it."""

    line: _Line = field(default_factory=lambda: _Line(deque(), False))

    def decide(
        self, contexts: Floats, row: Rows, column: int, legal: Mask, bias: Floats | None = None
    ) -> None:
        """As a sampler's."""
        line = self.line
        if column == POSITION:
            later: Mask = legal & (np.arange(len(legal)) > line.place)
            legal = later if later.any() else legal
            while line.notes and not legal[: line.notes[0].position + 2].any():
                line.notes.popleft()
                line.n_below = 0
        if column == DURATION and line.is_due:
            row[DURATION] = duration_token(line.notes.popleft().steps)
            line.is_due, line.n_below, line.place = False, 0, int(row[POSITION])
        elif column == PITCH:
            self._decide_pitch(contexts, row, legal, bias)
        elif column == TYPE and (line.notes or line.place == N_STEPS):
            # After the bar's last step nothing is left to draw.
            row[TYPE] = NOTE if line.notes else BAR
        else:
            legal = self._places(legal) if column == POSITION and line.notes else legal
            super().decide(contexts, row, column, legal, bias)

    def _places(self, legal: Mask) -> Mask:
        """Positions up to that of the melody's next note; at the beginning none before it."""
        place, tokens = self.line.notes[0].position + 1, np.arange(len(legal))
        at_it: Mask = legal & (tokens == place)
        if self.line.is_first and not self.line.top and at_it.any():
            return at_it
        return legal & (tokens <= place)

    def _decide_pitch(self, contexts: Floats, row: Rows, legal: Mask, bias: Floats | None) -> None:
        line, tokens = self.line, np.arange(len(legal))
        if not line.notes or row[POSITION] != line.notes[0].position + 1:
            top = line.top or (line.token(legal) if line.notes else len(legal))
            below: Mask = legal & (tokens <= top - BELOW)
            super().decide(contexts, row, PITCH, below if below.any() else legal, bias)
            line.place = int(row[POSITION])
            return
        top = line.token(legal)
        below = legal & (tokens <= top - BELOW)
        row[PITCH] = top
        if line.n_below < MOST_BELOW and below.any():
            below[top] = True
            super().decide(contexts, row, PITCH, below, bias)
        if row[PITCH] == top:
            line.asked, line.top, line.is_due = line.notes[0].pitch - PITCH_LOW + 1, top, True
        else:
            line.n_below += 1


def taking_up(drawn: Sampler, notes: deque[GridNote], is_first: bool) -> TakingUp:
    """The sampler ``drawn``, taking up ``notes`` of a bar; ``is_first``: nothing begins before them."""
    return TakingUp(drawn.tables, drawn.settings, drawn.rng, _Line(notes, is_first), settle=drawn.settle)
