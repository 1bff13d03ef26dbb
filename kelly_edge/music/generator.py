"""Composing bar by bar: a target in, a bar of notes out, with a way back.

The generator keeps a window of the rows it has composed and the network's keys and values for them.
Every bar line is a snapshot (a reference to the window, a row count, the contexts of the next row, the form
so far), so ``rewind`` goes back to any of the last bar lines kept without computing anything. Randomness
is seeded by (seed, bar number): composing a bar again for the same target gives the same bar, and the
music does not depend on how far ahead it is composed.

Above bars there is a plan (``form``): a bar that returns is read row by row (``recital``), a free one drawn.

When the window is full the newest whole bars that fill half of it are read into a new one, so the network
always sees rows at places it was trained on and play goes on without end. There are ``N_WINDOWS`` of them for
good, so memory is constant. Work a bar is bounded: at most ``max_rows_per_bar`` notes and one such reading.

The network thinks in C; pitches are moved to the tonic here.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

import numpy as np

from kelly_edge.contract import Rung
from kelly_edge.music import expression
from kelly_edge.music.compound_word import (
    BAR,
    CHORD,
    DURATION,
    MAJOR,
    N_BEATS,
    N_DENSITIES,
    N_FAMILIES,
    N_STEPS,
    PITCH,
    PITCH_HIGH,
    PITCH_LOW,
    POSITION,
    STEPS_PER_BEAT,
    TEMPO,
    TYPE,
    UNKNOWN,
    VELOCITY,
    Condition,
    GridNote,
    Rows,
    bar_row,
    begin_note,
    note_of,
    tempo_of,
    tempo_token,
)
from kelly_edge.music.draws import Draws
from kelly_edge.music.fitting import N_TO_OPEN, classes_above
from kelly_edge.music.form import (
    FINAL,
    FULL_CADENCE,
    HALF,
    Score,
    Written,
    cadence_bias,
    draw_places,
    ending_places,
    tonic_chord,
)
from kelly_edge.music.harmony import BarHarmony, chord_tokens
from kelly_edge.music.known_runs import N_INTERVALS
from kelly_edge.music.recital import Recital, last_chord, moved, to_density
from kelly_edge.music.sampling import (
    CHORDS_IN_KEY,
    MAX_TOGETHER,
    PIANO_HIGH,
    PIANO_LOW,
    RESTRUCK,
    SCALES,
    ComposerNetwork,
    Floats,
    KvCache,
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
from kelly_edge.music.target import Target, graded_level, mode_of, sane
from kelly_edge.units import clamp

__all__ = ["Bar", "BarNote", "Generator", "SamplingSettings", "Target"]

N_PITCHES: Final = PITCH_HIGH - PITCH_LOW + 2
PITCH_TOKENS: Final = np.arange(N_PITCHES)
N_SNAPSHOTS: Final = 64
"""Bar lines one may rewind to, at most: the longest look-ahead with the longest latency (8.75 s), of rests of
one beat at the fastest tempo (300 bpm), has 44."""
N_WINDOWS: Final = 8
"""Each serves at least one bar of the most notes, so that a look-ahead of such bars may be rewound."""
SHORT_CONTEXT_ROWS: Final = 64
"""Rows read again on the rung ``short_context``."""
SHORT_MAX_ROWS: Final = 24
FULL, SHORT, CONTINUATION, REST = Rung
LATEST_BEATS: Final = 0.2
"""Within the step of 0.25, however fast."""
MEAN_DENSITY: Final = (3.96, 4.89, 5.48, 5.83, 7.09, 7.43)
"""Mean density level of EMOPIA's training clips at each level of arousal."""
USUAL_TEMPO_BPM: Final = 118.0
"""Mean of EMOPIA's training clips, the same at every level of arousal."""
LEVELS_PER_OCTAVE: Final = 2.0
"""Density levels from so many notes a bar to twice as many (``DENSITY_EDGES``)."""
CLIP_DENSITY_SD, PHRASE_DENSITY_SD, BAR_DENSITY_SD = 1.0, 0.7, 0.4
"""How far clips lie from that mean, phrases from that of their clip, and bars from that of their phrase."""
CADENCE_DENSITY: Final = 0.7
"""Density levels fewer where a phrase comes to rest."""
SHIFTS_OF_SEQUENCES: Final = (-2, -1, 1, 2)
"""Degrees by which a bar is moved along the scale."""
LEADING_DENSITY_SD: Final = 0.3
"""How far bars lie from that mean where the music leads: enough that it breathes."""
DENSER: Final = 1
"""A bar comes back at most so many density levels below what is asked."""
LEADING_THINNER: Final = 0.7
"""Density levels fewer where the music leads: the emotion model hears more energy in what the network plays
than in people's clips of that arousal (goal -.2, three seeds: .73 without, -.08 with it)."""
DENSITY_REACH: Final = 3
"""Density levels that ``Target.density`` = 1 adds."""
TOGETHER_DELAY_S, NOTE_DELAY_S, LATEST_S = 0.0065, 0.004, 0.025
"""How unevenly people play: mean delays of a chord and of each note in it, measured around the grid of
EMOPIA's training clips. Pianists let the melody lead (Goebl, JASA 110, 2001)."""


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


