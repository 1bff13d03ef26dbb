"""From the programme, the knobs and what is heard to the target that bars are composed for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from firmware_py.board.channels import CellReader
from firmware_py.processes.composing import Composing
from firmware_py.processes.listening import GOES_ON_S, Listening
from firmware_py.processes.sending import Manner
from firmware_py.settings import Settings
from kelly_edge.contract import KNOBS_DTYPE, PLAYING, Role, SessionState
from kelly_edge.emotion.leading import (
    Wish,
    lead,
    mode_to_play,
    sets_music,
    tempo_to_play,
    turning,
)
from kelly_edge.emotion.programme import LOUDEST_VELOCITY, REST, Programme
from kelly_edge.emotion.steering import first_state, lead_of, phase_of, steer, target_emotion
from kelly_edge.music.fitting import EVERY_CLASS
from kelly_edge.music.following import fold_tempo
from kelly_edge.music.space import DENSITY_STEP
from kelly_edge.music.target import Target
from kelly_edge.units import clamp, velocity_gain


class Aiming:
    """Where the therapy stands: one ``steer`` per hop group, from a ``begin`` on.

    Parameters
    ----------
    programmes: as the knob counts them.

    Attributes
    ----------
    knobs: as ``read_knobs`` found them, a 0-d KNOBS_DTYPE array.
    n_sessions: the knobs' count that was obeyed; None before any.
    """

    def __init__(self, knobs: CellReader, settings: Settings, programmes: Sequence[Programme]) -> None:
        self._knobs_cell = knobs
        self.knobs = np.zeros((), KNOBS_DTYPE)
        self._programmes = programmes
        names = [programme.name for programme in programmes]
        self.knobs["programme"] = names.index(settings.emotion.programme)
        self._settings = settings

    def begin(self, listening: Listening, before: Composing) -> None:
        """Begin anew from ``before``, what the composer before left; the knobs stay."""
        self._listening = listening
        self.steering = before.steering
        self.leading = before.leading
        self.n_sessions = before.n_sessions

    def read_knobs(self) -> None:
        """The knobs as they are now."""
        self._knobs_cell.read(self.knobs)

    def hear(self, heard: Any) -> None:
        """One record of ``HEARD_DTYPE``; an emotion counts as far as it is trusted."""
        trust = float(heard["confidence"]) * float(heard["presence"])
        self.steer(float(heard["valence"]), float(heard["arousal"]), trust)

    def steer(self, valence: float = 0.0, arousal: float = 0.0, trust: float = 0.0) -> None:
        """One hop group of the programme, with the knobs as they are; without trust nothing was heard."""
        composer, limits = self._settings.composer, self._settings.envelope
        programme = self.programme
        n_sessions, session = int(self.knobs["n_sessions"]), int(self.knobs["session"])
        if self.n_sessions is None:
            self.steering = first_state(programme)
        self.n_sessions = n_sessions
        if session == SessionState.ENDED:
            return
        slew, is_on = self._settings.emotion.slew_per_s, session == SessionState.ON
        self.steering = steer(self.steering, programme, slew, valence, arousal, trust, is_on)
        following = self._listening.following
        mode = following.key[1] if composer.key_lock else -1
        tempo = fold_tempo(following.tempo_bpm, limits.tempo_min_bpm, limits.tempo_max_bpm)
        self.leading = lead(self.leading, mode, tempo if composer.follow_tempo else 0.0, self._wish())

    def target(self, ending: int) -> Target:
        """What the next bar shall be like; ``ending`` as in ``Target``."""
        knobs, limits = self.knobs, self._settings.envelope
        valence, arousal = self.emotion
        is_thin = 1.0 - min(1.0, self._listening.presence / PLAYING)
        thinning = round(is_thin / DENSITY_STEP) * DENSITY_STEP if self.role not in GOES_ON_S else 0.0
        if self.makes_room and not self.is_dense:
            thinning -= self._listening.space.density
        wish = self._wish()
        tempo = 0.0 if self.role == Role.LEAD else tempo_to_play(self.leading, wish)
        mode = mode_to_play(self.leading, wish)
        answer, leads = self._listening.answer, sets_music(self.leading, wish)
        if answer is not None and not leads:
            tempo = 60.0 / answer.beat_s
        return Target(
            valence=valence,
            arousal=arousal,
            density=clamp(float(knobs["density"]) - thinning, -1.0, 1.0),
            tonic=self._listening.following.key[0] if self._settings.composer.key_lock else -1,
            mode=mode,
            tempo_bpm=clamp(tempo, limits.tempo_min_bpm, limits.tempo_max_bpm) if tempo else 0.0,
            classes=self._classes(mode),
            leads=leads,
            ending=ending,
            turning=turning(self.leading, wish),
            theme=answer.theme if answer is not None else None,
        )

    def manner(self) -> Manner:
        """How notes leave now."""
        allowed = int(self.knobs["loudest"]) or LOUDEST_VELOCITY
        return Manner(
            self.follows_harmony,
            self.makes_room,
            self.is_dense,
            min(allowed, phase_of(self.steering, self.programme).velocity_max),
            velocity_gain(float(self.knobs["volume_db"])),
            bool(self.knobs["mute"]),
        )

    @property
    def emotion(self) -> tuple[float, float]:
        """Valence and arousal of the music: the steering's and the knobs'."""
        return target_emotion(self.steering, float(self.knobs["valence"]), float(self.knobs["arousal"]))

    @property
    def chosen(self) -> int:
        """Which programme is chosen, as the knob counts them."""
        return min(int(self.knobs["programme"]), len(self._programmes) - 1)

    @property
    def programme(self) -> Programme:
        """The programme that is chosen."""
        return self._programmes[self.chosen]

    @property
    def role(self) -> str:
        """What the box does beside the player now, one of ``contract.Role``."""
        return phase_of(self.steering, self.programme).role or self._settings.composer.role

    @property
    def is_dense(self) -> bool:
        """Whether the music is as dense as its mood asks, however much is played beside it."""
        return self.role in (Role.TOGETHER, Role.ANSWER)

    @property
    def is_to_be_silent(self) -> bool:
        """Whether a hand has ended the session, or the programme rests."""
        phase = phase_of(self.steering, self.programme)
        return int(self.knobs["session"]) == SessionState.ENDED or phase.mode == REST

    @property
    def is_led(self) -> bool:
        """Whether the programme leads; otherwise it follows."""
        return self._wish().lead is not None

    @property
    def follows_harmony(self) -> bool:
        """Whether the chords heard are played; music that leads to the other mode has its own."""
        return self._settings.composer.follow_harmony and not self._leads_away and self.role != Role.LEAD

    @property
    def makes_room(self) -> bool:
        """Whether the music leaves room for what is played: not where it leads, or answers somebody
        silent."""
        takes_all = self.role in (Role.LEAD, Role.ANSWER) or sets_music(self.leading, self._wish())
        return self._settings.composer.make_room and not takes_all

    @property
    def _leads_away(self) -> bool:
        """Whether the music is led out of the mode heard, or turns to the other one."""
        wish = self._wish()
        is_other = mode_to_play(self.leading, wish) != self._listening.following.key[1]
        return is_other or turning(self.leading, wish) != 0.0

    def _wish(self) -> Wish:
        knobs = self.knobs
        return Wish(
            self.steering.valence,
            self.steering.arousal,
            float(knobs["valence"]),
            float(knobs["arousal"]),
            lead_of(self.steering, self.programme),
        )

    def _classes(self, mode: int) -> int:
        """The pitch classes that fit what is played, for music in ``mode``."""
        following, fitting = self._listening.following, self._listening.fitting
        if not self._settings.composer.key_lock:
            return EVERY_CLASS
        if following.tonic < 0:
            return fitting.classes
        # Music that leads to the other mode leaves what is played on purpose.
        stays = mode == following.mode and turning(self.leading, self._wish()) == 0.0
        return fitting.remembered if stays else EVERY_CLASS
