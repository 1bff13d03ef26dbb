"""What a person is told when something goes wrong."""

import re

from firmware_py.board.map import Board, memory_board
from firmware_py.board.telemetry import new_counters
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.processes.watch import LONGEST_PAUSE_S, WatchStage


class Rig:
    def __init__(self) -> None:
        self.board: Board = memory_board()
        self.clock = VirtualClock()
        self.told: list[tuple[float, str]] = []
        self.counters = new_counters("audio")
        self.watch = WatchStage(self.board.ends("control"), ListJournal(), self.hear, self.clock)

    def hear(self, text: str) -> None:
        self.told.append((self.clock.time_s, text))

    def run(self, seconds: float, late_blocks_per_s: int = 0) -> None:
        for _ in range(round(seconds)):
            self.clock.time_s += 1.0
            self.counters["n_late_blocks"] += late_blocks_per_s
            self.board.cells["telemetry_audio"].write(self.counters)
            self.watch.step()

    def n_told(self) -> int:
        return sum(int(n) for _, text in self.told for n in re.findall(r"n_late_blocks \+(\d+)", text))


def test_a_fault_is_told_of_within_a_second() -> None:
    rig = Rig()
    rig.run(5.0)
    rig.run(1.0, late_blocks_per_s=3)
    assert rig.told == [(6.0, "audio: n_late_blocks +3")]


def test_a_fault_that_goes_on_is_no_flood_and_nothing_is_left_out() -> None:
    rig = Rig()
    rig.run(600.0, late_blocks_per_s=2)
    rig.watch.close()
    assert len(rig.told) < 20
    assert max(b - a for (a, _), (b, _) in zip(rig.told, rig.told[1:], strict=False)) <= LONGEST_PAUSE_S
    assert rig.n_told() == 1_200


def test_after_a_quiet_time_a_fault_is_told_of_at_once_again() -> None:
    rig = Rig()
    rig.run(600.0, late_blocks_per_s=2)
    rig.run(2 * LONGEST_PAUSE_S)
    rig.run(1.0, late_blocks_per_s=2)
    assert rig.told[-1] == (rig.clock.time_s, "audio: n_late_blocks +2")
