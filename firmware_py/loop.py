"""Run stages: all of them in turn on a virtual clock, as the offline and test wirings do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
