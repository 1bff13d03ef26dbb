"""Composing bar by bar: a target in, a bar of notes out, with a way back.

The generator keeps a window of the rows it has composed and the network's keys and values for them.
Every bar line is a snapshot (a reference to the window, a row count, the contexts of the next row), so
``rewind`` goes back to any of the last bar lines kept without computing anything. Randomness
is seeded by (seed, bar number): composing a bar again for the same target gives the same bar, and the
music does not depend on how far ahead it is composed.

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

from kelly_edge.contract import RUNGS
from kelly_edge.music.compound_word import (
    BAR,
    CHORD,
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
    Condition,
    GridNote,
    Rows,
    bar_row,
    begin_note,
    note_of,
    tempo_of,
    tempo_token,
)
from kelly_edge.music.fitting import N_TO_OPEN
from kelly_edge.music.known_runs import N_INTERVALS
from kelly_edge.music.sampling import (
    CHORD_BRIGHTNESS,
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
FULL, SHORT, CONTINUATION, REST = range(len(RUNGS))
LATEST_BEATS: Final = 0.2
"""Within the step of 0.25, however fast."""
MEAN_DENSITY: Final = (3.96, 4.89, 5.48, 5.83, 7.09, 7.43)
"""Mean density level of EMOPIA's training clips at each level of arousal."""
USUAL_TEMPO_BPM: Final = 118.0
"""Mean of EMOPIA's training clips, the same at every level of arousal."""
LEVELS_PER_OCTAVE: Final = 2.0
"""Density levels from so many notes a bar to twice as many (``DENSITY_EDGES``)."""
OVERSHOOT: Final = 0.43
"""Levels that the network plays denser than asked."""
CLIP_DENSITY_SD, BAR_DENSITY_SD = 1.1, 0.9
"""How far clips lie from that mean, and bars from that of their clip."""
LEADING_DENSITY_SD: Final = 0.3
"""How far bars lie from that mean where the music leads: enough that it breathes."""
LEADING_THINNER: Final = 0.7
"""Density levels fewer where the music leads: the emotion model hears more energy in what the network plays
than in people's clips of that arousal (goal -.2, three seeds: .73 without, -.08 with it)."""
LEADING_HARMONY: Final = 2.5
"""Log odds added to chords with a major third, times the valence, where the music leads, and taken from those
with a minor third."""
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
    """Index in ``contract.RUNGS``: how it was made."""
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
        self._windows = [self._new_window() for _ in range(N_WINDOWS)]
        self._now = Moment(0, self._windows[0], 0, network.tables.start.copy())
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
        """The next bar for ``target``, made in the way of ``rung`` (``contract.RUNGS``)."""
        target = sane(target)
        if rung in (FULL, SHORT):
            notes, tempo, after = self._compose(target, rung)
        else:
            notes = self._now.recent[-1] if rung == CONTINUATION and self._now.recent else ()
            if target.tonic >= 0:
                notes = into_key(notes, mode_of(target, self._dither[2]))
            shift = self._shift(target)
            notes = tuple(n for n in notes if target.classes >> (n.pitch + shift) % 12 & 1)
            tempo = (
                tempo_token(target.tempo_bpm) if target.tempo_bpm else self._now.tempo or tempo_token(90.0)
            )
            after = replace(
                self._now, number=self._now.number + 1, tempo=tempo, ends=a_bar_later(self._now.ends)
            )
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

    def _compose(self, target: Target, rung: int) -> tuple[tuple[GridNote, ...], int, Moment]:
        """Notes and tempo token of the next bar from the network, and the moment after it."""
        now, settings = self._now, self._settings
        max_rows = min(
            settings.max_rows_per_bar, SHORT_MAX_ROWS if rung == SHORT else self._network.context // 4
        )
        n_kept = SHORT_CONTEXT_ROWS if rung == SHORT else self._network.context // 2
        window, n_rows, contexts = self._room(max_rows + 1, n_kept)
        rng = np.random.default_rng([self._seed, 1, now.number])
        sampler = Sampler(self._network.tables, settings, rng)
        locked = target.tonic >= 0
        mode = mode_of(target, self._dither[2])
        row = bar_row(self._condition(target, mode), UNKNOWN, UNKNOWN)
        if target.tempo_bpm:
            row[TEMPO] = tempo_token(target.tempo_bpm)
        else:
            sampler.decide(contexts, row, TEMPO, near_tempi(now.tempo))
        chords = CHORDS_IN_KEY[mode == MAJOR] if locked else every_token(CHORD)
        shift = self._shift(target)
        fit = classes_above(target.classes, shift)
        chords = nearest_chords(fit, chords)
        brightness = LEADING_HARMONY * target.valence * CHORD_BRIGHTNESS if target.leads else None
        sampler.decide(contexts, row, CHORD, chords, brightness)
        n_rows = self._read(row, window, n_rows, contexts)
        head, tempo = row, int(row[TEMPO])

        legal_pitches = piano_range(shift) & pitches_within(fit)
        if locked:
            in_key = legal_pitches & pitches_in_key(int(row[CHORD]), mode)
            # A key that leaves next to nothing of what is heard is not the one that is meant.
            n_in_key = len(set(np.flatnonzero(in_key) % 12))
            legal_pitches = in_key if n_in_key >= min(N_TO_OPEN, fit.bit_count()) else legal_pitches
        highest = int(np.flatnonzero(legal_pitches)[-1])
        notes: list[GridNote] = []
        pitches = deque(now.pitches, maxlen=N_INTERVALS)
        ends = np.array(now.ends)
        position, pitch, n_together = 0, 0, 0
        types = every_token(TYPE)
        while len(notes) < max_rows:
            full = n_together >= MAX_TOGETHER or pitch >= highest
            positions = next_positions(position, full)
            if not positions.any():
                break
            row = begin_note(head)
            sampler.decide(contexts, row, TYPE, types)
            if row[TYPE] == BAR:
                break
            sampler.decide(contexts, row, POSITION, positions)
            if row[POSITION] != position:
                position, pitch, n_together = int(row[POSITION]), 0, 0
            tell_together(sampler.tables, contexts, n_together > 0)
            legal = legal_pitches & (pitch < PITCH_TOKENS)
            new = legal & ~self._network.known_runs.completed_by(pitches, PITCH_TOKENS)
            legal = new if new.any() else legal
            bias = np.where(ends > position - 1, -RESTRUCK, 0.0).astype(np.float32)
            bias[self._repeated_pitch(notes, position - 1)] -= settings.repetition
            sampler.decide(contexts, row, PITCH, legal, bias)
            for column in range(PITCH + 1, N_FAMILIES):
                sampler.decide(contexts, row, column, every_token(column))
            n_rows = self._read(row, window, n_rows, contexts)
            notes.append(note_of(row))
            pitch, n_together = int(row[PITCH]), n_together + 1
            pitches.append(pitch)
            ends[pitch] = notes[-1].position + notes[-1].steps
        bar_notes = tuple(notes)
        recent = (*now.recent[-2:], bar_notes) if bar_notes else now.recent
        after = a_bar_later(ends.tolist())
        moment = Moment(now.number + 1, window, n_rows, contexts, tempo, recent, after, tuple(pitches))
        return bar_notes, tempo, moment

    def _condition(self, target: Target, mode: int) -> Condition:
        arousal = graded_level(target.arousal, self._dither[1])
        bar = float(np.random.default_rng([self._seed, 4, self._now.number]).normal())
        deviation = CLIP_DENSITY_SD * self._texture + BAR_DENSITY_SD * bar
        if target.leads:
            deviation = LEADING_DENSITY_SD * bar - LEADING_THINNER
        level = MEAN_DENSITY[arousal - 1] - OVERSHOOT + deviation
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


def classes_above(classes: int, shift: int) -> int:
    """The set ``classes`` (``fitting``) counted from the pitch class ``shift`` instead of C."""
    return sum(1 << p for p in range(12) if classes >> (p + shift) % 12 & 1)


def into_key(notes: tuple[GridNote, ...], mode: int) -> tuple[GridNote, ...]:
    """Notes moved into the scale by a semitone, up in major and down in minor: thirds stay thirds."""
    step = 1 if mode == MAJOR else -1
    scale = SCALES[mode == MAJOR]
    moved = [n if n.pitch % 12 in scale else replace(n, pitch=n.pitch + step) for n in notes]
    return tuple(sorted({(n.position, n.pitch): n for n in moved}.values()))
