"""MIDI clock at the inputs: from messages to the beat on the board, and from there to the music."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from firmware_py.board.map import CLOCK_DTYPE, memory_board
from firmware_py.ports.midi import CONTINUE, SONG_POSITION, START, STOP, TIMING_CLOCK
from firmware_py.processes.clock_in import ClockInStage
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, VirtualClock
from models.ensemble.practice import accompanied, beat_times, struck

PULSE_S = 60.0 / 100.0 / 24
EVERY_S = 0.1
"""As ``control`` looks."""


class Wire:
    """Messages that come at their times, seen by whoever looks later."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.waiting: list[tuple[float, str, bytes]] = []

    def send(self, time_s: float, *message: int, port: str = "daw") -> None:
        """``message`` comes at ``time_s``."""
        self.waiting.append((time_s, port, bytes(message)))

    def ticks(self) -> Iterator[tuple[str, bytes, float]]:
        """See ``Ticks``."""
        now_s = self.clock.now_s()
        came = sorted(m for m in self.waiting if m[0] <= now_s)
        self.waiting = [m for m in self.waiting if m[0] > now_s]
        for time_s, port, message in came:
            yield port, message, now_s - time_s


class Rig:
    """The stage on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.wire = Wire(self.clock)
        board = memory_board()
        self.stage = ClockInStage(self.wire, board.ends("control").cell_to_write("clock"), self.clock)
        self.cell = board.ends("composer").cell_to_read("clock")

    def beat_at(self, time_s: float) -> np.void | None:
        """What is on the board then."""
        while self.clock.now_s() < time_s:
            self.clock.time_s = min(time_s, self.clock.now_s() + EVERY_S)
            self.stage.step()
        record = np.zeros((), CLOCK_DTYPE)
        assert self.cell.read(record)
        return record[()] if record["is_running"] else None


def off_s(beat: np.void, line_s: float) -> float:
    """How far the bar lines of ``beat`` lie from those that are due."""
    return abs((float(beat["line_s"]) - line_s + 1.2) % 2.4 - 1.2)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def song(wire: Wire, begin_s: float, n: int, port: str = "daw") -> float:
    """``n`` pulses; when the next one is due."""
    for number in range(n):
        wire.send(begin_s + number * PULSE_S, TIMING_CLOCK, port=port)
    return begin_s + n * PULSE_S


def test_a_song_is_a_beat_on_the_board_until_it_stops(rig: Rig) -> None:
    rig.wire.send(0.99, START)
    end_s = song(rig.wire, 1.0, 480)
    beat = rig.beat_at(10.0)
    assert beat is not None
    assert float(beat["beat_s"]) == pytest.approx(0.6)
    assert off_s(beat, 1.0) < 1e-6
    rig.wire.send(end_s, STOP)
    assert rig.beat_at(end_s + 0.2) is None


def test_it_goes_on_from_where_the_song_was_set_to(rig: Rig) -> None:
    rig.wire.send(0.5, SONG_POSITION, 4, 1)
    rig.wire.send(0.6, CONTINUE)
    song(rig.wire, 1.0, 480)
    beat = rig.beat_at(8.0)
    # 132 sixteenths are eight bars and a beat.
    assert beat is not None
    assert off_s(beat, (1.0 - 0.6)) < 1e-6


def test_a_clock_that_falls_silent_leaves_the_board_within_a_second(rig: Rig) -> None:
    rig.wire.send(0.99, START)
    end_s = song(rig.wire, 1.0, 480)
    assert rig.beat_at(end_s) is not None
    assert rig.beat_at(end_s + 0.7) is None


def test_of_two_clocks_the_one_that_runs_first_is_followed_and_then_the_other(rig: Rig) -> None:
    rig.wire.send(0.9, START)
    end_s = song(rig.wire, 1.0, 240)
    rig.wire.send(2.0, START, port="synth")
    for number in range(600):
        rig.wire.send(2.1 + number * 0.02, TIMING_CLOCK, port="synth")
    beat = rig.beat_at(end_s)
    assert beat is not None and float(beat["beat_s"]) == pytest.approx(0.6)
    beat = rig.beat_at(end_s + 1.0)
    assert beat is not None and float(beat["beat_s"]) == pytest.approx(0.48)


@pytest.mark.parametrize("message", [(SONG_POSITION,), (SONG_POSITION, 1), (0xFE,), (0xFF,), (0xF9,)])
def test_other_messages_and_cut_ones_change_nothing(rig: Rig, message: tuple[int, ...]) -> None:
    rig.wire.send(0.99, START)
    song(rig.wire, 1.0, 480)
    rig.wire.send(3.0, *message)
    beat = rig.beat_at(8.0)
    assert beat is not None
    assert off_s(beat, 1.0) < 1e-6


def test_the_music_is_on_the_clock_and_not_on_the_player(settings: Settings, models: Models) -> None:
    """The player's beat is another one: 96 bpm from 0 on."""
    followed = replace(settings, midi=replace(settings.midi, follow_clock=True))
    sound = struck(accompanied(beat_times([96.0] * 32), 4), 20.0)
    offline = Offline(followed, models, sound)
    clock = np.zeros((), CLOCK_DTYPE)
    clock["is_running"], clock["n_beats"], clock["pulse_s"] = True, 4, np.inf
    clock["line_s"], clock["beat_s"] = 0.31, 60.0 / 104.0
    offline.board.ends("control").cell_to_write("clock").write(clock)
    bars_s = offline.run().bars["start_s"]
    bars_s = bars_s[(bars_s > 10.0) & (bars_s < 19.0)]
    off_s = (bars_s - 0.31 + 0.5 * 240.0 / 104.0) % (240.0 / 104.0) - 0.5 * 240.0 / 104.0
    assert len(bars_s) >= 3
    # Notes are struck a little after the beat they are written on, so bars begin before it.
    assert np.abs(off_s).max() < 0.02
