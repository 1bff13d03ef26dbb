"""The session log's format: one JSON object per line, its first line a header, and the rule for which
entries are news.

A live session is written in parts, ``DATE-TIME-PROCESS-PART.jsonl``. Each part begins with the header and the
last known state (knobs, emotion), so it can be read without the parts before it. ``kelly-edge play`` writes
the same as one file, ``session.jsonl``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from firmware_py.board.telemetry import ROUTINE_COUNTERS
from firmware_py.ports import Journal

SCHEMA: Final = 4
"""Version of the format. 1, without a header, was written before there were versions; 3 added ``sound``, a
second of the player's sound, and ``plan``, what the box plays: both for the report; 4 added what a replay
needs (``composer``, ``turns``, more in the header), bar lines (``bar``) and marks (``marker``). Number of our
own format."""
PART_NAME: Final = re.compile(r"(?P<session>\d{8}-\d{6}-\d+)(?:-(?P<part>\d{4,9}))?\.jsonl")
"""File name of a live session's part; logs of schema 1 have no part number."""
STATE_KINDS: Final = ("knobs", "emotion", "plan")
"""Kinds of entry that hold until the next one of their kind."""
REPEAT_EVERY_S: Final = 600.0
"""An unchanged state is logged again after this time: the log of a box that died is at most this old.
Chosen by hand."""

LEAST_S: Final[Mapping[str, float]] = {"emotion": 0.2}
"""Kinds of entry that are news this often at most, over a few seconds: an hour in which every number moves in
every hop group is bounded too. What is held back is written as soon as it may. Chosen by hand."""
MOST_AT_ONCE: Final = 10.0
"""Entries of such a kind that may follow each other at once. Chosen by hand: two seconds of them."""

SILENT_BELOW: Final = 0.05
"""Presence below which nobody plays. Chosen: below any playing."""


def header(**about: Any) -> dict[str, Any]:
    """The first entry of a session log; ``about`` adds what the writer knows of the session."""
    return {"kind": "session", "schema": SCHEMA, **about}


@dataclass(frozen=True)
class Resolution:
    """Which change of an entry's fields is news.

    Parameters
    ----------
    steps: field → the smallest change of a float that counts. Fields that are not listed use ``step``.
    ignored: fields whose changes never count.
    watched: where not empty, only changes of these fields count.
    ignored_in_silence: fields whose changes do not count while ``presence`` stays near 0: the noise of
        an empty room never stands still.
    """

    steps: Mapping[str, float]
    step: float = 0.0
    ignored: frozenset[str] = frozenset()
    watched: frozenset[str] = frozenset()
    ignored_in_silence: frozenset[str] = frozenset()


# The steps are what a reader of the log, or of the picture drawn from it, can tell apart.
RESOLUTIONS: Final[Mapping[str, Resolution]] = {
    "emotion": Resolution(
        {
            "confidence": 0.05,
            "presence": 0.05,
            "posterior": 0.05,
            "tempo_bpm": 1.0,
            "density_hz": 0.25,
            # The level of one hop group of steady noise varies by about 1 dB.
            "level_db": 3.0,
        },
        step=0.01,
        ignored_in_silence=frozenset(("level_db", "density_hz", "tempo_bpm")),
    ),
    "plan": Resolution({"tempo_bpm": 1.0}),
    "knobs": Resolution({}),
    "counters": Resolution({}, ignored=ROUTINE_COUNTERS),
    "times": Resolution({}, watched=frozenset(("longest_ms", "n_missed"))),
}


class Changes:
    """Tells which entries are news: those that differ from the last one that was."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], dict[str, Any]] = {}
        self._allowed: dict[str, tuple[float, float]] = {}

    def is_news(self, entry: dict[str, Any]) -> bool:
        """Whether to log ``entry``. Entries of other kinds, and those without a time, always are."""
        resolution = RESOLUTIONS.get(entry["kind"])
        if resolution is None:
            return True
        key = (entry["kind"], entry.get("process"), entry.get("of"))
        last = self._last.get(key)
        if (
            last is None
            or "time_s" not in entry
            or "time_s" not in last
            or not 0.0 <= entry["time_s"] - last["time_s"] < REPEAT_EVERY_S
            or _differs(resolution, last, entry)
        ):
            if not self._is_allowed(entry):
                return False
            self._last[key] = entry
            return True
        return False

    def _is_allowed(self, entry: dict[str, Any]) -> bool:
        """Whether an entry that is news is not one too many of its kind."""
        kind, time_s = entry["kind"], entry.get("time_s")
        if kind not in LEAST_S or time_s is None:
            return True
        before: tuple[float, float] = self._allowed.get(kind, (MOST_AT_ONCE, time_s))
        n_left, before_s = before
        n_left = min(MOST_AT_ONCE, n_left + abs(float(time_s) - before_s) / LEAST_S[kind])
        self._allowed[kind] = (max(0.0, n_left - 1.0) if n_left >= 1.0 else n_left, time_s)
        return n_left >= 1.0


class OnlyNews:
    """A ``Journal`` that passes on what is news."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changes = Changes()

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        if self._changes.is_news(entry):
            self._journal.record(entry)


def _differs(resolution: Resolution, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if before.keys() != now.keys():
        return True
    is_silent = all(entry.get("presence", 1.0) < SILENT_BELOW for entry in (before, now))
    ignored = resolution.ignored | resolution.ignored_in_silence if is_silent else resolution.ignored
    for name, value in now.items():
        # Clocks run on while nothing changes.
        if name in ignored or name.endswith("_s"):
            continue
        if isinstance(value, Mapping) and isinstance(before[name], Mapping):
            if _differs(resolution, before[name], value):
                return True
        elif resolution.watched and name not in resolution.watched:
            continue
        elif _value_differs(resolution.steps.get(name, resolution.step), before[name], value):
            return True
    return False


def _value_differs(step: float, before: object, now: object) -> bool:
    if isinstance(before, list) and isinstance(now, list):
        pairs = zip(before, now, strict=False)
        return len(before) != len(now) or any(_value_differs(step, b, n) for b, n in pairs)
    if isinstance(before, float) and isinstance(now, float):
        return before != now and not abs(now - before) < step
    return before != now
