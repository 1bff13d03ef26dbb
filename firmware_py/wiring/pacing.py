"""What each process waits for between two steps."""

import select
import time
from collections.abc import Callable

from firmware_py.board.pipes import PipeRing


def nothing() -> None:
    """For a process with nothing to close."""


def wait_for(ring: object, longest_s: float) -> Callable[[], None]:
    """Until a record waits in ``ring`` (a ``PipeRing``), or ``longest_s``."""
    assert isinstance(ring, PipeRing)
    fds = [ring.fileno()]

    def wait() -> None:
        select.select(fds, (), (), longest_s)

    return wait


def every(period_s: float) -> Callable[[], None]:
    """On a grid of ``period_s``; after a step that took longer the missed turns are skipped."""
    next_s = time.monotonic()

    def wait() -> None:
        nonlocal next_s
        now_s = time.monotonic()
        next_s = max(next_s + period_s, now_s)
        time.sleep(next_s - now_s)

    return wait
