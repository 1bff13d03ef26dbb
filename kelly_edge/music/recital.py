"""Bringing earlier bars back: their notes, changed for the target, decided in place of drawn ones.

The network reads a returning bar row by row, as it read the bar when it was composed, so its keys, values
and contexts are those of music in which the bar does return. Pitches stay within those legal now; only
velocities are drawn anew, for the emotion asked for now.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import (
    BAR,
    CHORD,
    CHORD_QUALITIES,
    DENSITY_EDGES,
    DURATION,
    DURATION_STEPS,
    MAJOR,
    N_STEPS,
    NO_CHORD,
    NOTE,
    PITCH,
    PITCH_HIGH,
    PITCH_LOW,
    POSITION,
    STEPS_PER_BEAT,
    TYPE,
    Condition,
    GridNote,
    Rows,
    chord_token,
    density_token,
    duration_token,
)
from kelly_edge.music.form import FINAL, Score, Written, tonic_chord
from kelly_edge.music.sampling import SCALES, Floats, Mask, Sampler, chord_classes

LAST_CHORD_S: Final = 2.5
"""How long the last chord sounds, at least where a note may be as long. Chosen by hand."""
SHIFTS_OF_SEQUENCES: Final = (-2, -1, 1, 2)
"""Degrees by which a bar is moved along the scale. Chosen: seconds and thirds, as sequences mostly move
(Caplin 1998)."""
DENSER: Final = 1
"""A bar comes back at most so many density levels below what is asked. Chosen by hand."""
BASS, TENOR = 40, 55
HIGHEST_TOP, LAST_VELOCITY = 96, 64
"""About where the last chord has its bass and its middle voices, in C; its highest top
note, and its velocity. MIDI notes; chosen by hand (E2, G3 and C7)."""


@dataclass(frozen=True)
class Recital(Sampler):
    """A sampler that gives the notes of a bar, then a bar line; families that the bar does not fix are
    drawn."""

    notes: deque[GridNote] = field(default_factory=deque)
    chord: int = 0
    """Token of the bar's chord; drawn where it is not legal."""

    def decide(
        self, contexts: Floats, row: Rows, column: int, legal: Mask, bias: Floats | None = None
    ) -> None:
        """As a sampler's."""
        token = self._said(column, legal)
        if token is None:
            super().decide(contexts, row, column, legal, bias)
        else:
            row[column] = token

    def _said(self, column: int, legal: Mask) -> int | None:
        if column == CHORD and legal[self.chord]:
            return self.chord
        if column == TYPE:
            return NOTE if self.notes else BAR
        if column == POSITION:
            while len(self.notes) > 1 and not legal[self.notes[0].position + 1]:
                self.notes.popleft()
            token = self.notes[0].position + 1
            return token if legal[token] else None
        if column == PITCH and self.notes:
            tokens = np.flatnonzero(legal)
            return int(tokens[np.abs(tokens - (self.notes[0].pitch - PITCH_LOW + 1)).argmin()])
        if column == DURATION and self.notes:
            return duration_token(self.notes.popleft().steps)
        return None


def along_the_scale(pitch: int, n_degrees: int, mode: int) -> int:
    """``pitch`` moved by degrees of the scale on C; a note between two degrees stays above the lower one."""
    scale = SCALES[mode == MAJOR]
    degree = max(i for i, step in enumerate(scale) if step <= pitch % 12)
    octave, moved = divmod(degree + n_degrees, len(scale))
    return pitch // 12 * 12 + 12 * octave + scale[moved] + pitch % 12 - scale[degree]


def moved(bar: Written, n_degrees: int, mode: int) -> Written:
    """A bar moved along the scale, its chord with it: the triad of the scale on the new root."""
    notes = [replace(n, pitch=along_the_scale(n.pitch, n_degrees, mode)) for n in bar.notes]
    notes = [n for n in notes if PITCH_LOW <= n.pitch <= PITCH_HIGH]
    chord = bar.chord
    if chord_classes(chord):
        root = along_the_scale((chord - 1) // len(CHORD_QUALITIES), n_degrees, mode)
        triad = {along_the_scale(root, n, mode) % 12 for n in (0, 2, 4)}
        fitting = [q for q in CHORD_QUALITIES if set(chord_classes(chord_token(root, q))) == triad]
        chord = chord_token(root, fitting[0]) if fitting else NO_CHORD
    return Written(ordered(notes), chord, bar.density)


def thinned(notes: tuple[GridNote, ...], n_kept: int) -> tuple[GridNote, ...]:
    """The bar with ``n_kept`` notes: inner notes off the beat are left out first."""

    def worth(note: GridNote) -> tuple[bool, int, int]:
        chord = [n.pitch for n in notes if n.position == note.position]
        is_outer = note.pitch in (min(chord), max(chord))
        strength = next(s for s in (16, 8, 4, 2, 1) if note.position % s == 0)
        return is_outer, strength, note.pitch

    kept = set(sorted(notes, key=worth, reverse=True)[:n_kept])
    return tuple(n for n in notes if n in kept)


def to_density(bar: Written, density: int) -> tuple[GridNote, ...]:
    """The notes of ``bar`` for a density level: thinned where it is lower than the bar was written for."""
    if density >= bar.density:
        return bar.notes
    return thinned(bar.notes, max(1, DENSITY_EDGES[density - 1] - 1))


def ordered(notes: Sequence[GridNote]) -> tuple[GridNote, ...]:
    """Notes in order of position, then pitch; of two in one place one is kept."""
    return tuple(sorted({(n.position, n.pitch): n for n in notes}.values()))


def last_chord(mode: int, melody: int, tempo_bpm: float) -> tuple[GridNote, ...]:
    """The tonic in root position under a top note near ``melody`` (a pitch in C), held for
    ``LAST_CHORD_S``."""
    third = SCALES[mode == MAJOR][2]
    classes = (0, third, 7)
    top = min(range(TENOR + 5, HIGHEST_TOP + 1), key=lambda p: (p % 12 not in classes[:2], abs(p - melody)))
    inner = [p for p in range(TENOR - 3, top - 2) if p % 12 in classes][:2]
    bass = min(range(BASS - 6, BASS + 6), key=lambda p: p % 12)
    steps = LAST_CHORD_S * tempo_bpm / 60.0 * STEPS_PER_BEAT
    length = next((s for s in DURATION_STEPS if s >= max(steps, N_STEPS)), DURATION_STEPS[-1])
    return ordered([GridNote(0, p, length, 64) for p in (bass, *inner, top)])


def returning(
    score: Score, condition: Condition, melody: int, tempo_bpm: float, rng: np.random.Generator
) -> Written | None:
    """The bar that the next one of ``score`` shall bring back, as it shall be played; None where it is free.

    Parameters
    ----------
    melody: pitch in C near which a last chord has its top.
    rng: the score's own, the same for all of its bars: a sequence moves by the same step each time.
    """
    if score.place.cadence == FINAL:
        notes = last_chord(condition.mode, melody, tempo_bpm)
        return Written(notes, tonic_chord(condition.mode), condition.density)
    model = score.model
    if model is not None and score.target.leads:
        # Music that leads is no denser than it is asked to be, though the bar was when it was written.
        model = replace(model, density=max(model.density, density_token(len(model.notes))))
    if model is None or not model.notes or condition.density > model.density + DENSER:
        return None
    if score.place.is_moved:
        model = moved(model, int(rng.choice(SHIFTS_OF_SEQUENCES)), condition.mode)
    return replace(model, notes=to_density(model, condition.density))
