"""Part of ``control``: reads every telemetry cell, logs the step times, speaks when something went wrong."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from firmware_py.board.map import Ends
from firmware_py.board.telemetry import COUNTERS, FAULTS, TIMES_DTYPE, new_counters, summary_ms
from firmware_py.ports import Clock, Journal

# Chosen by hand: how often counters are looked at, and the shortest pause between two lines of one fault.
LOOK_EVERY_S: Final = 1.0
LOG_EVERY_S: Final = 10.0
LONGEST_PAUSE_S: Final = 60.0
"""A fault that goes on is told of after twice as long each time, up to this: no flood in the journal.
Chosen by hand."""
TIMES: Final = (*(f"times_{process}" for process in COUNTERS), "send_error")


class WatchStage:
    """One ``step()`` looks once per second, whatever the pace of its loop."""

    def __init__(self, ends: Ends, journal: Journal, warn: Callable[[str], None], clock: Clock) -> None:
        self._ends = ends
        self._journal = journal
        self._warn = warn
        self._clock = clock
        self._counters = {process: new_counters(process) for process in COUNTERS}
        self._seen = {process: new_counters(process) for process in COUNTERS}
        self._times = np.zeros((), TIMES_DTYPE)
        self._look_s = self._log_s = clock.now_s()
        self._pause_s = dict.fromkeys(FAULTS, LOOK_EVERY_S)
        self._silent_until_s = dict.fromkeys(FAULTS, -math.inf)

    def step(self) -> None:
        """Look at the counters; now and then log the times."""
        now_s = self._clock.now_s()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_EVERY_S
            self._tell_faults(now_s)
        if now_s >= self._log_s + LOG_EVERY_S:
            self._log_s = now_s
            self._log_times(now_s)

    def close(self) -> None:
        """Report the remaining faults, and log the times once more."""
        self._tell_faults(math.inf)
        self._log_times(self._clock.now_s())

    def _tell_faults(self, now_s: float) -> None:
        for process, names in FAULTS.items():
            if now_s < self._silent_until_s[process]:
                continue
            counters, seen = self._counters[process], self._seen[process]
            self._ends.cell_to_read(f"telemetry_{process}").read(counters)
            # A process that was started again counts from 0.
            risen = [
                f"{name} +{int(counters[name]) - int(seen[name])}"
                for name in names
                if counters[name] > seen[name]
            ]
            if risen:
                self._warn(f"{process}: {', '.join(risen)}")
                self._silent_until_s[process] = now_s + self._pause_s[process]
            pause_s = 2.0 * self._pause_s[process] if risen else LOOK_EVERY_S
            self._pause_s[process] = min(pause_s, LONGEST_PAUSE_S)
            seen[...] = counters

    def _log_times(self, now_s: float) -> None:
        for name in TIMES:
            if self._ends.cell_to_read(name).read(self._times):
                self._journal.record(
                    {"kind": "times", "time_s": round(now_s, 3), "of": name, **summary_ms(self._times)}
                )
