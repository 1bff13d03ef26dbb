"""``composer``: from what is heard and set to notes, seconds ahead.

Steering gives the target emotion, the generator composes bars for it, the plan puts them on the
time line, the envelope bounds every note, and committed bars go to ``midi`` as notes with absolute
due times. When it is late it steps down the ladder: shorter context, continuation, rest.

It turns once for every hop group heard, in order, at the group's own time. So the music depends on
what was heard and set, not on when the process happened to be awake: live, offline and tests compose the
same notes, as long as the ladder is not needed.
"""

import math
from dataclasses import replace

import numpy as np

from firmware_py.board import ALIVE_DTYPE, BAR_DTYPE, COMPOSING_DTYPE, TARGET_DTYPE, Board
from firmware_py.devices.ports import Clock
from firmware_py.processes.composing import Composing, fill_record, read_composing
from firmware_py.telemetry import new_counters
from kelly_edge.config import Settings
from kelly_edge.contract import (
    EMOTION_RATE_HZ,
    HEARD_DTYPE,
    KNOBS_DTYPE,
    NOTE_DTYPE,
    PROGRAMMES,
    RUNGS,
)
from kelly_edge.emotion.leading import Leading, Wish, lead, mode_to_play, sets_music, tempo_to_play
from kelly_edge.emotion.steering import first_state, lead_of, new_session, steer, target_emotion
from kelly_edge.music.envelope import Envelope
from kelly_edge.music.fitting import EVERY_CLASS, Fitting
from kelly_edge.music.following import Following, fold_tempo, follow
from kelly_edge.music.generator import Generator, Target
from kelly_edge.music.scheduler import COMMIT_S, GroupTime, Plan, PlannedBar
from kelly_edge.units import clamp

FULL, SHORT, CONTINUATION, REST = (
    RUNGS.index(rung) for rung in ("full", "short_context", "continuation", "rest")
)
MARGIN = 1.5
"""A rung is taken when this many times what it cost lately fits into the time left."""
FORGET = 0.85
"""With each bar a cost is believed less, so that a better rung is tried again."""
PRESENCE_S = 1.0
"""Time constant over which silence thins the music."""
SILENT, PLAYING = 0.15, 0.35
"""Smoothed presence below which bars are rests, and above which music begins again."""
DENSITY_STEP = 0.25
"""The thinning moves in steps, so that small changes of presence do not replan the music."""
LATE_CONTINUATION_S = 0.05
BEHIND_S = 0.1
"""A turn for a group heard longer ago than this is taken at the clock's time: it has been late."""
DEAF_S = 0.3
"""With nothing heard for so long (dsp is away) the music goes on by the clock."""


