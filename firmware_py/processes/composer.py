"""``composer``: from what is heard and set to notes, seconds ahead.

What is heard (``listening``), the programme and the knobs give a target (``aiming``), the generator composes
bars for it, the plan puts them on the time line, and committed bars go to ``midi`` as notes with absolute
due times, a beat at a time, on the player's beat, each bounded by the envelope (``sending``). When it is late
it steps down the ``ladder``: shorter context, continuation, rest.

It turns once for every hop group heard, in order, at the group's own time. So the music depends on
what was heard and set, not on when the process happened to be awake: live, offline and tests compose the
same notes, as long as the ladder is not needed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from firmware_py.board.map import ALIVE_DTYPE, BAR_DTYPE, COMPOSING_DTYPE, TARGET_DTYPE, Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.ports import Clock
from firmware_py.processes.aiming import Aiming
from firmware_py.processes.composing import Composing, fill_record, read_composing
from firmware_py.processes.farewell import ENDING_BARS, Farewell
from firmware_py.processes.ladder import Ladder
from firmware_py.processes.listening import Listening
from firmware_py.processes.sending import Sending
from firmware_py.processes.turns import Turns
from firmware_py.settings import Settings
from kelly_edge.contract import ATTENDED_DTYPE, GROUP_S, HEARD_DTYPE, RUNGS, Role, Rung
from kelly_edge.emotion.programme import Programme, built_in
from kelly_edge.emotion.steering import left_s, new_session
from kelly_edge.music.attention import attend, attend_time, recall
from kelly_edge.music.compound_word import N_BEATS
from kelly_edge.music.generator import Generator
from kelly_edge.music.manner import USUAL_TEMPO_BPM
from kelly_edge.music.players_beat import PlayersBeat
from kelly_edge.music.scheduler import COMMIT_S, CommittedBeat, GroupTime, Plan
from kelly_edge.music.target import Target

BEHIND_S: Final = 0.1
"""A turn for a group heard longer ago than this is taken at the clock's time: it has been late. Chosen: more
than a hop group (docs/decisions/0007)."""
LONGEST_ENTRY_S: Final = 1.0
"""A bar line farther ahead is not waited for: any beat will do. Chosen so that the music begins within four
seconds in each of 24 keys (``tests/processes/test_opening.py``; docs/decisions/0021)."""
LONGEST_STEP_S: Final = 1.0
"""After this long no further hop group is begun in a step. Chosen: a tenth of what its watchdog waits."""
DEAF_S: Final = 0.3
"""After this time with nothing heard (dsp is away) the music goes on by the clock. Chosen: three or four hop
groups (docs/decisions/0007)."""


class ComposerStage:
    """One ``step()`` takes a turn for every hop group that waits: follow, replan if the target moved, commit,
    compose at most one bar.

    Parameters
    ----------
    tells_bars: whether somebody reads the ``bars`` ring; MIDI clock does.
    programmes: those of the settings, as the knob counts them; without, the built-in ones.

    Attributes
    ----------
    ends_s: when the music shall have come to its end, in seconds of the stream.
    choose_rung: the ladder: the rung for a bar that must be composed within some seconds.
    """

    def __init__(
        self,
        ends: Ends,
        settings: Settings,
        generator: Generator,
        clock: Clock,
        tells_bars: bool = False,
        programmes: Sequence[Programme] = (),
    ) -> None:
        self._ends = ends
        self._heard_ring = ends.ring_to_read("heard")
        self._heard = np.zeros((), HEARD_DTYPE)
        self._attended = np.zeros((), ATTENDED_DTYPE)
        self._target_cell = ends.cell_to_write("target")
        self._target_record = np.zeros((), TARGET_DTYPE)
        self._telemetry = ends.cell_to_write("telemetry_composer")
        self._bars = ends.ring_to_write("bars")
        self._bar = np.zeros((), BAR_DTYPE)
        self._tells_bars = tells_bars or settings.midi.clock
        self._settings = settings
        self._generator = generator
        self._clock = clock
        self._composing_cell = ends.cell_to_write("composing")
        self._composing = np.zeros((), COMPOSING_DTYPE)
        self._ladder = Ladder()
        self.choose_rung: Callable[[float], int] = self._ladder.rung
        self._turns = Turns(ends)
        self._turned_s = math.inf
        self._alive_cell = ends.cell_to_write("alive")
        self._alive = np.zeros((), ALIVE_DTYPE)
        self._alive["born_s"] = clock.now_s()
        self.ends_s = math.inf
        self.counters = new_counters("composer")
        chosen_from = tuple(programmes) or built_in(settings.emotion)
        self._aiming = Aiming(ends.cell_to_read("knobs"), settings, chosen_from)
        self.begin(read_composing(ends.cell_to_read("composing")))
        self.beat()

    def begin(self, before: Composing, start_s: float = -math.inf) -> None:
        """Begin anew from ``before``, with a bar at ``start_s``: what was earlier matters no more.

        So a session can be replayed from its own log, whenever it began.
        """
        settings = self._settings
        self._turns.begin(before, start_s)
        self._n_replanned = int(self.counters["n_replanned"])
        self._generator.begin()
        clock = self._ends.cell_to_read("clock")
        self._listening = Listening(settings, clock, before.following, before.presence, before.is_resting)
        self._aiming.begin(self._listening, before)
        self._sending = Sending(
            self._ends.ring_to_write("notes"), settings, self._listening, self.counters, self._turns.add_note
        )
        self._farewell = Farewell()
        self._plan = Plan(
            settings.envelope,
            start_s,
            commit_s=COMMIT_S + settings.midi.latency_ms / 1_000.0,
            tempo_bpm=before.played_tempo_bpm,
            keeps_tempo=settings.midi.clock,
        )
        self._entry_s = -math.inf
        self._group_time = GroupTime()

    def _begin_session(self) -> None:
        """Where the knobs' count of sessions says so: with what was committed played, everything anew."""
        aiming, n_sessions = self._aiming, int(self._aiming.knobs["n_sessions"])
        if aiming.n_sessions in (None, n_sessions):
            return
        self._sending.send(math.inf, aiming.manner())
        before = Composing(
            new_session(aiming.steering),
            presence=self._listening.presence,
            n_sessions=n_sessions,
            played_tempo_bpm=self._plan.tempo_bpm,
        )
        self.begin(before, self._plan.committed_end_s)

    def beat(self) -> None:
        """A sign of life, for ``midi``; to be given now and then during long work within a step."""
        self._alive["time_s"] = self._clock.now_s()
        self._alive_cell.write(self._alive)

    def step(self) -> None:
        """Take the hop groups that wait; without any for long, take a turn by the clock.

        One that is behind ends its step all the same, or its watchdog would take it for dead.
        """
        self.beat()
        heard, attended, end_s = self._heard, self._attended, self._clock.now_s() + LONGEST_STEP_S
        while self._clock.now_s() <= end_s and self._heard_ring.read(heard):
            attend(heard, attended)
            recall(attended, heard)
            self._aiming.read_knobs()
            self._begin_session()
            self._listening.read_clock()
            group, time_s = int(heard["group"]), attend_time(float(heard["time_s"]))
            self._turns.open(group, time_s, attended, self._aiming.knobs, self._listening.clock)
            group_s = self._group_time.date(group, time_s)
            aiming = self._aiming
            self._listening.hear(heard, group_s, self._plan.tempo_bpm, aiming.role, aiming.emotion[1])
            self._aiming.hear(heard)
            now_s = self._clock.now_s()
            self._turn(group_s if abs(now_s - group_s) < BEHIND_S else now_s)
        if self._clock.now_s() > self._turned_s + DEAF_S:
            self.turn_by_clock()

    def turn_by_clock(self) -> None:
        """Take a turn in which nothing was heard."""
        self._aiming.read_knobs()
        self._begin_session()
        self._turns.open(0, 0.0, None, self._aiming.knobs)
        # A programme or a hand is obeyed by the clock too.
        self._aiming.steer()
        self._turn(self._clock.now_s())

    def _turn(self, now_s: float) -> None:
        """Keep the music planned up to ``now_s`` plus the look-ahead."""
        self.beat()
        self._turned_s = now_s
        self._turns.time(now_s, self.ends_s)
        listening, plan = self._listening, self._plan
        listening.is_resting = self._farewell.ask(self._aiming.is_to_be_silent, listening.is_resting)
        target = self._aiming.target(self._ending())
        self._publish(target, now_s)
        reopened = plan.take_back(target, listening.is_resting)
        if reopened is not None:
            self._generator.rewind(reopened)
            self._farewell.rewind(reopened)
            if not (listening.is_resting or self._settings.midi.clock):
                # Answer at once when someone begins to play; a sequencer on our clock keeps its beat.
                plan.cut_rest(now_s + plan.commit_s)
        beat = listening.beat_to_follow(target, now_s)
        self._enter(beat, now_s)
        # Notes that begin in a silence end in time should it be the end; only an end cuts the bar.
        plan.finish(listening.finish_s, cuts=listening.is_resting or listening.answering.is_on)
        if self._aiming.role == Role.ANSWER and not listening.answering.is_on:
            self._sending.drop(now_s)
        while (committed := plan.commit(now_s, beat)) is not None:
            self._tell_beat(committed)
            self._farewell.committed(committed)
            self._sending.put(committed)
        self._sending.send(now_s + plan.commit_s, self._aiming.manner())
        # After a rest taken back the music begins as soon as it can: that is not late.
        if plan.begin_at_the_earliest(now_s + plan.commit_s) and reopened is None:
            self.counters["n_late_bars"] += 1
        if plan.end_s < now_s + self._settings.composer.look_ahead_s + plan.commit_s:
            self._compose(target, now_s)
        self.counters["n_replanned"] = self._n_replanned + plan.n_replanned
        self._turns.close(self._generator.draws)
        self._ends.count_drops(self.counters)
        self._telemetry.write(self.counters)
        self._keep()

    def _enter(self, beat: PlayersBeat | None, now_s: float) -> None:
        """Music that is to begin begins on a bar line of the player's, the next when it is known."""
        is_resting, has_begun = self._listening.is_resting, self._plan.has_music_begun
        answer = self._listening.answer
        if answer is not None and not (is_resting or has_begun):
            self._listening.answer = answer.not_before(now_s)
            self._plan.enter(self._listening.answer.line_s)
            return
        if beat is None or is_resting or self._settings.midi.clock or has_begun:
            self._entry_s = -math.inf
            return
        # A line is committed in the first turn in which it is near enough: it must still be found then.
        soonest_s = now_s + self._plan.commit_s - 1.5 * GROUP_S
        if self._entry_s < soonest_s:
            line_s = beat.next_line_s(soonest_s)
            n_too_late = max(0, math.ceil((line_s - soonest_s - LONGEST_ENTRY_S) / beat.beat_s))
            self._entry_s = line_s - n_too_late * beat.beat_s
        # Where the bar is may be doubted again until then; the beat is what counts.
        nearest_s = beat.nearest_s(self._entry_s)
        self._entry_s = nearest_s if nearest_s >= soonest_s else nearest_s + beat.beat_s
        self._plan.enter(self._entry_s)

    def _ending(self) -> int:
        """Bars in which the music must end: one bar more, and it would not end in time."""
        if self._aiming.is_to_be_silent:
            return ENDING_BARS
        if self._sending.n_bars_since_rest < ENDING_BARS:
            return 0
        bar_s = N_BEATS * 60.0 / self._plan.tempo_bpm
        left_s = self.ends_s - self._plan.committed_end_s
        return ENDING_BARS if left_s < (ENDING_BARS + 1) * bar_s else 0

    def _compose(self, target: Target, now_s: float) -> None:
        begin_s, is_resting = self._clock.now_s(), self._listening.is_resting
        rung = Rung.REST if is_resting else self.choose_rung(self._plan.end_s - max(begin_s, now_s))
        self._turns.compose(rung)
        if self._aiming.follows_harmony and not is_resting:
            beat_s = 60.0 / (target.tempo_bpm or self._plan.tempo_bpm or USUAL_TEMPO_BPM)
            chords = self._listening.accompanying.harmonies(self._plan.end_s, beat_s)
            target = replace(target, chords=chords)
        bar = self._generator.compose_bar(target, rung)
        if is_resting:
            # Silence is counted in beats, so that the music begins soon after somebody plays.
            bar = replace(bar, n_beats=1)
        self._ladder.spent(rung, self._clock.now_s() - begin_s)
        self._plan.add(bar, target)
        self._farewell.composed(bar.number)
        self.counters["n_bars"] += 1
        self.counters["n_silent_bars" if is_resting else f"n_{RUNGS[bar.rung]}"] += 1

    def _publish(self, target: Target, now_s: float) -> None:
        record = self._target_record
        record["time_s"] = now_s
        for name in ("valence", "arousal", "density", "tonic", "mode", "tempo_bpm"):
            record[name] = getattr(target, name)
        record["played_tempo_bpm"] = self._plan.tempo_bpm
        record["leads"] = self._aiming.is_led
        record["programme"], record["phase"] = self._aiming.chosen, self._aiming.steering.phase
        record["phase_left_s"], record["programme_left_s"] = left_s(
            self._aiming.steering, self._aiming.programme
        )
        self._target_cell.write(record)

    def _tell_beat(self, beat: CommittedBeat) -> None:
        bar = self._bar
        bar["start_s"], bar["beat_s"] = beat.start_s, beat.beat_s
        bar["n_beats"], bar["number"], bar["beat"] = beat.n_beats, beat.bar.number, beat.index
        bar["tonic"], bar["mode"] = beat.bar.tonic, beat.bar.mode
        if beat.index == 0:
            self._turns.add_bar(bar, beat.bar.rung)
        if self._tells_bars:
            self._bars.write(bar)

    def _keep(self) -> None:
        """Leave on the board what the next composer goes on from."""
        now = Composing(
            self._aiming.steering,
            self._listening.following,
            self._aiming.leading,
            self._listening.presence,
            self._listening.is_resting,
            self._aiming.n_sessions,
            self._plan.tempo_bpm,
        )
        fill_record(self._composing, now)
        self._composing_cell.write(self._composing)
