"""``composer``: from what is heard and set to notes, seconds ahead.

Steering gives the target emotion, the generator composes bars for it, the plan puts them on the
time line, the envelope bounds every note, and committed bars go to ``midi`` as notes with absolute
due times, a beat at a time, on the player's beat. When it is late it steps down the ladder: shorter context,
continuation, rest.

It turns once for every hop group heard, in order, at the group's own time. So the music depends on
what was heard and set, not on when the process happened to be awake: live, offline and tests compose the
same notes, as long as the ladder is not needed.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from firmware_py.board.map import ALIVE_DTYPE, BAR_DTYPE, COMPOSING_DTYPE, TARGET_DTYPE, Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.ports import Clock
from firmware_py.processes.composing import Composing, fill_record, read_composing
from firmware_py.processes.turns import Turns
from kelly_edge.config import Settings
from kelly_edge.contract import (
    ATTENDED_DTYPE,
    EMOTION_RATE_HZ,
    GROUP_S,
    HEARD_DTYPE,
    KNOBS_DTYPE,
    NOTE_DTYPE,
    PROGRAMMES,
    RUNGS,
    Rung,
)
from kelly_edge.emotion.leading import Wish, lead, mode_to_play, sets_music, tempo_to_play
from kelly_edge.emotion.steering import first_state, lead_of, new_session, steer, target_emotion
from kelly_edge.latency import unevenness_s
from kelly_edge.music.accompanying import Accompanying
from kelly_edge.music.attention import attend, recall
from kelly_edge.music.compound_word import N_BEATS
from kelly_edge.music.envelope import Envelope, TimedNote
from kelly_edge.music.fitting import EVERY_CLASS, Fitting
from kelly_edge.music.following import fold_tempo, follow
from kelly_edge.music.generator import USUAL_TEMPO_BPM, Generator, SamplingSettings, Target
from kelly_edge.music.players_beat import BELIEVED, HOLD_S, NEAR_TEMPO, PlayersBeat, players_beat
from kelly_edge.music.presence import Silence
from kelly_edge.music.scheduler import COMMIT_S, CommittedBeat, GroupTime, Plan
from kelly_edge.music.space import Space
from kelly_edge.units import clamp

MARGIN = 1.5
"""A rung is taken when this many times its recent cost fits into the time left."""
FORGET = 0.85
"""With each bar a cost is believed less, so that a better rung is tried again."""
PRESENCE_S = 1.0
"""Time constant over which silence thins the music."""
SILENT, PLAYING = 0.15, 0.35
"""Smoothed presence below which bars are rests, and above which music begins again."""
DENSITY_STEP = 0.25
"""The thinning moves in steps, so that small changes of presence do not replan the music."""
ENDING_BARS = 2
LATE_CONTINUATION_S = 0.05
BEHIND_S = 0.1
"""A turn for a group heard longer ago than this is taken at the clock's time: it has been late."""
BEAT_WAIT_S = 1.5
"""How long the music waits for a beat to begin on, from when it knows what to play."""
LONGEST_ENTRY_S = 1.25
"""A bar line farther ahead is not waited for: any beat will do."""
SOFTLY = (0.7, 0.8, 0.9)
"""Velocity of the first bars after a rest, as a share: the music does not burst in."""
DEAF_S = 0.3
"""After this time with nothing heard (dsp is away) the music goes on by the clock."""


BOUND = {
    "n_bound_register": "register",
    "n_bound_velocity": "velocity",
    "n_refused_density": "density",
    "n_refused_polyphony": "polyphony",
}
"""Counters of what the envelope bound, and its own names for them."""


