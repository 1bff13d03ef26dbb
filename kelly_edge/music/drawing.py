"""Drawing one bar from the network, row by row, within what may be struck.

The network proposes; the key, the pitch classes that fit what is played and the chords heard say what is
legal (masks), and the emotion, the melody and the cadence lean towards some of it (weights in nats).
A bar that returns (``recital``) is read in the same way, its notes decided in place of drawn ones.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from kelly_edge.music import expression
from kelly_edge.music.compound_word import (
    BAR,
    CHORD,
    DURATION,
    MAJOR,
    PITCH,
    PITCH_LOW,
    POSITION,
    TEMPO,
    TYPE,
    UNKNOWN,
    VELOCITY,
    GridNote,
    Rows,
    bar_row,
    begin_note,
    note_of,
    tempo_of,
    tempo_token,
)
from kelly_edge.music.expression import PITCH_TOKENS
from kelly_edge.music.fitting import N_TO_OPEN, classes_above
from kelly_edge.music.form import NO_RETURN, Score, Written, cadence_bias
from kelly_edge.music.harmony import BarHarmony, chord_tokens
from kelly_edge.music.known_runs import N_INTERVALS
from kelly_edge.music.manner import ROWS, SEQUENCE, Manner
from kelly_edge.music.moments import Moment, Reading, a_bar_later
from kelly_edge.music.recital import SHIFTS_OF_SEQUENCES, Recital, returning
from kelly_edge.music.sampling import (
    CHORDS_IN_KEY,
    MAX_TOGETHER,
    RESTRUCK,
    ComposerNetwork,
    Mask,
    Sampler,
    SamplingSettings,
    every_token,
    near_tempi,
    nearest_chords,
    next_positions,
    piano_range,
    pitches_in_key,
    pitches_within,
    tell_together,
)
from kelly_edge.music.taking_up import into_c, taking_up
from kelly_edge.music.target import Target

TYPES: Final = every_token(TYPE)
DURATIONS: Final = every_token(DURATION)
VELOCITIES: Final = every_token(VELOCITY)


class Drawing:
    """One bar of ``score`` for ``target``, after the moment ``now``, which ``reading`` begins at.

    ``settle``: see ``Sampler``.
    """

    def __init__(
        self,
        network: ComposerNetwork,
        settings: SamplingSettings,
        manner: Manner,
        now: Moment,
        reading: Reading,
        target: Target,
        score: Score,
        settle: Callable[[int, Mask], int],
    ) -> None:
        self._known_runs = network.known_runs
        self._settings = settings
        self._manner = manner
        self._now = now
        self._reading = reading
        self._target = target
        self._score = score
        self._sampler = Sampler(network.tables, settings, manner.rng(ROWS, now.number), settle=settle)
        self._mode = manner.mode(target)
        self._shift = manner.shift(target)
        self._condition = manner.condition(target, score, now.number)
        self._fit = classes_above(target.classes, self._shift)

    def draw(self, max_notes: int) -> tuple[tuple[GridNote, ...], int, Moment]:
        """Notes, at most ``max_notes``, and tempo token of the bar, and the moment after it."""
        now, reading = self._now, self._reading
        head = self._head()
        chord, tempo = int(head[CHORD]), int(head[TEMPO])
        notes, pitches, ends, melody = self._notes(head, max_notes)
        recent = (*now.recent[-2:], notes) if notes else now.recent
        score = self._score.and_then(Written(notes, chord, self._condition.density))
        after = Moment(
            now.number + 1, reading.window, reading.n_rows, reading.contexts, tempo, recent,
            a_bar_later(ends), pitches, melody, score,
        )  # fmt: skip
        return notes, tempo, after

    def _head(self) -> Rows:
        """The bar's own row, read: its condition, tempo and chord."""
        now, target, mode, contexts = self._now, self._target, self._mode, self._reading.contexts
        row = bar_row(self._condition, UNKNOWN, UNKNOWN)
        if target.tempo_bpm:
            row[TEMPO] = tempo_token(target.tempo_bpm)
        elif now.tempo and (self._score.written or self._score.is_ending):
            row[TEMPO] = now.tempo
        else:
            self._sampler.decide(contexts, row, TEMPO, near_tempi(now.tempo))
        again = returning(
            self._score,
            self._condition,
            expression.melody_pitch(now.melody),
            target.tempo_bpm or tempo_of(int(row[TEMPO])),
            self._manner.rng(SEQUENCE, self._score.began),
        )
        if again is not None:
            drawn = self._sampler
            self._sampler = Recital(
                drawn.tables, drawn.settings, drawn.rng, deque(again.notes), again.chord, settle=drawn.settle
            )
        self._take_up()
        wanted = expression.harmony(target, mode) + cadence_bias(self._score.place.cadence, mode)
        self._sampler.decide(contexts, row, CHORD, self._legal_chords(), wanted)
        self._reading.read(row)
        return row

    def _take_up(self) -> None:
        """The bar's melody is the theme's, where the form says so."""
        place, theme = self._score.place, self._score.target.theme
        if place.theme == NO_RETURN or theme is None:
            return
        n_degrees = 0
        if place.is_moved:
            n_degrees = int(self._manner.rng(SEQUENCE, self._score.began).choice(SHIFTS_OF_SEQUENCES))
        notes = into_c(theme.bars[place.theme], self._shift, n_degrees, self._mode)
        if notes:
            self._sampler = taking_up(self._sampler, notes, is_first=not self._score.written)

    def _legal_chords(self) -> Mask:
        """Chords of the key that fit what is played best; those heard where any is believed."""
        believed = chord_tokens(self._target.chords, self._shift)
        if believed is not None:
            return believed
        is_locked = self._target.tonic >= 0
        chords = CHORDS_IN_KEY[self._mode == MAJOR] if is_locked else every_token(CHORD)
        return nearest_chords(self._fit, chords)

    def _harmony(self, chord: int) -> BarHarmony:
        """What may be struck in a bar of ``chord`` (a token), position by position."""
        legal = piano_range(self._shift) & pitches_within(self._fit)
        if self._target.tonic >= 0:
            in_key = legal & pitches_in_key(chord, self._mode)
            # A key that leaves next to nothing of what is heard is not the one that is meant.
            n_in_key = len(set(np.flatnonzero(in_key) % 12))
            legal = in_key if n_in_key >= min(N_TO_OPEN, self._fit.bit_count()) else legal
        return BarHarmony(self._target.chords, self._shift, legal)

    def _notes(
        self, head: Rows, max_notes: int
    ) -> tuple[tuple[GridNote, ...], tuple[int, ...], list[int], int]:
        """The rows after the bar's own, until the bar line or ``max_notes``: notes; and for the moment after
        them pitch tokens, ends and melody."""
        now, target, contexts, sampler = self._now, self._target, self._reading.contexts, self._sampler
        chord = int(head[CHORD])
        harmony = self._harmony(chord)
        louder = expression.louder(now.recent, target, self._manner.loudness)
        placed = expression.higher(now.recent, self._shift, target, self._manner.height)
        placed += expression.deep(self._shift, target) + expression.in_key(target, chord, self._mode)
        notes: list[GridNote] = []
        pitches = deque(now.pitches, maxlen=N_INTERVALS)
        ends = np.array(now.ends)
        position, pitch, n_together, melody = 0, 0, 0, now.melody
        while len(notes) < max_notes:
            full = n_together >= MAX_TOGETHER or pitch >= harmony.highest(max(position - 1, 0))
            positions = next_positions(position, full)
            if not positions.any():
                break
            row = begin_note(head)
            sampler.decide(contexts, row, TYPE, TYPES)
            if row[TYPE] == BAR:
                break
            sampler.decide(contexts, row, POSITION, positions)
            if row[POSITION] != position:
                melody = expression.melody_after(melody, pitch)
                position, pitch, n_together = int(row[POSITION]), 0, 0
            tell_together(sampler.tables, contexts, n_together > 0)
            legal = harmony.legal(position - 1) & (pitch < PITCH_TOKENS)
            new = legal & ~self._known_runs.completed_by(pitches, PITCH_TOKENS)
            legal = new if new.any() else legal
            bias = np.where(ends > position - 1, -RESTRUCK, 0.0).astype(np.float32)
            bias += expression.stepwise(melody) + placed
            bias[repeated_pitch(now.recent, notes, position - 1)] -= self._settings.repetition
            harmony.weigh(position - 1, bias)
            sampler.decide(contexts, row, PITCH, legal, bias)
            sampler.decide(contexts, row, DURATION, DURATIONS)
            sampler.decide(contexts, row, VELOCITY, VELOCITIES, louder)
            self._reading.read(row)
            notes.append(note_of(row))
            pitch, n_together = int(row[PITCH]), n_together + 1
            pitches.append(pitch)
            ends[pitch] = notes[-1].position + notes[-1].steps
        return tuple(notes), tuple(pitches), ends.tolist(), expression.melody_after(melody, pitch)


def repeated_pitch(recent: expression.Recent, notes: Sequence[GridNote], position: int) -> int:
    """Pitch token that would go on repeating the last two bars, if they and this one are alike; or 0."""
    if len(recent) < 2:
        return UNKNOWN
    first, second = ([(note.position, note.pitch) for note in bar] for bar in recent[-2:])
    so_far = [(note.position, note.pitch) for note in notes]
    n = len(so_far)
    if first != second or n >= len(second) or second[:n] != so_far or second[n][0] != position:
        return UNKNOWN
    return second[n][1] - PITCH_LOW + 1
