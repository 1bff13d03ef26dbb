"""A microphone that is too quiet, or delivers nothing, is told of in a line, and ever more rarely."""

import numpy as np
import pytest

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.quiet_input import LONGEST_PAUSE_S, QUIET_FOR_S, QuietInput
from kelly_edge.contract import HEARD_DTYPE
from kelly_edge.emotion.features import SOUNDING_DB


class Rig:
    def __init__(self) -> None:
        self.board = memory_board()
        self.clock = VirtualClock()
        self.told: list[tuple[float, str]] = []
        self.stage = QuietInput(
            self.board.ends("control"), lambda line: self.told.append((self.clock.time_s, line)), self.clock
        )

    def run(self, seconds: float, level_db: float | None) -> None:
        heard = np.zeros((), HEARD_DTYPE)
        for _ in range(round(seconds)):
            self.clock.time_s += 1.0
            if level_db is not None:
                heard["time_s"], heard["level_db"] = self.clock.time_s, level_db
                self.board.cells["heard"].write(heard)
            self.stage.step()


@pytest.mark.parametrize(
    ("level_db", "said"),
    [(SOUNDING_DB - 0.5, "raise the gain"), (-80.0, "raise the gain"), (-120.0, "digital silence")],
)
def test_a_quiet_input_is_told_of_after_a_minute(level_db: float, said: str) -> None:
    rig = Rig()
    rig.run(QUIET_FOR_S + 1.0, level_db)
    assert [round(time_s) for time_s, _ in rig.told] == [QUIET_FOR_S]
    assert said in rig.told[0][1]


@pytest.mark.parametrize("level_db", [SOUNDING_DB, -10.0, None])
def test_a_loud_input_and_one_not_yet_heard_are_not_told_of(level_db: float | None) -> None:
    rig = Rig()
    rig.run(10 * QUIET_FOR_S, level_db)
    assert not rig.told


def test_an_input_that_stays_quiet_is_no_flood_and_is_never_forgotten() -> None:
    rig = Rig()
    rig.run(12 * 3_600.0, -75.0)
    times = [time_s for time_s, _ in rig.told]
    assert len(times) < 20
    assert max(np.diff([*times, rig.clock.time_s])) <= LONGEST_PAUSE_S


def test_after_music_quiet_is_told_of_within_a_minute_again() -> None:
    rig = Rig()
    rig.run(3_600.0, -75.0)
    rig.run(5.0, -20.0)
    since_s = rig.clock.time_s
    rig.told.clear()
    rig.run(QUIET_FOR_S + 1.0, -75.0)
    assert [round(time_s - since_s) for time_s, _ in rig.told] == [QUIET_FOR_S]
