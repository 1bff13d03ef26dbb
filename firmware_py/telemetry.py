"""Counters: what each process counts, in one table; a process writes its record into its telemetry cell.

Real-time code only counts; ``control`` reads the cells and speaks.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("n_periods", "n_capture_xruns", "n_playback_xruns", "n_late_blocks", "n_discarded_blocks"),
    "dsp": ("n_hops", "n_emotion_steps", "n_blocks_dropped"),
    "composer": (
        "n_bars",
        "n_full",
        "n_short_context",
        "n_continuation",
        "n_rest",
        "n_silent_bars",
        "n_late_bars",
        "n_replanned",
        "n_notes",
        "n_bound_register",
        "n_bound_velocity",
        "n_refused_density",
        "n_refused_polyphony",
        "n_notes_dropped",
    ),
    "midi": ("n_note_ons", "n_note_offs", "n_late", "n_stale", "n_panics"),
}
"""Process → names of its counters. Counters only rise while a process lives."""

TELEMETRY_DTYPES: Final = {
    process: np.dtype([(name, "<i8") for name in names]) for process, names in COUNTERS.items()
}


def new_counters(process: str) -> NDArray[Any]:
    """The zeroed counters of ``process``: a 0-d record array."""
    return np.zeros((), TELEMETRY_DTYPES[process])


def as_dict(counters: NDArray[Any]) -> dict[str, int]:
    """Counters as plain numbers, for the session log."""
    return {name: int(counters[name]) for name in counters.dtype.names or ()}
