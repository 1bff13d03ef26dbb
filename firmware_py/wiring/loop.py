"""Run stages: all of them in turn on a virtual clock, offline and in tests, or one of them live."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from firmware_py.board.channels import CellWriter
from firmware_py.board.telemetry import Times
from firmware_py.devices.offline import VirtualClock
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ


class Stage(Protocol):
    """A process's work."""

    def step(self) -> None:
        """One turn."""


@dataclass(frozen=True)
class Turn:
    """``stage`` steps once every ``every_samples`` of the stream."""

    stage: Stage
    every_samples: int


def run_offline(
    turns: Sequence[Turn],
    clock: VirtualClock,
    n_samples: int,
    period: int,
    after_hop: Callable[[int], None] | None = None,
) -> None:
    """Step the stages, in the order given, until ``n_samples`` have passed.

    Parameters
    ----------
    after_hop: called with the number of hops done, after the stages of each hop.
    """
    for end in range(period, n_samples + 1, period):
        clock.time_s = end / SAMPLE_RATE_HZ
        for turn in turns:
            if end % turn.every_samples == 0:
                turn.stage.step()
        if after_hop is not None and end % HOP_SIZE == 0:
            after_hop(end // HOP_SIZE)


class Stop:
    """Asked for by a signal; the loop ends after the step it is in."""

    def __init__(self) -> None:
        self.is_asked = False

    def ask(self, *_: object) -> None:
        """A signal handler."""
        self.is_asked = True


PUBLISH_EVERY_S: Final = 0.1
"""How often counters are published. Chosen: the pace of ``control``."""


def _nobody() -> None:
    pass


def _always() -> bool:
    return True


def run_live(
    stage: Stage,
    wait: Callable[[], None],
    deadline_s: float,
    times_cell: CellWriter,
    stop: Stop,
    alive: Callable[[], None] = _nobody,
    is_whole: Callable[[], bool] = _always,
) -> bool:
    """Step ``stage`` whenever ``wait`` comes back, until ``stop``; False where the board was lost before.

    Parameters
    ----------
    wait: comes back when there is work, and now and then without.
    times_cell: gets the histogram of how long steps took, against ``deadline_s``.
    alive: told now and then that the loop turns (the watchdog).
    is_whole: asked now and then whether the board is still the one that the other processes see.
    """
    times, now_s = Times(deadline_s), time.monotonic
    publish_s = now_s()
    while not stop.is_asked:
        wait()
        begin_s = now_s()
        stage.step()
        end_s = now_s()
        times.add(end_s - begin_s)
        if end_s >= publish_s:
            publish_s = end_s + PUBLISH_EVERY_S
            times_cell.write(times.record)
            alive()
            if not is_whole():
                return False
    times_cell.write(times.record)
    return True
