"""Counters and step times: the counters of each process, in one table; a process writes its record into its
cell.

Real-time code only counts; ``control`` reads the cells and speaks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

COUNTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": (
        "n_periods",
        "n_absent_periods",  # passed in silence because the sound card was away
        "n_capture_xruns",
        "n_playback_xruns",
        "n_late_blocks",
        "n_discarded_blocks",
        "n_capture_dropped",
    ),
    "dsp": ("n_hops", "n_emotion_steps", "n_blocks_dropped", "n_heard_dropped"),
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
        "n_bars_dropped",
        "n_turns_dropped",  # of the session log's replay
    ),
    "midi": (
        "n_note_ons",
        "n_note_offs",
        "n_late",
        "n_stale",
        "n_panics",
        "n_composer_stalls",  # the composer stood still or was gone, and the music was muted
        "n_guardian_stalls",  # no guardian to hear of a panic, and the music was muted
        "n_muted",  # notes that fell due in a panic, a stall, or while the knob mutes
        "n_forgotten",  # notes of a composer that another one has replaced
        "n_taken_back",  # notes that waited when the composer gave the turn to somebody else
        "n_played_dropped",
        "n_own_dropped",
        "n_pulses",  # of MIDI clock
        "n_pulses_skipped",
    ),
    "guardian": ("n_silences", "n_released", "n_panics"),
    "control": ("n_entries_lost", "n_reports_lost", "n_controls", "n_refused_controls", "n_keys_dropped"),
}
"""Process → names of its counters. Counters only rise while a process lives."""

FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "audio": ("n_capture_xruns", "n_playback_xruns", "n_late_blocks", "n_capture_dropped"),
    "dsp": ("n_blocks_dropped", "n_heard_dropped"),
    "composer": (
        "n_short_context",
        "n_continuation",
        "n_rest",
        "n_late_bars",
        "n_notes_dropped",
        "n_bars_dropped",
        "n_turns_dropped",  # of the session log's replay
    ),
    "midi": ("n_late", "n_stale", "n_panics", "n_guardian_stalls", "n_played_dropped", "n_own_dropped"),
    "control": ("n_keys_dropped",),
}
"""Counters that a person wants to stay at 0: ``control`` tells when they rise, ``monitor`` shows them."""

ROUTINE_COUNTERS: Final = frozenset(
    ("n_periods", "n_hops", "n_emotion_steps", "n_bars", "n_full", "n_silent_bars", "n_pulses")
)
"""Counters that rise while nobody plays: their rise alone is no news."""

TELEMETRY_DTYPES: Final = {
    process: np.dtype([(name, "<i8") for name in names]) for process, names in COUNTERS.items()
}


def new_counters(process: str) -> NDArray[Any]:
    """The zeroed counters of ``process``: a 0-d record array."""
    return np.zeros((), TELEMETRY_DTYPES[process])


def as_dict(counters: NDArray[Any]) -> dict[str, int]:
    """Counters as plain numbers, for the session log."""
    return {name: int(counters[name]) for name in counters.dtype.names or ()}


@dataclass(frozen=True)
class Report:
    """What every process counted up to ``time_s``: counters by process, TIMES_DTYPE records by cell."""

    time_s: float
    counters: Mapping[str, Mapping[str, int]]
    times: Mapping[str, NDArray[Any]]
    is_up: bool = True


# --- step times ------------------------------------------------------------------------
# Chosen: steps take microseconds to seconds, and a fifth is as exact as a duration needs to be.
SHORTEST_S: Final = 1e-6
BUCKETS_PER_OCTAVE: Final = 4
N_BUCKETS: Final = 96
"""1 µs to 16 s in steps of a quarter octave (19 %). Follows from the range."""
TIMES_DTYPE: Final = np.dtype(
    [
        ("deadline_s", "<f8"),
        ("longest_s", "<f8"),
        ("n_times", "<i8"),
        ("n_missed", "<i8"),  # times longer than the deadline
        ("buckets", "<i8", (N_BUCKETS,)),
    ]
)
"""A histogram of times: the ``times_<process>`` and ``send_error`` cells."""


class Times:
    """Counts how long things took; ``record`` is the 0-d TIMES_DTYPE array of it."""

    def __init__(self, deadline_s: float) -> None:
        self.record = np.zeros((), TIMES_DTYPE)
        self.record["deadline_s"] = deadline_s
        self._deadline_s = deadline_s
        self._longest_s = 0.0
        self._buckets = self.record["buckets"]

    def add(self, time_s: float) -> None:
        """Count one time in seconds; negative ones count as 0."""
        octaves = math.log2(max(time_s, SHORTEST_S) / SHORTEST_S)
        self._buckets[min(N_BUCKETS - 1, int(octaves * BUCKETS_PER_OCTAVE))] += 1
        self.record["n_times"] += 1
        if time_s > self._deadline_s:
            self.record["n_missed"] += 1
        if time_s > self._longest_s:
            self._longest_s = time_s
            self.record["longest_s"] = time_s


def quantile_s(times: NDArray[Any], share: float) -> float:
    """Upper edge of the bucket below which ``share`` (0..1) of the times lie; never above the longest."""
    n_times = int(times["n_times"])
    if n_times == 0:
        return 0.0
    bucket = int(np.searchsorted(np.cumsum(times["buckets"]), share * n_times))
    edge_s: float = SHORTEST_S * 2.0 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)
    return min(edge_s, float(times["longest_s"]))


def summary_ms(times: NDArray[Any]) -> dict[str, float | int]:
    """p50, p99, p99.9 and longest in milliseconds, with counts, for the session log."""
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {
        **{name: round(1e3 * quantile_s(times, share), 4) for name, share in shares.items()},
        "longest_ms": round(1e3 * float(times["longest_s"]), 4),
        "n_times": int(times["n_times"]),
        "n_missed": int(times["n_missed"]),
    }
