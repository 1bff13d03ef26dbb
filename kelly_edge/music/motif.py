"""What was played in a phrase, and the answer that takes up its motif.

The notes of a phrase come from the melody heard (``contract.HEARD_DTYPE``, ``melody``), whoever wrote it
there: ears or a keyboard. Its first notes are the motif. The answer to it is planned when the turn is the
box's: on which beats it is played, and where on their grid the motif lies.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from kelly_edge.music.compound_word import DURATION_STEPS, N_BEATS, N_STEPS, STEPS_PER_BEAT, GridNote
from kelly_edge.music.players_beat import PlayersBeat

MOST_KEPT: Final = 64
"""Notes of a phrase that are remembered. Chosen: more than those of ``answering.LONGEST_S`` in a motif."""
FEWEST, MOST = 3, 8
"""Notes of a motif. Chosen: fewer are no figure, more are a tune."""
MOST_STEPS: Final = 2 * N_STEPS
"""A motif's notes begin within two bars. Chosen by hand."""
LONGEST_BEAT_S: Final = 0.75
"""An answer is played in beats of this length at most, and more than half of it: the ears may count every
other beat of a melody alone, and an answer that waits for one comes late. Chosen on practice songs."""
GRID: Final = 2
"""An answer begins on a beat or on its half. Chosen: with beats alone one of three came late."""
EARLY_S: Final = 0.1
"""A note that began so much before the phrase is one of its own: levels are heard once per hop group.
Chosen: a little more than a group."""
VELOCITY: Final = 64
"""Of the motif's notes until theirs are drawn. Chosen: the middle of MIDI; any would do."""


class HeardNote(NamedTuple):
    """A note of the melody heard, in seconds; one that sounds ends at infinity."""

    onset_s: float
    end_s: float
    pitch: int


class MelodyHeard:
    """Streaming: one ``hear`` per hop group."""

    def __init__(self) -> None:
        self._notes: deque[HeardNote] = deque(maxlen=MOST_KEPT)
        self._number = -1

    def hear(self, heard: Any, now_s: float) -> HeardNote | None:
        """One record of ``HEARD_DTYPE``, of the hop group that ends at ``now_s``; the note that it tells
        of."""
        pitch, number = int(heard["melody"]), int(heard["melody_number"])
        is_new = number != self._number and self._number >= 0
        self._number = number
        onset_s = now_s - float(heard["melody_age_s"])
        if (is_new or not pitch) and self._notes and math.isinf(self._notes[-1].end_s):
            self._notes[-1] = self._notes[-1]._replace(end_s=onset_s if is_new else now_s)
        if not (is_new and pitch):
            return None
        self._notes.append(HeardNote(onset_s, math.inf, pitch))
        return self._notes[-1]

    @property
    def last(self) -> HeardNote | None:
        """The last note."""
        return self._notes[-1] if self._notes else None

    def since(self, begin_s: float) -> list[HeardNote]:
        """The notes of the phrase that began then."""
        return [note for note in self._notes if note.onset_s >= begin_s - EARLY_S]


@dataclass(frozen=True)
class Theme:
    """What music takes up: bars of notes on the grid, at the pitches heard (in no key)."""

    bars: tuple[tuple[GridNote, ...], ...]
    n_bars: int
    """Of the music that does."""


@dataclass(frozen=True)
class Answer:
    """An answer as planned: its first beat, a bar line, at ``line_s``; ``theme`` is None where no motif
    was heard."""

    line_s: float
    beat_s: float
    theme: Theme | None = None

    @property
    def begin_s(self) -> float:
        """When its first note begins."""
        first = self.theme.bars[0][0].position if self.theme is not None else 0
        return self.line_s + first / STEPS_PER_BEAT * self.beat_s

    def not_before(self, time_s: float) -> "Answer":
        """The same, some beats later where its first note would begin before that time."""
        n_late = max(0, math.ceil((time_s - self.begin_s) / self.beat_s))
        return replace(self, line_s=self.line_s + n_late * self.beat_s)

    def beat(self, now_s: float) -> PlayersBeat:
        """The beat it is played on: the player is silent, so none is heard that would be better."""
        return PlayersBeat(self.line_s, self.beat_s, N_BEATS, now_s)


def motif_of(notes: Sequence[HeardNote], beat_s: float) -> list[GridNote]:
    """The first notes of a phrase on the grid of beats, counted from the first; empty without a motif."""
    motif: list[GridNote] = []
    if len(notes) < FEWEST:
        return motif
    for note, after in pairwise([*notes[: MOST + 1], HeardNote(math.inf, math.inf, 0)]):
        step = round((note.onset_s - notes[0].onset_s) / beat_s * STEPS_PER_BEAT)
        if len(motif) == MOST or step >= MOST_STEPS:
            break
        if motif and step == motif[-1].position:
            continue
        length_s = min(note.end_s, after.onset_s) - note.onset_s
        steps = min(length_s / beat_s * STEPS_PER_BEAT, DURATION_STEPS[-1])
        motif.append(GridNote(step, note.pitch, max(1, round(steps)), VELOCITY))
    return motif if len(motif) >= FEWEST else []


def theme_of(motif: Sequence[GridNote], first: int, n_bars: int) -> Theme:
    """The theme of ``n_bars`` that the motif opens at the position ``first``."""
    bars: list[list[GridNote]] = []
    for note in motif:
        bar, position = divmod(note.position + first, N_STEPS)
        bars += [[] for _ in range(bar + 1 - len(bars))]
        bars[bar].append(GridNote(position, note.pitch, note.steps, note.velocity))
    return Theme(tuple(map(tuple, bars[:n_bars])), n_bars)


def unit_of(notes: Sequence[HeardNote]) -> float:
    """A beat's length for a phrase in which none is heard: the usual note's, or an octave of it."""
    gaps_s = [after.onset_s - note.onset_s for note, after in pairwise(notes)]
    usual_s = float(np.median(gaps_s)) if gaps_s else 0.0
    if usual_s <= 0.0:
        return 0.0
    octaves = math.floor(math.log2(LONGEST_BEAT_S / usual_s))
    return usual_s * 2.0**octaves


def plan_answer(
    notes: Sequence[HeardNote], beat: PlayersBeat | None, soonest_s: float, length_s: float
) -> Answer | None:
    """The answer to a phrase of ``notes``, none of whose own begins before ``soonest_s``.

    Parameters
    ----------
    beat: the player's; None where none is believed. length_s: how long the answer shall be.

    Returns None where neither beat nor notes were heard: nothing says when to begin but now.
    """
    if beat is None:
        beat_s = unit_of(notes)
        if beat_s <= 0.0:
            return None
        line_s, first = soonest_s, 0
    else:
        beat_s = beat.beat_s / 2.0 ** math.ceil(math.log2(beat.beat_s / LONGEST_BEAT_S))
        part = math.ceil((soonest_s - beat.line_s) / beat_s * GRID - 1e-6)
        line_s, first = beat.line_s + part // GRID * beat_s, part % GRID * STEPS_PER_BEAT // GRID
    motif = motif_of(notes, beat_s)
    if not motif:
        # Without a motif nothing begins off the beat.
        return Answer(line_s + beat_s if first else line_s, beat_s)
    n_bars = max(1, math.ceil(length_s / beat_s / N_BEATS - 0.5 / N_BEATS))
    return Answer(line_s, beat_s, theme_of(motif, first, n_bars))