class ComposerStage:
    """One ``step()`` takes a turn for every hop group that waits: follow, replan if the target moved, commit,
    compose at most one bar.

    Parameters
    ----------
    tells_bars: whether somebody reads the ``bars`` ring; MIDI clock does.
    """

    def __init__(
        self,
        board: Board,
        settings: Settings,
        generator: Generator,
        clock: Clock,
        tells_bars: bool = False,
    ) -> None:
        self._heard_ring = board.rings["heard"]
        self._knobs_cell = board.cells["knobs"]
        self._target_cell = board.cells["target"]
        self._telemetry = board.cells["telemetry_composer"]
        self._notes = board.rings["notes"]
        self._bars = board.rings["bars"]
        self._bar = np.zeros((), BAR_DTYPE)
        self._tells_bars = tells_bars or settings.midi.clock
        self._settings = settings
        self._generator = generator
        self._clock = clock
        self._composing_cell = board.cells["composing"]
        self._composing = np.zeros((), COMPOSING_DTYPE)
        before = read_composing(self._composing_cell)
        self._steering = before.steering
        self._following = before.following
        self._leading = before.leading
        self._n_sessions = before.n_sessions
        self._fitting = Fitting()
        self._presence = before.presence
        self._resting = before.is_resting
        self._cost_s = {FULL: 0.0, SHORT: 0.0}
        self._plan = Plan(
            settings.envelope,
            commit_s=COMMIT_S + settings.midi.latency_ms / 1_000.0,
            tempo_bpm=before.played_tempo_bpm,
        )
        self._envelope = Envelope(settings.envelope)
        self._heard = np.zeros((), HEARD_DTYPE)
        self._group_time = GroupTime()
        self._turned_s = math.inf
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._knobs["programme"] = PROGRAMMES.index(settings.emotion.programme)
        self._note = np.zeros((), NOTE_DTYPE)
        self._target_record = np.zeros((), TARGET_DTYPE)
        self._alive_cell = board.cells["alive"]
        self._alive = np.zeros((), ALIVE_DTYPE)
        self._alive["born_s"] = clock.now_s()
        self.counters = new_counters("composer")
        self.beat()

    def beat(self) -> None:
        """A sign of life, for ``midi``: whoever works long within a step gives one now and then."""
        self._alive["time_s"] = self._clock.now_s()
        self._alive_cell.write(self._alive)

    def step(self) -> None:
        """Take the hop groups that wait; without any for long, take a turn by the clock."""
        self.beat()
        heard = self._heard
        while self._heard_ring.read(heard):
            self._knobs_cell.read(self._knobs)
            self._listen()
            group_s = self._group_time.date(int(heard["group"]), float(heard["time_s"]))
            now_s = self._clock.now_s()
            self._turn(group_s if abs(now_s - group_s) < BEHIND_S else now_s)
        if self._clock.now_s() > self._turned_s + DEAF_S:
            self._knobs_cell.read(self._knobs)
            # A programme or a hand is obeyed by the clock too.
            self._steer(0.0, 0.0, 0.0)
            self._turn(self._clock.now_s())

    def _turn(self, now_s: float) -> None:
        """Keep the music planned up to ``now_s`` plus the look-ahead."""
        self.beat()
        self._turned_s = now_s
        target = self._target()
        self._publish(target, now_s)
        reopened = self._plan.take_back(target, self._resting)
        if reopened is not None:
            self._generator.rewind(reopened)
            if not (self._resting or self._settings.midi.clock):
                # Who begins to play is answered at once; a sequencer on our clock keeps its beat.
                self._plan.cut_rest(now_s + self._plan.commit_s)
        while (planned := self._plan.commit(now_s)) is not None:
            self._send(planned)
        # After a rest taken back the music begins as soon as it can: that is not late.
        if self._plan.begin_at_the_earliest(now_s + self._plan.commit_s) and reopened is None:
            self.counters["n_late_bars"] += 1
        if self._plan.end_s < now_s + self._settings.composer.look_ahead_s + self._plan.commit_s:
            self._compose(target, now_s)
        self.counters["n_replanned"] = self._plan.n_replanned
        self._telemetry.write(self.counters)
        self._keep()

    def _keep(self) -> None:
        """Leave on the board what the next composer goes on from."""
        now = Composing(
            self._steering,
            self._following,
            self._leading,
            self._presence,
            self._resting,
            self._n_sessions,
            self._plan.tempo_bpm,
        )
        fill_record(self._composing, now)
        self._composing_cell.write(self._composing)

    def _listen(self) -> None:
        heard = self._heard
        presence = float(heard["presence"])
        self._presence += (presence - self._presence) / (PRESENCE_S * EMOTION_RATE_HZ)
        # Who begins to play is answered soon; who stops is given time.
        self._presence = max(presence, self._presence)
        silent = self._presence < (PLAYING if self._resting else SILENT)
        if silent:
            # Whoever plays next may play something else.
            self._fitting.forget()
            self._following = self._following.without_key()
        else:
            self._fitting.hear(heard["chroma"], presence)
        self._resting = silent or not self._fitting.is_open
        if presence > PLAYING:
            self._following = follow(
                self._following, int(heard["tonic"]), int(heard["mode"]), float(heard["tempo_bpm"])
            )
        trust = float(heard["confidence"]) * presence
        self._steer(float(heard["valence"]), float(heard["arousal"]), trust)

    def _steer(self, valence: float, arousal: float, trust: float) -> None:
        """One hop group of the programme, with the knobs as they are."""
        composer, limits = self._settings.composer, self._settings.envelope
        programme = PROGRAMMES[int(self._knobs["programme"])]
        n_sessions = int(self._knobs["n_sessions"])
        if self._n_sessions is None:
            self._steering = first_state(self._settings.emotion, programme)
        elif self._n_sessions != n_sessions:
            self._steering = new_session(self._steering)
            self._following, self._leading = Following(), Leading()
            self._fitting.forget()
        self._n_sessions = n_sessions
        self._steering = steer(self._steering, self._settings.emotion, programme, valence, arousal, trust)
        following = self._following
        mode = following.key[1] if composer.key_lock else -1
        tempo = fold_tempo(following.tempo_bpm, limits.tempo_min_bpm, limits.tempo_max_bpm)
        self._leading = lead(self._leading, mode, tempo if composer.follow_tempo else 0.0, self._wish())

    def _wish(self) -> Wish:
        knobs, emotion = self._knobs, self._settings.emotion
        return Wish(
            self._steering.valence,
            self._steering.arousal,
            float(knobs["valence"]),
            float(knobs["arousal"]),
            lead_of(self._steering, emotion, PROGRAMMES[int(knobs["programme"])]),
        )

    def _target(self) -> Target:
        knobs, limits = self._knobs, self._settings.envelope
        valence, arousal = target_emotion(self._steering, float(knobs["valence"]), float(knobs["arousal"]))
        thinning = round((1.0 - min(1.0, self._presence / PLAYING)) / DENSITY_STEP) * DENSITY_STEP
        wish = self._wish()
        tempo = tempo_to_play(self._leading, wish)
        mode = mode_to_play(self._leading, wish)
        return Target(
            valence=valence,
            arousal=arousal,
            density=clamp(float(knobs["density"]) - thinning, -1.0, 1.0),
            tonic=self._following.key[0] if self._settings.composer.key_lock else -1,
            mode=mode,
            tempo_bpm=clamp(tempo, limits.tempo_min_bpm, limits.tempo_max_bpm) if tempo else 0.0,
            classes=self._classes(mode),
            leads=sets_music(self._leading, wish),
        )

    def _classes(self, mode: int) -> int:
        """The pitch classes that fit what is played, for music in ``mode``."""
        if not self._settings.composer.key_lock:
            return EVERY_CLASS
        if self._following.tonic < 0:
            return self._fitting.classes
        # Music that leads to the other mode leaves what is played on purpose.
        return self._fitting.remembered if mode == self._following.mode else EVERY_CLASS

    def _publish(self, target: Target, now_s: float) -> None:
        record = self._target_record
        record["time_s"] = now_s
        for name in ("valence", "arousal", "density", "tonic", "mode", "tempo_bpm"):
            record[name] = getattr(target, name)
        record["played_tempo_bpm"] = self._plan.tempo_bpm
        record["leads"] = self._wish().lead is not None
        self._target_cell.write(record)

    def _rung(self, margin_s: float) -> int:
        """The best rung whose work fits into ``margin_s``, judged by what it cost lately."""
        if margin_s < LATE_CONTINUATION_S:
            return REST
        for rung, cost_s in self._cost_s.items():
            if margin_s >= MARGIN * cost_s:
                return rung
        return CONTINUATION

    def _compose(self, target: Target, now_s: float) -> None:
        begin_s = self._clock.now_s()
        rung = REST if self._resting else self._rung(self._plan.end_s - max(begin_s, now_s))
        bar = self._generator.compose_bar(target, rung)
        if self._resting:
            # Silence is counted in beats, so that the music begins soon after somebody plays.
            bar = replace(bar, n_beats=1)
        for known in self._cost_s:
            self._cost_s[known] *= FORGET
        if rung in self._cost_s:
            self._cost_s[rung] = max(self._clock.now_s() - begin_s, self._cost_s[rung])
        self._plan.add(bar, target)
        self.counters["n_bars"] += 1
        self.counters["n_silent_bars" if self._resting else f"n_{RUNGS[bar.rung]}"] += 1

    def _tell_bar(self, planned: PlannedBar) -> None:
        bar = self._bar
        bar["start_s"], bar["beat_s"] = planned.start_s, 60.0 / planned.tempo_bpm
        bar["n_beats"], bar["number"] = planned.bar.n_beats, planned.bar.number
        bar["tonic"], bar["mode"] = planned.bar.tonic, planned.bar.mode
        self.counters["n_bars_dropped"] += not self._bars.write(bar)

    def _send(self, planned: PlannedBar) -> None:
        if self._tells_bars:
            self._tell_bar(planned)
        note, channel = self._note, self._settings.composer.channel
        compensation_s = self._settings.midi.latency_ms / 1_000.0
        for wanted in planned.notes():
            admitted = self._envelope.admit(wanted)
            if admitted is None:
                continue
            note["onset_s"] = admitted.onset_s
            note["due_s"] = admitted.onset_s - compensation_s
            note["duration_s"] = admitted.duration_s
            note["pitch"] = admitted.pitch
            note["velocity"] = admitted.velocity
            note["channel"] = channel
            note["rung"] = planned.bar.rung
            note["bar"] = planned.bar.number
            self.counters["n_notes" if self._notes.write(note) else "n_notes_dropped"] += 1
        counts = self._envelope.counts
        self.counters["n_bound_register"] = counts.register
        self.counters["n_bound_velocity"] = counts.velocity
        self.counters["n_refused_density"] = counts.density
        self.counters["n_refused_polyphony"] = counts.polyphony