class ComposerStage:
    """One ``step()`` takes a turn for every hop group that waits: follow, replan if the target moved, commit,
    compose at most one bar.

    Parameters
    ----------
    tells_bars: whether somebody reads the ``bars`` ring; MIDI clock does.

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
    ) -> None:
        self._ends = ends
        self._heard_ring = ends.ring_to_read("heard")
        self._knobs_cell = ends.cell_to_read("knobs")
        self._target_cell = ends.cell_to_write("target")
        self._telemetry = ends.cell_to_write("telemetry_composer")
        self._notes = ends.ring_to_write("notes")
        self._bars = ends.ring_to_write("bars")
        self._bar = np.zeros((), BAR_DTYPE)
        self._tells_bars = tells_bars or settings.midi.clock
        self._settings = settings
        self._generator = generator
        self._clock = clock
        self._composing_cell = ends.cell_to_write("composing")
        self._composing = np.zeros((), COMPOSING_DTYPE)
        self._turns = Turns(ends)
        self._heard = np.zeros((), HEARD_DTYPE)
        self._attended = np.zeros((), ATTENDED_DTYPE)
        self._turned_s = math.inf
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._knobs["programme"] = PROGRAMMES.index(settings.emotion.programme)
        self._note = np.zeros((), NOTE_DTYPE)
        self._target_record = np.zeros((), TARGET_DTYPE)
        self._alive_cell = ends.cell_to_write("alive")
        self._alive = np.zeros((), ALIVE_DTYPE)
        self._alive["born_s"] = clock.now_s()
        self._cost_s: dict[int, float] = {Rung.FULL: 0.0, Rung.SHORT_CONTEXT: 0.0}
        # Notes written on the beat are struck a little after it.
        self._unevenness_s = unevenness_s(SamplingSettings().unevenness)
        self.choose_rung: Callable[[float], int] = self._rung
        self.ends_s = math.inf
        self.counters = new_counters("composer")
        self.begin(read_composing(ends.cell_to_read("composing")))
        self.beat()

    def begin(self, before: Composing, start_s: float = -math.inf) -> None:
        """Begin anew from ``before``, with a bar at ``start_s``: what was earlier matters no more.

        So a session can be replayed from its own log, whenever it began.
        """
        settings = self._settings
        self._turns.begin(before, start_s)
        self._n_replanned = int(self.counters["n_replanned"])
        self._bound = {name: int(self.counters[name]) for name in BOUND}
        self._generator.begin()
        self._steering = before.steering
        self._following = before.following
        self._leading = before.leading
        self._n_sessions = before.n_sessions
        self._presence = before.presence
        self._resting = before.is_resting
        self._fitting = Fitting()
        self._accompanying = Accompanying()
        self._space = Space()
        self._waiting: deque[tuple[TimedNote, CommittedBeat]] = deque()
        self._plan = Plan(
            settings.envelope,
            start_s,
            commit_s=COMMIT_S + settings.midi.latency_ms / 1_000.0,
            tempo_bpm=before.played_tempo_bpm,
            keeps_tempo=settings.midi.clock,
        )
        self._beat: PlayersBeat | None = None
        self._silence = Silence()
        self._waited_s = 0.0
        self._entry_s = -math.inf
        self._n_bars_since_rest = 0
        self._envelope = Envelope(settings.envelope)
        self._group_time = GroupTime()

    def _begin_session(self) -> None:
        """Where the knobs' count of sessions says so: with what was committed played, everything anew."""
        n_sessions = int(self._knobs["n_sessions"])
        if self._n_sessions in (None, n_sessions):
            return
        self._send(math.inf)
        before = Composing(
            new_session(self._steering),
            presence=self._presence,
            n_sessions=n_sessions,
            played_tempo_bpm=self._plan.tempo_bpm,
        )
        self.begin(before, self._plan.committed_end_s)

    def beat(self) -> None:
        """A sign of life, for ``midi``; to be given now and then during long work within a step."""
        self._alive["time_s"] = self._clock.now_s()
        self._alive_cell.write(self._alive)

    def step(self) -> None:
        """Take the hop groups that wait; without any for long, take a turn by the clock."""
        self.beat()
        heard, attended = self._heard, self._attended
        while self._heard_ring.read(heard):
            attend(heard, attended)
            recall(attended, heard)
            self._knobs_cell.read(self._knobs)
            self._begin_session()
            group, time_s = int(heard["group"]), float(heard["time_s"])
            self._turns.open(group, time_s, attended, self._knobs)
            group_s = self._group_time.date(group, time_s)
            self._listen(group_s)
            now_s = self._clock.now_s()
            self._turn(group_s if abs(now_s - group_s) < BEHIND_S else now_s)
        if self._clock.now_s() > self._turned_s + DEAF_S:
            self._knobs_cell.read(self._knobs)
            self._begin_session()
            self._turns.open(0, 0.0, None, self._knobs)
            # A programme or a hand is obeyed by the clock too.
            self._steer(0.0, 0.0, 0.0)
            self._turn(self._clock.now_s())

    def _turn(self, now_s: float) -> None:
        """Keep the music planned up to ``now_s`` plus the look-ahead."""
        self.beat()
        self._turned_s = now_s
        self._turns.time(now_s, self.ends_s)
        target = self._target()
        self._publish(target, now_s)
        reopened = self._plan.take_back(target, self._resting)
        if reopened is not None:
            self._generator.rewind(reopened)
            if not (self._resting or self._settings.midi.clock):
                # Answer at once when someone begins to play; a sequencer on our clock keeps its beat.
                self._plan.cut_rest(now_s + self._plan.commit_s)
        beat = self._followed(target, now_s)
        self._enter(beat, now_s)
        # Notes that begin in a silence end in time should it be the end; only an end cuts the bar.
        self._plan.finish(self._silence.finish_s, cuts=self._resting)
        while (committed := self._plan.commit(now_s, beat)) is not None:
            self._put(committed)
        self._send(now_s)
        # After a rest taken back the music begins as soon as it can: that is not late.
        if self._plan.begin_at_the_earliest(now_s + self._plan.commit_s) and reopened is None:
            self.counters["n_late_bars"] += 1
        if self._plan.end_s < now_s + self._settings.composer.look_ahead_s + self._plan.commit_s:
            self._compose(target, now_s)
        self.counters["n_replanned"] = self._n_replanned + self._plan.n_replanned
        self._turns.close(self._generator.draws)
        self._ends.count_drops(self.counters)
        self._telemetry.write(self.counters)
        self._keep()

    def _enter(self, beat: PlayersBeat | None, now_s: float) -> None:
        """Music that is to begin begins on a bar line of the player's, the next when it is known."""
        if beat is None or self._resting or self._settings.midi.clock or self._plan.has_music_begun:
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

    def _listen(self, now_s: float) -> None:
        heard = self._heard
        self._silence.hear(float(heard["level_db"]), now_s)
        presence = float(heard["presence"])
        self._presence += (presence - self._presence) / (PRESENCE_S * EMOTION_RATE_HZ)
        # React quickly when someone begins to play, and slowly when they stop.
        self._presence = max(presence, self._presence)
        silent = self._presence < (PLAYING if self._resting else SILENT) or self._silence.is_end
        if silent:
            # The next player may play something else.
            self._fitting.forget()
            self._accompanying.forget()
            self._space.forget()
            self._following = self._following.without_key()
        else:
            self._fitting.hear(heard["chroma"], presence)
            self._accompanying.hear(heard, now_s)
            self._space.hear(heard)
        self._hear_beat(now_s)
        knows_notes = not silent and self._fitting.is_open
        self._waited_s = self._waited_s + GROUP_S if knows_notes and self._resting else 0.0
        waits = self._resting and self._beat is None and self._waited_s < BEAT_WAIT_S
        self._resting = not knows_notes or (waits and self._settings.composer.follow_tempo)
        if presence > PLAYING:
            tempo_bpm = self._beat.tempo_bpm if self._beat is not None else float(heard["tempo_bpm"])
            self._following = follow(self._following, int(heard["tonic"]), int(heard["mode"]), tempo_bpm)
        trust = float(heard["confidence"]) * presence
        self._steer(float(heard["valence"]), float(heard["arousal"]), trust)

    def _hear_beat(self, now_s: float) -> None:
        """The player's beat: as heard now, as last believed, or none."""
        heard, limits = self._heard, self._settings.envelope
        if float(heard["beat_s"]) > 0.0 and float(heard["beat_confidence"]) >= BELIEVED:
            self._beat = players_beat(
                now_s - self._unevenness_s,
                float(heard["bar_phase"]),
                float(heard["beat_s"]),
                int(heard["n_beats"]),
                0.0 if self._resting else self._plan.tempo_bpm,
                (limits.tempo_min_bpm, limits.tempo_max_bpm),
            )
        elif self._beat is not None and now_s > self._beat.heard_s + HOLD_S:
            self._beat = None

    def _followed(self, target: Target, now_s: float) -> PlayersBeat | None:
        """The player's beat where the music is on it: not where it leads to another tempo."""
        beat = self._beat
        if beat is None or not self._settings.composer.follow_tempo or now_s > beat.heard_s + HOLD_S:
            return None
        if target.leads and abs(target.tempo_bpm / beat.tempo_bpm - 1.0) > NEAR_TEMPO:
            return None
        return beat

    def _steer(self, valence: float, arousal: float, trust: float) -> None:
        """One hop group of the programme, with the knobs as they are."""
        composer, limits = self._settings.composer, self._settings.envelope
        programme = PROGRAMMES[int(self._knobs["programme"])]
        n_sessions = int(self._knobs["n_sessions"])
        if self._n_sessions is None:
            self._steering = first_state(self._settings.emotion, programme)
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
        if self._makes_room():
            thinning -= self._space.density
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
            ending=self._ending(),
        )

    def _ending(self) -> int:
        """Bars in which the music must end: one bar more, and it would not end in time."""
        if self._n_bars_since_rest < ENDING_BARS:
            return 0
        bar_s = N_BEATS * 60.0 / self._plan.tempo_bpm
        left_s = self.ends_s - self._plan.committed_end_s
        return ENDING_BARS if left_s < (ENDING_BARS + 1) * bar_s else 0

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
        """The best rung whose work fits into ``margin_s``, judged by its recent cost."""
        if margin_s < LATE_CONTINUATION_S:
            return Rung.REST
        for rung, cost_s in self._cost_s.items():
            if margin_s >= MARGIN * cost_s:
                return rung
        return Rung.CONTINUATION

    def _compose(self, target: Target, now_s: float) -> None:
        begin_s = self._clock.now_s()
        rung = Rung.REST if self._resting else self.choose_rung(self._plan.end_s - max(begin_s, now_s))
        self._turns.compose(rung)
        if self._follows_harmony() and not self._resting:
            beat_s = 60.0 / (target.tempo_bpm or self._plan.tempo_bpm or USUAL_TEMPO_BPM)
            chords = self._accompanying.harmonies(self._plan.end_s, beat_s)
            target = replace(target, chords=chords)
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

    def _tell_beat(self, beat: CommittedBeat) -> None:
        bar = self._bar
        bar["start_s"], bar["beat_s"] = beat.start_s, beat.beat_s
        bar["n_beats"], bar["number"], bar["beat"] = beat.n_beats, beat.bar.number, beat.index
        bar["tonic"], bar["mode"] = beat.bar.tonic, beat.bar.mode
        if beat.index == 0:
            self._turns.add_bar(bar, beat.bar.rung)
        if self._tells_bars:
            self._bars.write(bar)

    def _follows_harmony(self) -> bool:
        """Whether the chords heard are played; music that leads to the other mode has its own."""
        leads_away = mode_to_play(self._leading, self._wish()) != self._following.key[1]
        return self._settings.composer.follow_harmony and not leads_away

    def _makes_room(self) -> bool:
        """Whether the music leaves room for what is played; music that leads is as its emotion asks."""
        return self._settings.composer.make_room and not sets_music(self._leading, self._wish())

    def _put(self, beat: CommittedBeat) -> None:
        """A beat is committed: its notes wait until they must leave."""
        self._tell_beat(beat)
        if beat.index == 0:
            self._n_bars_since_rest = 0 if beat.bar.rung == Rung.REST else self._n_bars_since_rest + 1
        softness = (*SOFTLY, 1.0)[min(max(self._n_bars_since_rest - 1, 0), len(SOFTLY))]
        for note in beat.notes():
            self._waiting.append((replace(note, velocity=max(1, round(note.velocity * softness))), beat))

    def _send(self, now_s: float) -> None:
        """Notes leave one by one, so that each knows the chord heard last."""
        note, channel = self._note, self._settings.composer.channel
        compensation_s = self._settings.midi.latency_ms / 1_000.0
        follows, makes_room = self._follows_harmony(), self._makes_room()
        while self._waiting and self._waiting[0][0].onset_s <= now_s + self._plan.commit_s:
            wanted, beat = self._waiting.popleft()
            on_beat = beat.is_on_beat(wanted.onset_s)
            if makes_room:
                if not self._space.admits(wanted, on_beat):
                    continue
                wanted = self._space.under(self._space.soften(wanted))
            if follows:
                wanted = self._accompanying.correct(wanted, on_beat)
            if makes_room:
                # A tone of the chord may have been nearer above.
                wanted = self._space.under(wanted)
            admitted = self._envelope.admit(wanted)
            if admitted is None:
                continue
            note["onset_s"] = admitted.onset_s
            note["due_s"] = admitted.onset_s - compensation_s
            note["duration_s"] = admitted.duration_s
            note["pitch"] = admitted.pitch
            note["velocity"] = admitted.velocity
            note["channel"] = channel
            note["rung"] = beat.bar.rung
            note["bar"] = beat.bar.number
            self._turns.add_note(note)
            self.counters["n_notes"] += self._notes.write(note)
        for name, rule in BOUND.items():
            self.counters[name] = self._bound[name] + getattr(self._envelope.counts, rule)
