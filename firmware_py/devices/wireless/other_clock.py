"""The other end's clock: how far it is from ours."""

from collections import deque
from typing import Final

from firmware_py.devices.wireless.packets import TICKS_PER_S, WRAP

N_SYNCS: Final = 16
"""Exchanges of clocks of which the quickest counts. Chosen: in a quarter of a minute clocks part by 1 ms."""
LONGEST_TRIP_S: Final = 2.0
"""An answer that took longer says nothing of the clock. Chosen by hand."""
FARTHEST_S: Final = 1.0
"""A time farther from now than this is no time of a message. Chosen by hand."""


def ticks_of(time_s: float) -> int:
    """A time as packets tell it, before it is wrapped."""
    return round(time_s * TICKS_PER_S)


def wrapped(ticks: float) -> float:
    """A difference of two times of 32 bits, the nearest one."""
    return (ticks + WRAP / 2) % WRAP - WRAP / 2


class OtherClock:
    """How far the other end's clock is from ours, in ticks: from the quickest of the last exchanges."""

    def __init__(self) -> None:
        self._trips: deque[tuple[float, float]] = deque(maxlen=N_SYNCS)

    def learn(self, trip: float, offset: float) -> None:
        """An exchange took ``trip`` ticks there and back, and found ``offset``."""
        if 0 <= trip <= LONGEST_TRIP_S * TICKS_PER_S:
            self._trips.append((trip, offset))

    def local_s(self, ticks: int, now_s: float) -> float:
        """When a packet of ``ticks`` was sent, by our clock; ``now_s`` where that is not known."""
        if not self._trips:
            return now_s
        _, offset = min(self._trips)
        ago_s = wrapped(ticks_of(now_s) + offset - ticks) / TICKS_PER_S
        return now_s - ago_s if abs(ago_s) < FARTHEST_S else now_s