@dataclass
class Window:
    """Rows the network has read, with its keys and values."""

    rows: Rows
    """[context, 11]; the first ``n`` of a snapshot count."""
    cache: KvCache


@dataclass(frozen=True)
class Moment:
    """Everything that composing from a bar line depends on."""

    number: int
    window: Window
    n_rows: int
    contexts: Floats
    """[n_heads, head_width] of the next row."""
    tempo: int = UNKNOWN
    """Tempo token of the last bar."""
    recent: tuple[tuple[GridNote, ...], ...] = ()
    """Notes of the last bars that had any, newest last, at most three."""
    ends: tuple[int, ...] = (0,) * N_PITCHES
    """Steps after the bar line at which the last note of each pitch token ends."""
    pitches: tuple[int, ...] = ()
    """Pitch tokens of the last notes composed, as many as a run has intervals (``known_runs``)."""
    melody: int = UNKNOWN
    """Pitch token of the melody's last note."""
    score: Score | None = None
    """The form that is played; None where none has begun, as after a rest."""


def threshold(seed: int, purpose: int) -> float:
    """A number 0..1 that stays the same throughout a performance."""
    return float(np.random.default_rng([seed, 0, purpose]).random())


class Generator:
    """Composes bar after bar; see the module's text."""

    def __init__(self, network: ComposerNetwork, settings: SamplingSettings, seed: int) -> None:
        self._network = network
        self._settings = settings
        self._seed = seed
        self._dither = [threshold(seed, purpose) for purpose in range(4)]
        self._texture = NormalDist().inv_cdf(clamp(threshold(seed, 4), 0.01, 0.99))
        self._loudness = NormalDist().inv_cdf(clamp(threshold(seed, 5), 0.01, 0.99))
        self._height = NormalDist().inv_cdf(clamp(threshold(seed, 6), 0.01, 0.99))
        self._windows = [self._new_window() for _ in range(N_WINDOWS)]
        self.draws = Draws()
        """What is drawn."""
        self.begin()

    def begin(self) -> None:
        """Forget what was composed: bar 0 comes next, as at first."""
        self._now = Moment(0, self._windows[0], 0, self._network.tables.start.copy())
        self._snapshots: deque[Moment] = deque([self._now], maxlen=N_SNAPSHOTS)

    @property
    def next_bar(self) -> int:
        """Number of the bar that ``compose_bar`` will compose."""
        return self._now.number

    def rewind(self, bar_number: int) -> None:
        """Go back, so that ``compose_bar`` composes ``bar_number`` again.

        Raises
        ------
        ValueError: the bar line is in the future or no longer kept (``N_SNAPSHOTS``, ``N_WINDOWS``).
        """
        if bar_number == self.next_bar:
            return
        kept = [moment for moment in self._snapshots if moment.number <= bar_number]
        if not kept or kept[-1].number != bar_number:
            raise ValueError(f"rewind: no snapshot of bar {bar_number}; the next bar is {self.next_bar}")
        self._now = kept[-1]
        self._snapshots = deque(kept, maxlen=N_SNAPSHOTS)

    def compose_bar(self, target: Target, rung: int = FULL) -> Bar:
        """The next bar for ``target``, made in the way of ``rung`` (``contract.Rung``)."""
        target = sane(target)
        score = self._score(target)
        if rung == REST or (target.ending and score.is_over):
            notes, tempo, after = self._rest(target, score)
        elif rung == CONTINUATION:
            notes, tempo, after = self._continue(target, score)
        else:
            notes, tempo, after = self._compose(target, rung, score)
        key = (-1, -1)
        if notes or target.tonic >= 0:
            key = (self._shift(target) % 12, int(mode_of(target, self._dither[2]) == MAJOR))
        bar = Bar(
            self._now.number,
            target.tempo_bpm or tempo_of(tempo),
            N_BEATS,
            self._sounding(notes, target, target.tempo_bpm or tempo_of(tempo)),
            rung,
            *key,
        )
        self._now = after
        self._snapshots.append(after)
        return bar

    def _score(self, target: Target) -> Score:
        """The form that the next bar belongs to: the one being played, if it still serves, or a new one."""
        now, score = self._now, self._now.score
        mode = mode_of(target, self._dither[2])
        if target.ending:
            if score is not None and score.is_ending:
                return score
            ending = Score(now.number, target, mode, ending_places(target.ending))
            # Where nothing plays there is nothing to end.
            return ending if score is not None else replace(ending, places=())
        if score is None or score.is_over or score.is_ending or not score.serves(target, mode):
            return Score(now.number, target, mode, draw_places(self._rng(5, now.number)))
        return score

    def _rng(self, purpose: int, *numbers: int) -> np.random.Generator:
        """Randomness that depends on nothing but the seed and ``numbers``."""
        return np.random.default_rng([self._seed, purpose, *numbers])

    def _usual_tempo(self, target: Target) -> int:
        """Tempo token of a bar that is not composed."""
        return tempo_token(target.tempo_bpm) if target.tempo_bpm else self._now.tempo or tempo_token(90.0)

    def _rest(self, target: Target, score: Score) -> tuple[tuple[GridNote, ...], int, Moment]:
        """A bar of silence; after it a form begins anew, unless the music has ended."""
        now, tempo = self._now, self._usual_tempo(target)
        kept = score if score.is_ending else None
        ends = a_bar_later(now.ends)
        return (), tempo, replace(now, number=now.number + 1, tempo=tempo, ends=ends, score=kept)

    def _continue(self, target: Target, score: Score) -> tuple[tuple[GridNote, ...], int, Moment]:
        """The last bar's notes once more, or the last chord, without the network."""
        now, tempo = self._now, self._usual_tempo(target)
        mode = mode_of(target, self._dither[2])
        notes = now.recent[-1] if now.recent else ()
        if score.place.cadence == FINAL:
            notes = last_chord(mode, expression.melody_pitch(now.melody), target.tempo_bpm or tempo_of(tempo))
        if target.tonic >= 0:
            notes = into_key(notes, mode)
        shift = self._shift(target)
        notes = tuple(n for n in notes if target.classes >> (n.pitch + shift) % 12 & 1)
        score = score.and_then(Written(notes, UNKNOWN, N_DENSITIES))
        ends = a_bar_later(now.ends)
        return notes, tempo, replace(now, number=now.number + 1, tempo=tempo, ends=ends, score=score)

    def _returning(self, score: Score, condition: Condition, tempo_bpm: float) -> Written | None:
        """The bar that the next one shall bring back, as it shall be played; None where it is free."""
        if score.place.cadence == FINAL:
            notes = last_chord(condition.mode, expression.melody_pitch(self._now.melody), tempo_bpm)
            return Written(notes, tonic_chord(condition.mode), condition.density)
        model = score.model
        if model is None or not model.notes or condition.density > model.density + DENSER:
            return None
        if score.place.is_moved:
            shift = int(self._rng(6, score.began).choice(SHIFTS_OF_SEQUENCES))
            model = moved(model, shift, condition.mode)
        return replace(model, notes=to_density(model, condition.density))

    def _new_window(self) -> Window:
        window = Window(np.zeros((self._network.context, N_FAMILIES), np.int16), self._network.new_cache())
        for array in (window.rows, window.cache.keys, window.cache.values):
            array.fill(0)  # its pages are taken now, not while it plays
        return window

    def _spare_window(self) -> Window:
        """One that no bar line needs; where all are needed the oldest bar lines are forgotten."""
        while True:
            needed = {id(moment.window) for moment in self._snapshots}
            for window in self._windows:
                if id(window) not in needed:
                    return window
            self._snapshots.popleft()

    def _read(self, row: Rows, window: Window, n_rows: int, contexts: Floats) -> int:
        window.rows[n_rows] = row
        self._network.step(row, window.cache, n_rows, contexts)
        return n_rows + 1

    def _room(self, n_more: int, n_kept: int) -> tuple[Window, int, Floats]:
        """The window if ``n_more`` rows fit, else a new one with whole bars of at most ``n_kept`` rows."""
        now = self._now
        contexts = now.contexts.copy()
        if now.n_rows + n_more <= self._network.context:
            return now.window, now.n_rows, contexts
        rows = now.window.rows[: now.n_rows]
        lines = np.flatnonzero(rows[:, TYPE] == BAR)
        lines = lines[lines >= now.n_rows - n_kept]
        window, n_rows = self._spare_window(), 0
        np.copyto(contexts, self._network.tables.start)
        for row in rows[lines[0] if len(lines) else now.n_rows :]:
            n_rows = self._read(row, window, n_rows, contexts)
        return window, n_rows, contexts

    def _compose(self, target: Target, rung: int, score: Score) -> tuple[tuple[GridNote, ...], int, Moment]:
        """Notes and tempo token of the next bar from the network, and the moment after it."""
        now, settings = self._now, self._settings
        max_rows = min(
            settings.max_rows_per_bar, SHORT_MAX_ROWS if rung == SHORT else self._network.context // 4
        )
        n_kept = SHORT_CONTEXT_ROWS if rung == SHORT else self._network.context // 2
        window, n_rows, contexts = self._room(max_rows + 1, n_kept)
        rng = np.random.default_rng([self._seed, 1, now.number])
        settle = self.draws.settle
        sampler = Sampler(self._network.tables, settings, rng, settle=settle)
        place = score.place
        locked = target.tonic >= 0
        mode = mode_of(target, self._dither[2])
        condition = self._condition(target, mode, score)
        row = bar_row(condition, UNKNOWN, UNKNOWN)
        if target.tempo_bpm:
            row[TEMPO] = tempo_token(target.tempo_bpm)
        elif now.tempo and (score.written or score.is_ending):
            row[TEMPO] = now.tempo
        else:
            sampler.decide(contexts, row, TEMPO, near_tempi(now.tempo))
        chords = CHORDS_IN_KEY[mode == MAJOR] if locked else every_token(CHORD)
        shift = self._shift(target)
        fit = classes_above(target.classes, shift)
        chords = nearest_chords(fit, chords)
        believed = chord_tokens(target.chords, shift)
        chords = chords if believed is None else believed
        returning = self._returning(score, condition, target.tempo_bpm or tempo_of(int(row[TEMPO])))
        if returning is not None:
            sampler = Recital(
                sampler.tables, settings, rng, deque(returning.notes), returning.chord, settle=settle
            )
        wanted = expression.harmony(target, mode) + cadence_bias(place.cadence, mode)
        sampler.decide(contexts, row, CHORD, chords, wanted)
        n_rows = self._read(row, window, n_rows, contexts)
        head, tempo = row, int(row[TEMPO])

        legal_pitches = piano_range(shift) & pitches_within(fit)
        if locked:
            in_key = legal_pitches & pitches_in_key(int(row[CHORD]), mode)
            # A key that leaves next to nothing of what is heard is not the one that is meant.
            n_in_key = len(set(np.flatnonzero(in_key) % 12))
            legal_pitches = in_key if n_in_key >= min(N_TO_OPEN, fit.bit_count()) else legal_pitches
        harmony = BarHarmony(target.chords, shift, legal_pitches)
        notes: list[GridNote] = []
        pitches = deque(now.pitches, maxlen=N_INTERVALS)
        ends = np.array(now.ends)
        position, pitch, n_together, melody = 0, 0, 0, now.melody
        types = every_token(TYPE)
        louder = expression.louder(now.recent, target, self._loudness)
        placed = expression.higher(now.recent, shift, target, self._height)
        placed += expression.in_key(target, int(head[CHORD]), mode)
        while len(notes) < max_rows:
            full = n_together >= MAX_TOGETHER or pitch >= harmony.highest(max(position - 1, 0))
            positions = next_positions(position, full)
            if not positions.any():
                break
            row = begin_note(head)
            sampler.decide(contexts, row, TYPE, types)
            if row[TYPE] == BAR:
                break
            sampler.decide(contexts, row, POSITION, positions)
            if row[POSITION] != position:
                melody = expression.melody_after(melody, pitch)
                position, pitch, n_together = int(row[POSITION]), 0, 0
            tell_together(sampler.tables, contexts, n_together > 0)
            legal = harmony.legal(position - 1) & (pitch < PITCH_TOKENS)
            new = legal & ~self._network.known_runs.completed_by(pitches, PITCH_TOKENS)
            legal = new if new.any() else legal
            bias = np.where(ends > position - 1, -RESTRUCK, 0.0).astype(np.float32)
            bias += expression.stepwise(melody) + placed
            bias[self._repeated_pitch(notes, position - 1)] -= settings.repetition
            harmony.weigh(position - 1, bias)
            sampler.decide(contexts, row, PITCH, legal, bias)
            sampler.decide(contexts, row, DURATION, every_token(DURATION))
            sampler.decide(contexts, row, VELOCITY, every_token(VELOCITY), louder)
            n_rows = self._read(row, window, n_rows, contexts)
            notes.append(note_of(row))
            pitch, n_together = int(row[PITCH]), n_together + 1
            pitches.append(pitch)
            ends[pitch] = notes[-1].position + notes[-1].steps
        bar_notes = tuple(notes)
        recent = (*now.recent[-2:], bar_notes) if bar_notes else now.recent
        after = a_bar_later(ends.tolist())
        score = score.and_then(Written(bar_notes, int(head[CHORD]), condition.density))
        moment = Moment(
            now.number + 1, window, n_rows, contexts, tempo, recent, after, tuple(pitches),
            expression.melody_after(melody, pitch), score,
        )  # fmt: skip
        return bar_notes, tempo, moment

    def _condition(self, target: Target, mode: int, score: Score) -> Condition:
        arousal = graded_level(target.arousal, self._dither[1])
        bar = float(self._rng(4, self._now.number).normal())
        phrase = float(self._rng(7, score.began, ord(score.place.phrase[0])).normal())
        deviation = CLIP_DENSITY_SD * self._texture + PHRASE_DENSITY_SD * phrase + BAR_DENSITY_SD * bar
        deviation -= CADENCE_DENSITY * (score.place.cadence in (HALF, FULL_CADENCE))
        if target.leads:
            deviation = LEADING_DENSITY_SD * bar - LEADING_THINNER
        level = MEAN_DENSITY[arousal - 1] + deviation
        if target.tempo_bpm and not target.leads:
            # Levels count notes a bar. At another pace as many notes a second shall come, unless the pace was
            # chosen for its effect.
            level -= LEVELS_PER_OCTAVE * math.log2(target.tempo_bpm / USUAL_TEMPO_BPM)
        density = int(clamp(round(level + target.density * DENSITY_REACH), 1, N_DENSITIES))
        return Condition(graded_level(target.valence, self._dither[0]), arousal, density, mode)

    def _repeated_pitch(self, notes: list[GridNote], position: int) -> int:
        """Pitch token that would go on repeating the last two bars, if they and this one are alike; or 0."""
        recent = self._now.recent
        if len(recent) < 2:
            return UNKNOWN
        first, second = ([(note.position, note.pitch) for note in bar] for bar in recent[-2:])
        so_far = [(note.position, note.pitch) for note in notes]
        n = len(so_far)
        if first != second or n >= len(second) or second[:n] != so_far or second[n][0] != position:
            return UNKNOWN
        return second[n][1] - PITCH_LOW + 1

    def _shift(self, target: Target) -> int:
        """Semitones (-5..6) from C to the tonic; a free tonic is the performance's own."""
        tonic = target.tonic if target.tonic >= 0 else int(self._dither[3] * 12.0)
        return (tonic + 5) % 12 - 5

    def _delays_s(self, notes: tuple[GridNote, ...]) -> Floats:
        """Seconds after the grid at which the notes are struck, the melody first in a chord: [n_notes]."""
        rng = np.random.default_rng([self._seed, 3, self._now.number])
        position = np.array([note.position for note in notes])
        delays = rng.exponential(TOGETHER_DELAY_S, N_STEPS)[position]
        delays = np.minimum(delays, LATEST_S) + rng.exponential(NOTE_DELAY_S, len(notes))
        # Notes are sorted by position, then upwards: the later delays go to the lower notes.
        delays = delays[np.lexsort((-delays, position))]
        return np.asarray(self._settings.unevenness * delays, np.float32)

    def _sounding(self, notes: tuple[GridNote, ...], target: Target, tempo_bpm: float) -> tuple[BarNote, ...]:
        """Notes in the key of ``target``; a note ends where its pitch is struck again."""
        if not notes:
            return ()
        shift = self._shift(target)
        delays = self._delays_s(notes) * tempo_bpm / 60.0
        sounding = []
        for i, note in enumerate(notes):
            again = [n.position for n in notes[i + 1 :] if n.pitch == note.pitch]
            pitch = note.pitch + shift
            pitch += 12 * ((pitch < PIANO_LOW) - (pitch > PIANO_HIGH))
            begin = note.position / STEPS_PER_BEAT + min(float(delays[i]), LATEST_BEATS)
            end = begin + note.steps / STEPS_PER_BEAT
            end = min([end, *(position / STEPS_PER_BEAT for position in again)])
            sounding.append(BarNote(begin, end - begin, pitch, note.velocity))
        return tuple(sorted(sounding, key=lambda note: (note.onset_beats, note.pitch)))


def a_bar_later(ends: Sequence[int]) -> tuple[int, ...]:
    """``Moment.ends`` counted from the next bar line."""
    return tuple(max(0, end - N_STEPS) for end in ends)


def into_key(notes: tuple[GridNote, ...], mode: int) -> tuple[GridNote, ...]:
    """Notes moved into the scale by a semitone, up in major and down in minor: thirds stay thirds."""
    step = 1 if mode == MAJOR else -1
    scale = SCALES[mode == MAJOR]
    moved = [n if n.pitch % 12 in scale else replace(n, pitch=n.pitch + step) for n in notes]
    return tuple(sorted({(n.position, n.pitch): n for n in moved}.values()))
