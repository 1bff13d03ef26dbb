"""From bars to notes with absolute due times: look-ahead, replanning and latency compensation.

The plan holds bars composed ahead. A bar is committed beat by beat (the notes leave for ``midi``), each beat
shortly before it begins, so that the beat of the person listened to is followed within a bar. Until its first
beat is committed a changed target takes a bar back, so a change is heard at the next bar line, or one bar
later when that bar had begun. Times are seconds of the stream, never relative sleeps, so nothing drifts.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from kelly_edge.config import EnvelopeSettings
from kelly_edge.contract import GROUP_S, Rung
from kelly_edge.music.compound_word import STEPS_PER_BEAT
from kelly_edge.music.envelope import bound_tempo
from kelly_edge.music.notes import Bar, TimedNote
from kelly_edge.music.players_beat import PlayersBeat, beat_to_play_s, beats_to_play
from kelly_edge.music.target import Target

COMMIT_S: Final = 0.25
"""A beat is committed this long before it begins: covers a late wake-up of composer and midi. Chosen:
three hop groups (docs/decisions/0021)."""
SHORTEST_END_S: Final = 0.2
"""A bar that must finish is not played into its last moments. Chosen by hand: two sixteenths."""
SHORTEST_NOTE_S: Final = 0.1
"""Nor does a note begin that would have to end within this. Chosen by hand: a sixteenth."""
REPLAN_DISTANCE: Final = 0.12
"""Change of target valence, arousal or density from which the plan is composed again; chosen as a third of a
level of valence or arousal; less would not change the music composed."""
REPLAN_TEMPO: Final = 0.08
"""Relative change of tempo from which it is composed again. Chosen: a little more than a tempo token, 6 %."""

SLIP_S: Final = 0.02
"""How far the sound card's time and the clock may drift apart before groups are dated anew. Chosen: about
once in seven minutes at 50 ppm, and not heard (docs/decisions/0007)."""
LAG_SMOOTHING_S: Final = 10.0
"""Chosen: longer than a busy machine is late."""


@dataclass(frozen=True)
class CommittedBeat:
    """A beat of a bar on the time line; its notes are those that begin in it."""

    bar: Bar
    index: int
    """From 0 at the bar line."""
    n_beats: int
    """Of the bar as it is played."""
    start_s: float
    beat_s: float
    finish_s: float = math.inf
    """By then every note has ended."""

    @property
    def end_s(self) -> float:
        """When the next beat begins."""
        return self.start_s + self.beat_s

    def is_on_beat(self, onset_s: float) -> bool:
        """Whether a note that begins then is nearer to a beat than to another step of the grid."""
        beats = (onset_s - self.start_s) / self.beat_s
        return abs(beats - round(beats)) < 0.5 / STEPS_PER_BEAT

    def notes(self) -> list[TimedNote]:
        """Notes in time, melody before bass where they begin together."""
        # What sounds a little before its bar line belongs to it.
        begin = -math.inf if self.index == 0 else self.index
        notes = []
        for n in self.bar.notes:
            if begin <= n.onset_beats < self.index + 1:
                onset_s = self.start_s + (n.onset_beats - self.index) * self.beat_s
                if onset_s > self.finish_s - SHORTEST_NOTE_S:
                    continue
                duration_s = min(n.duration_beats * self.beat_s, self.finish_s - onset_s)
                notes.append(TimedNote(onset_s, duration_s, n.pitch, n.velocity))
        return sorted(notes, key=lambda n: (n.onset_s, -n.pitch))


@dataclass
class _Begun:
    """The bar that is being committed."""

    bar: Bar
    n_beats: int
    start_s: float
    n_done: int = 0


def differs(a: Target, b: Target) -> bool:
    """Whether a bar composed for ``a`` no longer serves ``b``."""
    return (
        abs(a.valence - b.valence) > REPLAN_DISTANCE
        or abs(a.arousal - b.arousal) > REPLAN_DISTANCE
        or abs(a.density - b.density) > REPLAN_DISTANCE
        or (a.tonic, a.mode, a.leads, a.ending, a.theme) != (b.tonic, b.mode, b.leads, b.ending, b.theme)
        or abs(a.tempo_bpm - b.tempo_bpm) > REPLAN_TEMPO * max(a.tempo_bpm, b.tempo_bpm)
    )


def is_foreign(bar: Bar, made_for: Target, target: Target) -> bool:
    """Whether a note of the bar is neither in the classes that fit by now nor in a chord it was made for."""
    classes = target.classes
    for beat in made_for.chords:
        classes |= beat.classes
    return any(not classes >> note.pitch % 12 & 1 for note in bar.notes)


class Plan:
    """The bars composed but not yet committed, and the time line of the beats committed.

    Parameters
    ----------
    start_s: where the first begins; without it where ``begin_at_the_earliest`` first says.
    commit_s: how long before it begins a beat is committed. An instrument that answers late is sent its notes
    sooner (``midi.latency_ms``), so its beats must be committed sooner by as much.
    tempo_bpm: of the bar played before the first, whose tempo stays near it; 0 for none.
    keeps_tempo: whether the tempo stays near the last bar's over a rest, as a sequencer on our clock needs.
    """

    def __init__(
        self,
        envelope: EnvelopeSettings,
        start_s: float = -math.inf,
        commit_s: float = COMMIT_S,
        tempo_bpm: float = 0.0,
        keeps_tempo: bool = False,
    ) -> None:
        self.commit_s = commit_s
        self._envelope = envelope
        self._bars: deque[tuple[Bar, Target]] = deque()
        self._begun: _Begun | None = None
        self._committed_end_s = start_s
        self._committed_tempo_bpm = tempo_bpm
        self._committed_rest = False
        self._keeps_tempo = keeps_tempo
        self._opens = False
        self._finish_s, self._cuts = math.inf, False
        self.n_replanned = 0

    @property
    def end_s(self) -> float:
        """Up to when the music is planned, at the tempi foreseen."""
        end_s, tempo = self._committed_end_s, self._committed_tempo_bpm
        if self._begun is not None:
            tempo = bound_tempo(self._envelope, self._begun.bar.tempo_bpm, tempo)
            end_s += (self._begun.n_beats - self._begun.n_done) * 60.0 / tempo
        for bar, _ in self._bars:
            tempo = bound_tempo(self._envelope, bar.tempo_bpm, tempo)
            end_s += bar.n_beats * 60.0 / tempo
        return end_s

    @property
    def committed_end_s(self) -> float:
        """Up to when the music is committed; a target set now is heard from there on."""
        return self._committed_end_s

    @property
    def tempo_bpm(self) -> float:
        """Tempo of the last bar committed; 0 for none."""
        return self._committed_tempo_bpm

    @property
    def has_music_begun(self) -> bool:
        """Whether the bar committed last holds notes."""
        return self._begun is not None or not (self._committed_rest or math.isinf(self._committed_end_s))

    def begin_at_the_earliest(self, start_s: float) -> bool:
        """Move the end of the committed music to ``start_s`` when it has passed; whether music had begun."""
        if self._committed_end_s >= start_s:
            return False
        had_begun = math.isfinite(self._committed_end_s)
        self._committed_end_s = start_s
        return had_begun

    def cut_rest(self, end_s: float) -> None:
        """A committed rest that nothing follows yet ends at ``end_s``, if that is sooner.

        The bar that comes then opens with the beat of its first note.
        """
        if self._committed_rest and self._begun is None and not self._bars:
            self._committed_end_s = min(self._committed_end_s, end_s)
            self._opens = True

    def enter(self, line_s: float) -> None:
        """The music that comes after a rest, or first of all, begins at ``line_s``, with its bar line."""
        if not self.has_music_begun:
            self._committed_end_s, self._opens = line_s, False

    def finish(self, by_s: float, cuts: bool = True) -> None:
        """Notes committed from now on end by then; with ``cuts`` the bar being played does, too,
        however few of its beats were played. Infinity: they need not."""
        self._finish_s, self._cuts = by_s, cuts

    def add(self, bar: Bar, target: Target) -> None:
        """Append a composed bar at the end of the plan."""
        self._bars.append((bar, target))

    def commit(self, now_s: float, beat: PlayersBeat | None = None) -> CommittedBeat | None:
        """Take the next beat out of the plan if it is time, pulled onto the player's; None otherwise."""
        begun = self._begun
        is_over = self._cuts and self._committed_end_s >= self._finish_s - SHORTEST_END_S
        if begun is not None and is_over:
            self._end_bar(begun)
            begun = None
        if begun is None:
            begun = self._begin_bar(now_s, beat)
            if begun is None:
                return None
        elif self._committed_end_s > now_s + self.commit_s:
            return None
        start_s = self._committed_end_s
        if beat is not None and begun.n_done:
            # Another octave of the tempo begins with a bar.
            beat = beat.in_octave_of(60.0 * begun.n_done / (start_s - begun.start_s))
        beat_s = beat_to_play_s(start_s, beat, begun.bar.tempo_bpm, self._limits_bpm(begun, beat))
        committed = CommittedBeat(begun.bar, begun.n_done, begun.n_beats, start_s, beat_s, self._finish_s)
        self._committed_end_s = committed.end_s
        begun.n_done += 1
        if begun.n_done == begun.n_beats:
            self._end_bar(begun)
        return committed

    def _begin_bar(self, now_s: float, beat: PlayersBeat | None) -> _Begun | None:
        if not self._bars:
            return None
        bar, _ = self._bars[0]
        is_rest = bar.rung == Rung.REST
        start_s = self._committed_end_s
        if self._opens and not is_rest:
            # What comes after a rest cut short opens with the beat of its first note.
            n_empty = int(min((note.onset_beats for note in bar.notes), default=0.0))
            tempo = bound_tempo(self._envelope, bar.tempo_bpm, self._committed_tempo_bpm)
            start_s -= n_empty * 60.0 / tempo
        if start_s > now_s + self.commit_s:
            return None
        self._bars.popleft()
        self._opens = False
        self._committed_end_s = start_s
        n_beats = bar.n_beats if is_rest else min(bar.n_beats, beats_to_play(start_s, beat))
        self._begun = _Begun(bar, n_beats, start_s)
        return self._begun

    def _limits_bpm(self, begun: _Begun, beat: PlayersBeat | None) -> tuple[float, float]:
        """Slowest and fastest tempo of the next beat."""
        limits, last_bpm = self._envelope, self._committed_tempo_bpm
        if last_bpm <= 0.0 or (self._committed_rest and beat is not None and not self._keeps_tempo):
            return limits.tempo_min_bpm, limits.tempo_max_bpm
        if beat is not None and beat.is_octave_of(last_bpm) and not self._keeps_tempo:
            last_bpm = beat.tempo_bpm
        return (
            bound_tempo(limits, limits.tempo_min_bpm, last_bpm),
            bound_tempo(limits, limits.tempo_max_bpm, last_bpm),
        )

    def _end_bar(self, begun: _Begun) -> None:
        if begun.n_done:
            seconds = self._committed_end_s - begun.start_s
            self._committed_tempo_bpm = 60.0 * begun.n_done / seconds
        self._committed_rest = begun.bar.rung == Rung.REST
        self._begun = None

    def take_back(self, target: Target, resting: bool) -> int | None:
        """Drop the open bars if ``target`` (or a rest) needs others; the number of the first dropped."""
        if not any(
            differs(of, target) or is_foreign(bar, of, target) or (bar.rung == Rung.REST) != resting
            for bar, of in self._bars
        ):
            return None
        number = self._bars[0][0].number
        self.n_replanned += len(self._bars)
        self._bars.clear()
        return number


class GroupTime:
    """Dates hop groups by their number, evenly, whenever they happen to arrive.

    The sound card counts them and the music runs on the clock; the smoothed difference of the two is made up
    for in one small slip now and then.
    """

    def __init__(self) -> None:
        self._origin_s = 0.0
        self._number = -1
        self._lag_s = 0.0

    def date(self, number: int, time_s: float) -> float:
        """Seconds of the stream of group ``number``, heard at ``time_s``."""
        if self._number < 0 or number <= self._number:
            # The first, or the first of another dsp.
            self._origin_s, self._lag_s = time_s - number * GROUP_S, 0.0
        self._number = number
        lag_s = time_s - self._origin_s - number * GROUP_S
        self._lag_s += (lag_s - self._lag_s) * GROUP_S / LAG_SMOOTHING_S
        if abs(self._lag_s) > SLIP_S:
            self._origin_s += self._lag_s
            self._lag_s = 0.0
        return self._origin_s + number * GROUP_S
