"""The live clock: seconds since the stream began, the same in every process.

The beginning is a CLOCK_MONOTONIC time in the run directory, put there by the first process that needs it;
wall-clock time is never asked, so setting the clock moves no note.
"""

import os
import struct
import time
from pathlib import Path
from typing import Final

from kelly_edge.errors import OutputError

CLOCK_FILE: Final = "clock"


class StreamClock:
    """A ``Clock`` that began at ``start_s`` of CLOCK_MONOTONIC."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s

    def now_s(self) -> float:
        """See ``Clock``."""
        return time.monotonic() - self._start_s


def shared_clock(run_dir: Path) -> StreamClock:
    """The clock of the processes that meet in ``run_dir``; started now if it was not.

    Raises
    ------
    OutputError: the folder is absent or not ours.
    """
    path, own = run_dir / CLOCK_FILE, run_dir / f"{CLOCK_FILE}.{os.getpid()}"
    try:
        own.write_bytes(struct.pack("<d", time.monotonic()))
        try:
            # A link appears whole or not at all.
            os.link(own, path)
        except FileExistsError:
            pass
        finally:
            own.unlink()
        (start_s,) = struct.unpack("<d", path.read_bytes())
    except (OSError, struct.error) as error:
        raise OutputError(f"cannot share a clock in {run_dir} ({error}); set runtime.run_dir") from None
    return StreamClock(start_s)
