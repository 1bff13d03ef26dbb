"""What the composer attends to: of each hop group as much as the session log holds, and no more.

The composer composes from the rounded record, not from the exact one. So the log holds its whole input, and a
replay reads the very numbers that it read. Half precision is finer than what is heard is certain.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import ATTENDED_DTYPE
from kelly_edge.music.presence import SILENT_DB

NOBODY: Final = 0.02
"""Presence below which nothing but the level is attended to: what is heard in noise never stands still, and
an empty room would fill the log. Chosen by hand: far below any playing."""
TIME_STEPS_PER_S: Final = 1 << 20
"""How finely the time of a hop group is attended to, about a microsecond. Chosen: a power of two, so that the
other bits are zeros and cost the log nothing."""
NAMES: Final = ATTENDED_DTYPE.names or ()


def attend_time(time_s: float) -> float:
    """The time of a hop group, in seconds of the stream, as finely as it is attended to."""
    return round(time_s * TIME_STEPS_PER_S) / TIME_STEPS_PER_S


def attend(heard: Any, attended: NDArray[Any]) -> None:
    """Round a record of ``HEARD_DTYPE`` into ``attended``, a 0-d ATTENDED_DTYPE array."""
    # As rounded, so that what is read from a log is attended to alike.
    if float(np.float16(heard["presence"])) < NOBODY:
        attended.fill(0)
        attended["tonic"] = attended["mode"] = -1
        attended["n_beats"] = heard["n_beats"]
    else:
        for name in NAMES:
            attended[name] = heard[name]
    # A level below is silence, however low.
    attended["level_db"] = max(float(heard["level_db"]), SILENT_DB)


def recall(attended: Any, heard: NDArray[Any]) -> None:
    """Put ``attended`` into ``heard``, a 0-d HEARD_DTYPE array; its other fields stay as they are."""
    for name in NAMES:
        heard[name] = attended[name]
