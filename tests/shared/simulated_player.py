"""Somebody who plays busily as long as one likes, hop group by hop group, and a box on a virtual clock."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.ports import Journal
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.control import ControlStage
from firmware_py.processes.midi import MidiStage
from firmware_py.processes.panic import PanicStage
from firmware_py.processes.sessions import SessionStage
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, N_CHORDS
from kelly_edge.emotion.programme import Programme, built_in
from kelly_edge.harmony.chords import MAJOR, MINOR, chord_of, classes_of
from kelly_edge.music.sampling import ComposerNetwork

BEAT_S = 0.55
LOOP = tuple(chord_of(*c) for c in ((0, MAJOR), (9, MINOR), (5, MAJOR), (7, MAJOR)))
JITTER_S = 0.004


class Player:
    """HEARD_DTYPE records; every number of them moves in each, as those of a real player do."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self.is_playing = True

    def group(self, number: int) -> NDArray[Any]:
        """What is heard of group ``number``, counted from 0."""
        heard, rng = np.zeros((), HEARD_DTYPE), self._rng
        time_s = (number + 1) * GROUP_S
        heard["group"], heard["time_s"] = number, time_s + rng.uniform(0.0, JITTER_S)
        heard["tonic"] = heard["mode"] = -1
        heard["level_db"] = rng.normal(-80.0, 3.0)
        heard["presence"] = rng.uniform(0.0, 0.01)
        heard["posterior"] = 0.25
        heard["n_beats"] = 4
        if not self.is_playing:
            return heard
        slow = time_s / 60.0
        heard["valence"] = 0.6 * np.sin(slow) + rng.normal(0.0, 0.05)
        heard["arousal"] = 0.6 * np.cos(1.3 * slow) + rng.normal(0.0, 0.05)
        heard["posterior"] = rng.dirichlet([2.0] * 4)
        heard["confidence"], heard["presence"] = rng.uniform(0.6, 1.0), rng.uniform(0.9, 1.0)
        # Another key every three minutes.
        heard["tonic"], heard["mode"] = (7 * int(time_s // 180.0)) % 12, 1
        beats = time_s / BEAT_S
        chord = LOOP[int(beats / 4.0) % len(LOOP)]
        chord = (chord + 2 * int(heard["tonic"])) % N_CHORDS
        heard["chord"], heard["chord_confidence"] = chord, 0.8
        belief = rng.dirichlet([0.3] * (N_CHORDS + 1)) * 0.3
        belief[chord] += 0.7
        heard["chord_belief"] = belief
        chroma = rng.dirichlet([0.5] * 12) * 0.3
        chroma[[p for p in range(12) if classes_of(chord) >> p & 1]] += 0.23
        heard["chroma"] = chroma
        heard["tempo_bpm"] = 60.0 / BEAT_S + rng.normal(0.0, 0.5)
        heard["density_hz"], heard["highest"] = rng.uniform(3.0, 7.0), rng.uniform(66.0, 78.0)
        heard["level_db"] = rng.normal(-25.0, 4.0)
        heard["beat_s"], heard["beat_phase"] = BEAT_S * rng.normal(1.0, 0.002), beats % 1.0
        heard["beat_confidence"], heard["bar_phase"] = rng.uniform(0.8, 1.0), beats / 4.0 % 1.0
        return heard


class Box:
    """Composer, midi and control, as the box has them.

    Parameters
    ----------
    network: of the composer.
    programmes: as the knob counts them; without, the built-in ones.

    Attributes
    ----------
    sessions: begins and ends them, where a test gives one.
    """

    def __init__(
        self,
        settings: Settings,
        network: Callable[[VirtualClock], ComposerNetwork],
        journal: Journal,
        programmes: Sequence[Programme] = (),
    ) -> None:
        self.programmes = tuple(programmes) or built_in(settings.emotion)
        self.sessions: SessionStage | None = None
        self.settings, self.journal = settings, journal
        self.board, self.clock, self.out = memory_board(), VirtualClock(), RecordingMidi()
        self._network = network
        self.player = Player()
        self.start_control()
        self.panic = PanicStage(self.board.ends("guardian"), self.clock)
        self.midi = MidiStage(self.board.ends("midi"), self.out, self.clock)
        self.n_groups = self.n_before = 0
        self.is_deaf = False
        self.start_composer()

    def start_control(self) -> None:
        """A new one, as after the death of the one before."""
        names = [programme.name for programme in self.programmes]
        self.control = ControlStage(self.board.ends("control"), self.settings, self.journal, programmes=names)

    def start_composer(self) -> None:
        """A new one, as after the death of the one before."""
        generator = new_generator(self.settings, self._network(self.clock))
        self.composer = ComposerStage(
            self.board.ends("composer"), self.settings, generator, self.clock, programmes=self.programmes
        )

    def run(self, seconds: float) -> None:
        """Play on."""
        for _ in range(round(seconds / GROUP_S)):
            self.clock.time_s = max(self.clock.time_s, (self.n_groups + 1) * GROUP_S)
            heard = self.player.group(self.n_groups)
            heard["group"] = self.n_groups - self.n_before
            self.n_groups += 1
            if not self.is_deaf:
                self.board.rings["heard"].write(heard)
                self.board.cells["heard"].write(heard)
            for stage in (self.panic, self.composer, self.midi, self.sessions, self.control):
                if stage is not None:
                    stage.step()
            if self.n_groups % 100 == 0:
                # Kept for no test, and an hour has many.
                self.out.messages.clear()

    def close(self) -> None:
        """The session is over."""
        self.control.close()
