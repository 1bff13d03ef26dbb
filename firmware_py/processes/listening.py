"""What the composer knows of the person it listens to: whether they play, in which key, chords and beat."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from firmware_py.board.channels import CellReader
from firmware_py.board.map import CLOCK_DTYPE
from firmware_py.settings import Settings
from kelly_edge.contract import EMOTION_RATE_HZ, GROUP_S, PLAYING, Role
from kelly_edge.music.accompanying import Accompanying
from kelly_edge.music.answering import Answering
from kelly_edge.music.fitting import Fitting
from kelly_edge.music.following import Following, follow
from kelly_edge.music.motif import Answer, MelodyHeard, plan_answer
from kelly_edge.music.players_beat import (
    BELIEVED,
    HOLD_S,
    NEAR_TEMPO,
    OCTAVE_STAYS_S,
    PlayersBeat,
    players_beat,
)
from kelly_edge.music.presence import Silence
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.scheduler import COMMIT_S
from kelly_edge.music.sounding import mean_delay_s
from kelly_edge.music.space import Space
from kelly_edge.music.target import Target

PRESENCE_S: Final = 1.0
"""Time constant over which silence thins the music. Chosen by hand."""
SILENT: Final = 0.15
"""Smoothed presence below which bars are rests. Chosen well below ``PLAYING``, so that soft playing does not
flap."""
BEAT_WAIT_S: Final = 1.5
"""How long the music waits for a beat to begin on, from when it knows what to play. Chosen: about the time a
tracker takes (docs/decisions/0021)."""

# Chosen: the longest answer, and a long breath of somebody who is led.
GOES_ON_S: Final[Mapping[str, float]] = {Role.ANSWER: 20.0, Role.LEAD: 30.0}
"""How long the music goes on in a silence, in roles that play through pauses."""
CLOCK_LOST_S: Final = 0.7
"""Without a pulse of MIDI clock for this long the beat is the player's again. Chosen by hand: the slowest
clock, of 20 bpm, has a pulse every 0.125 s."""


class Listening:
    """Streaming: one ``hear`` per hop group.

    Parameters
    ----------
    clock: the ``clock`` cell: MIDI clock heard.

    Attributes
    ----------
    presence: how much somebody plays, 0..1; rises at once and falls slowly.
    is_resting: whether nothing is to be played: nobody plays, or it is not known yet what fits.
    following: the key and tempo adopted.
    silence: how long nothing has been played. answering: whose turn it is, in that role.
    answer: what is played while the turn is the box's, as it was planned; None where it is free.
    fitting, accompanying, space: the pitch classes, chords and room that what is played leaves.
    clock: MIDI clock as ``read_clock`` found it, a 0-d CLOCK_DTYPE array; zeros where it is not followed.
    """

    def __init__(
        self,
        settings: Settings,
        clock: CellReader,
        following: Following,
        presence: float,
        is_resting: bool,
    ) -> None:
        self._settings = settings
        self.following = following
        self.presence = presence
        self.is_resting = is_resting
        self.silence = Silence()
        self.answering = Answering()
        self.answer: Answer | None = None
        self._melody = MelodyHeard()
        self._role: str = Role.ACCOMPANY
        self.fitting = Fitting()
        self.accompanying = Accompanying()
        self.space = Space()
        self._beat: PlayersBeat | None = None
        self._clock_cell = clock
        self.clock = np.zeros((), CLOCK_DTYPE)
        self._is_clocked = False
        self._octave_s = 0.0
        # Notes written on the beat are struck a little after it.
        self._unevenness_s = mean_delay_s(SamplingSettings().unevenness)
        self._waited_s = 0.0

    def read_clock(self) -> None:
        """The beat of MIDI clock or of Link, as it is now."""
        if self._settings.midi.follows and not self._clock_cell.read(self.clock):
            self.clock.fill(0)

    def hear(
        self,
        heard: Any,
        now_s: float,
        played_tempo_bpm: float,
        role: str = Role.ACCOMPANY,
        arousal: float = 0.0,
    ) -> None:
        """One record of ``HEARD_DTYPE``, of the hop group that ends at ``now_s``.

        ``played_tempo_bpm``: tempo of the music played to it; 0 for none. ``arousal``: that of the music.
        """
        self._role = role
        self.silence.hear(float(heard["level_db"]), now_s)
        presence = float(heard["presence"])
        self.presence += (presence - self.presence) / (PRESENCE_S * EMOTION_RATE_HZ)
        # React quickly when someone begins to play, and slowly when they stop.
        self.presence = max(presence, self.presence)
        silent = self.presence < (PLAYING if self.is_resting else SILENT) or self.silence.is_end
        goes_on = silent and self.fitting.is_open and now_s - self.silence.since_s < GOES_ON_S.get(role, 0.0)
        silent = silent and not goes_on
        if silent:
            # The next player may play something else.
            self.fitting.forget()
            self.accompanying.forget()
            self.space.forget()
            self.following = self.following.without_key()
        elif not goes_on:
            self.fitting.hear(heard["chroma"], presence)
            self.accompanying.hear(heard, now_s)
            self.space.hear(heard, arousal)
        self._hear_beat(heard, now_s, played_tempo_bpm)
        self._take_turns(heard, now_s)
        knows_notes = not silent and self.fitting.is_open
        self._waited_s = self._waited_s + GROUP_S if knows_notes and self.is_resting else 0.0
        waits = self.is_resting and self._beat is None and self._waited_s < BEAT_WAIT_S
        waits = waits and self._settings.composer.follow_tempo and role in (Role.ACCOMPANY, Role.TOGETHER)
        listens = role == Role.ANSWER and not self.answering.is_on
        self.is_resting = not knows_notes or waits or listens
        if presence > PLAYING:
            tempo_bpm = self._beat.tempo_bpm if self._beat is not None else float(heard["tempo_bpm"])
            self.following = follow(self.following, int(heard["tonic"]), int(heard["mode"]), tempo_bpm)

    @property
    def finish_s(self) -> float:
        """Time by which the music has ended, as the role asks; infinity where nothing asks it to."""
        if self._role == Role.ANSWER:
            return self.answering.until_s
        return math.inf if self._role == Role.LEAD and not self.is_resting else self.silence.finish_s

    def _take_turns(self, heard: Any, now_s: float) -> None:
        """Whose turn it is, in the role that asks; what shall be answered when it becomes the box's."""
        self._melody.hear(heard, now_s)
        answering, was_on = self.answering, self.answering.is_on
        if self._role != Role.ANSWER:
            if was_on:
                self.answering = Answering()
            self.answer = None
            return
        beat_s = self._beat.beat_s if self._beat else 0.0
        answering.hear(float(heard["level_db"]), beat_s, now_s, self._melody.last)
        if not answering.is_on:
            self.answer = None
        elif not was_on and self._settings.composer.follow_tempo and not self._settings.midi.clock:
            # A line is committed in the first turn in which it is near enough: it must still be found then.
            soonest_s = now_s + COMMIT_S + self._settings.midi.latency_ms / 1_000.0 - 1.5 * GROUP_S
            notes = self._melody.since(answering.begin_s)
            self.answer = plan_answer(notes, self._beat, soonest_s, answering.length_s)
            if self.answer is not None:
                answering.until_s = self.answer.begin_s + answering.length_s

    def beat_to_follow(self, target: Target, now_s: float) -> PlayersBeat | None:
        """The player's beat where the music is on it: not where it leads to another tempo."""
        beat = self._beat if self.answer is None else self.answer.beat(now_s)
        if beat is not None and self._is_clocked:
            return beat
        follows = self._settings.composer.follow_tempo and self._role != Role.LEAD
        if beat is None or not follows or now_s > beat.heard_s + HOLD_S:
            return None
        if target.leads and abs(target.tempo_bpm / beat.tempo_bpm - 1.0) > NEAR_TEMPO:
            return None
        return beat

    def _hear_beat(self, heard: Any, now_s: float, played_tempo_bpm: float) -> None:
        """The player's beat: as heard now, as last believed, or none."""
        self._is_clocked = self._hears_clock(now_s)
        if self._is_clocked:
            line_s, beat_s, n_beats = (self.clock[name].item() for name in ("line_s", "beat_s", "n_beats"))
            played_bpm = 0.0 if self.is_resting else played_tempo_bpm
            beat = self._players_beat(line_s, 0.0, beat_s, n_beats, played_bpm)
            self._beat = replace(beat, heard_s=now_s)
        elif float(heard["beat_s"]) > 0.0 and float(heard["beat_confidence"]) >= BELIEVED:
            phase, beat_s, n_beats = (heard[name].item() for name in ("bar_phase", "beat_s", "n_beats"))
            played_bpm = 0.0 if self.is_resting else played_tempo_bpm
            felt = self._players_beat(now_s, phase, beat_s, n_beats, 0.0)
            is_octave = felt.is_octave_of(played_bpm) and not self._settings.midi.clock
            self._octave_s = self._octave_s + GROUP_S if is_octave else 0.0
            if self._octave_s > OCTAVE_STAYS_S:
                self._beat = felt
            else:
                self._beat = self._players_beat(now_s, phase, beat_s, n_beats, played_bpm)
        elif self._beat is not None and now_s > self._beat.heard_s + HOLD_S:
            self._beat = None

    def _players_beat(
        self, time_s: float, bar_phase: float, beat_s: float, n_beats: int, played_bpm: float
    ) -> PlayersBeat:
        limits = self._settings.envelope
        return players_beat(
            time_s - self._unevenness_s,
            bar_phase,
            beat_s,
            n_beats,
            played_bpm,
            (limits.tempo_min_bpm, limits.tempo_max_bpm),
        )

    def _hears_clock(self, now_s: float) -> bool:
        """Whether MIDI clock says where the beats are."""
        return bool(self.clock["is_running"]) and now_s - float(self.clock["pulse_s"]) < CLOCK_LOST_S
