"""From bars to notes with absolute due times: look-ahead, replanning and latency compensation.

The plan holds bars composed ahead. A bar is committed (its notes leave for ``midi``) shortly before
it begins; until then a changed target takes it back, so a change is heard at the next bar line, or
one bar later when that bar was already committed. Times are seconds of the stream, never relative
sleeps, so nothing drifts.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from kelly_edge.config import EnvelopeSettings
from kelly_edge.contract import GROUP_S, RUNGS
from kelly_edge.music.envelope import TimedNote, bound_tempo
from kelly_edge.music.generator import Bar, Target

REST: Final = RUNGS.index("rest")
COMMIT_S: Final = 0.25
"""A bar is committed this long before it begins: covers a late wake-up of composer and midi."""
REPLAN_DISTANCE: Final = 0.12
"""Change of target valence, arousal or density from which the plan is composed again."""

SLIP_S: Final = 0.02
"""How far the sound card's time and the clock may drift apart before groups are dated anew."""
LAG_SMOOTHING_S: Final = 10.0


@dataclass(frozen=True)
class PlannedBar:
    """A bar on the time line, with the target it was composed for."""

    bar: Bar
    target: Target
    start_s: float
    tempo_bpm: float

    @property
    def end_s(self) -> float:
        """When the next bar begins."""
        return self.start_s + self.bar.n_beats * 60.0 / self.tempo_bpm

    def notes(self) -> list[TimedNote]:
        """The bar's notes in time, melody before bass where they begin together."""
        beat_s = 60.0 / self.tempo_bpm
        notes = [
            TimedNote(self.start_s + n.onset_beats * beat_s, n.duration_beats * beat_s, n.pitch, n.velocity)
            for n in self.bar.notes
        ]
        return sorted(notes, key=lambda n: (n.onset_s, -n.pitch))


def differs(a: Target, b: Target) -> bool:
    """Whether a bar composed for ``a`` no longer serves ``b``."""
    return (
        abs(a.valence - b.valence) > REPLAN_DISTANCE
        or abs(a.arousal - b.arousal) > REPLAN_DISTANCE
        or abs(a.density - b.density) > REPLAN_DISTANCE
        or (a.tonic, a.mode, a.leads, a.ending) != (b.tonic, b.mode, b.leads, b.ending)
        or abs(a.tempo_bpm - b.tempo_bpm) > 0.08 * max(a.tempo_bpm, b.tempo_bpm)
    )


def is_foreign(bar: Bar, target: Target) -> bool:
    """Whether a note of the bar is not among the classes that fit by now."""
    return any(not target.classes >> note.pitch % 12 & 1 for note in bar.notes)


class Plan:
    """The bars composed but not yet committed, on the time line.

    Parameters
    ----------
    start_s: where the first begins; without it where ``begin_at_the_earliest`` first says.
    commit_s: how long before it begins a bar is committed. An instrument that answers late is sent its notes
    sooner (``midi.latency_ms``), so its bars must be committed sooner by as much.
    tempo_bpm: of the bar played before the first, whose tempo stays near it; 0 for none.
    """

    def __init__(
        self,
        envelope: EnvelopeSettings,
        start_s: float = -math.inf,
        commit_s: float = COMMIT_S,
        tempo_bpm: float = 0.0,
    ) -> None:
        self.commit_s = commit_s
        self._envelope = envelope
        self._bars: deque[PlannedBar] = deque()
        self._committed_end_s = start_s
        self._committed_tempo_bpm = tempo_bpm
        self._committed_rest = False
        self._opens = False
        self.n_replanned = 0

    @property
    def end_s(self) -> float:
        """Up to when the music is planned."""
        return self._bars[-1].end_s if self._bars else self._committed_end_s

    @property
    def committed_end_s(self) -> float:
        """Up to when the music is committed; a target set now is heard from there on."""
        return self._committed_end_s

    @property
    def tempo_bpm(self) -> float:
        """Tempo of the last bar committed; 0 for none."""
        return self._committed_tempo_bpm

    def begin_at_the_earliest(self, start_s: float) -> bool:
        """Move the end of the committed music to ``start_s`` when it has passed; whether music had begun."""
        if self._bars or self._committed_end_s >= start_s:
            return False
        had_begun = math.isfinite(self._committed_end_s)
        self._committed_end_s = start_s
        return had_begun

    def cut_rest(self, end_s: float) -> None:
        """A committed rest that nothing follows yet ends at ``end_s``, if that is sooner.

        The bar that comes then opens with the beat of its first note.
        """
        if self._committed_rest and not self._bars:
            self._committed_end_s = min(self._committed_end_s, end_s)
            self._opens = True

    def add(self, bar: Bar, target: Target) -> PlannedBar:
        """Append a composed bar at the end of the plan."""
        previous = self._bars[-1].tempo_bpm if self._bars else self._committed_tempo_bpm
        tempo = bound_tempo(self._envelope, bar.tempo_bpm, previous)
        n_empty = int(min((note.onset_beats for note in bar.notes), default=0.0)) if self._opens else 0
        self._opens = False
        planned = PlannedBar(bar, target, self.end_s - n_empty * 60.0 / tempo, tempo)
        self._bars.append(planned)
        return planned

    def commit(self, now_s: float) -> PlannedBar | None:
        """Take the next bar out of the plan if it is time; None otherwise."""
        if not self._bars or self._bars[0].start_s > now_s + self.commit_s:
            return None
        planned = self._bars.popleft()
        self._committed_end_s = planned.end_s
        self._committed_tempo_bpm = planned.tempo_bpm
        self._committed_rest = planned.bar.rung == REST
        return planned

    def take_back(self, target: Target, resting: bool) -> int | None:
        """Drop the open bars if ``target`` (or a rest) needs others; the number of the first dropped."""
        if not any(
            differs(p.target, target) or is_foreign(p.bar, target) or (p.bar.rung == REST) != resting
            for p in self._bars
        ):
            return None
        number = self._bars[0].bar.number
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
