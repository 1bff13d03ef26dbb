"""An Ableton Link session's beat: onto the board, and from the board into a session of our own."""

import numpy as np
import pytest

from firmware_py.board.map import CLOCK_DTYPE, TARGET_DTYPE, memory_board
from firmware_py.devices.files.config_file import load_settings
from firmware_py.processes.link_in import LinkStage
from firmware_py.wiring.offline import VirtualClock
from kelly_edge.errors import ConfigError


class Session:
    """A session whose bar lines lie at multiples of four beats from 0.3 s on."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.bpm = 0.0
        self.proposed: list[float] = []

    def beat(self) -> tuple[float, float] | None:
        """See ``processes.link_in.Session``."""
        if not self.bpm:
            return None
        return ((self.clock.now_s() - 0.3) * self.bpm / 60.0) % 4.0, 60.0 / self.bpm

    def propose(self, bpm: float) -> None:
        """See ``processes.link_in.Session``."""
        self.proposed.append(bpm)


class Rig:
    """The stage on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.session = Session(self.clock)
        self.board = memory_board()
        self.stage = LinkStage(self.session, self.board.ends("control"), self.clock)
        self.target = self.board.ends("composer").cell_to_write("target")

    def step(self, time_s: float) -> np.void:
        """What is on the board after a step at that time."""
        self.clock.time_s = time_s
        self.stage.step()
        record = np.zeros((), CLOCK_DTYPE)
        assert self.board.ends("composer").cell_to_read("clock").read(record)
        return record[()]

    def plays(self, bpm: float) -> None:
        """The composer planned a bar at that tempo."""
        target = np.zeros((), TARGET_DTYPE)
        target["played_tempo_bpm"] = bpm
        self.target.write(target)


@pytest.mark.parametrize("bpm", [20.0, 97.3, 300.0])
def test_the_bar_line_and_the_beat_are_the_sessions(bpm: float) -> None:
    rig = Rig()
    rig.session.bpm = bpm
    bar_s = 240.0 / bpm
    for time_s in (0.3, 0.31, 5.0, 5.0 + 0.9 * bar_s, 3_600.0):
        beat = rig.step(time_s)
        assert beat["is_running"] and beat["n_beats"] == 4 and beat["pulse_s"] == time_s
        assert beat["beat_s"] == pytest.approx(60.0 / bpm)
        off_s = (beat["line_s"] - 0.3 + bar_s / 2) % bar_s - bar_s / 2
        assert off_s == pytest.approx(0.0, abs=1e-6) and 0.0 <= time_s - beat["line_s"] + 1e-6 < bar_s + 1e-5


def test_a_session_that_everybody_left_is_no_beat() -> None:
    rig = Rig()
    rig.session.bpm = 100.0
    assert rig.step(1.0)["is_running"]
    rig.session.bpm = 0.0
    assert not rig.step(1.1)["is_running"]


def test_alone_the_tempo_played_is_offered_and_in_company_none() -> None:
    rig = Rig()
    rig.step(0.1)
    rig.plays(0.0)
    rig.step(0.2)
    assert rig.session.proposed == []
    rig.plays(84.0)
    rig.step(0.3)
    rig.step(0.4)
    rig.plays(84.2)
    rig.step(0.5)
    assert rig.session.proposed == [84.0]
    rig.session.bpm = 120.0
    rig.plays(95.0)
    rig.step(0.6)
    assert rig.session.proposed == [84.0]


def test_one_machine_at_a_time_says_where_the_beats_are() -> None:
    assert load_settings(None, ["midi.follow_link=true"]).midi.follows
    with pytest.raises(ConfigError, match=r"midi\.follow_link: follows Link while midi\.follow_clock"):
        load_settings(None, ["midi.follow_link=true", "midi.follow_clock=true"])
