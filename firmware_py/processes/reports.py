"""Part of ``control``: reports what every process counted, each outlet at its own pace.

The real-time processes only count; all work that may wait for a disk or a daemon happens here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import CELLS, Ends
from firmware_py.board.telemetry import COUNTERS, TIMES_DTYPE, Report, as_dict, new_counters
from firmware_py.ports import Clock, Outlet

TIMES = tuple(name for name, spec in CELLS.items() if spec.dtype == TIMES_DTYPE)


@dataclass
class Due:
    """An outlet, how often it wants a report, and when the next one is due (seconds of the stream)."""

    outlet: Outlet
    every_s: float
    next_s: float = 0.0


class ReportStage:
    """One ``step()`` reports to the outlets that are due.

    Parameters
    ----------
    outlets: each with its pace in seconds.
    """

    def __init__(self, ends: Ends, clock: Clock, outlets: Sequence[tuple[Outlet, float]]) -> None:
        self._ends = ends
        self._clock = clock
        now_s = clock.now_s()
        self._outlets = [Due(outlet, every_s, now_s + every_s) for outlet, every_s in outlets]
        self._counters = {process: new_counters(process) for process in COUNTERS}

    @property
    def n_lost(self) -> int:
        """Reports that reached nobody."""
        return sum(due.outlet.n_lost for due in self._outlets)

    def step(self) -> None:
        """Report where it is time to."""
        now_s = self._clock.now_s()
        late = [due for due in self._outlets if now_s >= due.next_s]
        if late:
            report = self.report(now_s)
            for due in late:
                due.next_s = now_s + due.every_s
                due.outlet.publish(report)

    def close(self) -> None:
        """Report to everybody that the box stops."""
        report = self.report(self._clock.now_s(), is_up=False)
        for due in self._outlets:
            due.outlet.publish(report)

    def report(self, now_s: float, is_up: bool = True) -> Report:
        """What every process counted so far."""
        counters = {}
        for process, record in self._counters.items():
            if self._ends.cell_to_read(f"telemetry_{process}").read(record):
                counters[process] = as_dict(record)
        times: dict[str, NDArray[np.void]] = {}
        for name in TIMES:
            record = np.zeros((), TIMES_DTYPE)
            if self._ends.cell_to_read(name).read(record):
                times[name] = record
        return Report(now_s, counters, times, is_up)
