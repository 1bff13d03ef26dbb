"""The contents of a session log that are drawn and told: columns of numbers, and events."""

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.session.reader import SessionFiles, SessionReader
from firmware_py.report.happenings import Happenings
from kelly_edge.contract import N_PITCH_CLASSES, RUNGS

EMOTION_COLUMNS: Final = (
    "time_s", "valence", "arousal", "target valence", "target arousal", "presence", "tempo_bpm", "density_hz",
    "level_db", "tonic", "mode",
)  # fmt: skip
NOTE_COLUMNS: Final = ("onset_s", "duration_s", "pitch", "velocity", "rung")
SOUND_COLUMNS: Final = ("time_s", "level_db", "register", *(f"chroma {n}" for n in range(N_PITCH_CLASSES)))
PLAN_COLUMNS: Final = ("time_s", "tonic", "mode", "tempo_bpm", "leads")
LONGEST_S: Final = 1e9
"""Thirty years: no time in a session is later. Chosen for that reason."""
FASTEST_BPM, DENSEST_HZ, LOUDEST_DB, MOST_PERCENT = 1e4, 1e4, 400.0, 110.0
"""Limits beyond which an entry is damaged. Chosen far beyond anything that is played."""
_HEARD: Final = {
    "presence": 1.0,
    "tempo_bpm": FASTEST_BPM,
    "density_hz": DENSEST_HZ,
    "level_db": LOUDEST_DB,
    "tonic": 11.0,
    "mode": 1.0,
}
"""Further numbers of an emotion entry beside valence and arousal, each with its largest absolute value."""
DAMAGE: Final = (KeyError, TypeError, ValueError, OverflowError)
"""Exceptions that reading a damaged entry raises."""


@dataclass
class Course:
    """The columns named above, row by row and flat, and the events.

    Numbers only, so that a log at its bound of hundreds of megabytes fits into memory.
    """

    emotions: "array[float]" = field(default_factory=lambda: array("d"))
    notes: "array[float]" = field(default_factory=lambda: array("d"))
    sounds: "array[float]" = field(default_factory=lambda: array("d"))
    plans: "array[float]" = field(default_factory=lambda: array("d"))
    happenings: Happenings = field(default_factory=Happenings)
    end_s: float = 0.0

    def add(self, entry: dict[str, Any]) -> None:
        """Take an entry; other kinds only move the end.

        Raises
        ------
        KeyError, TypeError, ValueError, OverflowError: the entry is damaged; nothing of it was taken.
        """
        kind = entry["kind"]
        if kind == "emotion":
            target = entry["target"]
            row = [entry["time_s"], *(source[name] for source in (entry, target) for name in _MOOD)]
            numbers = _numbers(row, (LONGEST_S, 1.0, 1.0, 1.0, 1.0))
            self.emotions.extend(numbers + _optional(entry, _HEARD))
        elif kind == "note":
            rung = RUNGS.index(entry["rung"]) if entry.get("rung") in RUNGS else 0
            row = [*(entry[name] for name in NOTE_COLUMNS[:-1]), rung]
            numbers = _numbers(row, (LONGEST_S, LONGEST_S, 127.0, 127.0, math.inf))
            self.notes.extend(numbers)
            self.end_s = max(self.end_s, numbers[0] + numbers[1])
            return
        elif kind == "sound":
            row = [entry["time_s"], entry["level_db"], entry["register"], *entry["chroma"]]
            largest = (LONGEST_S, LOUDEST_DB, LOUDEST_DB, *(MOST_PERCENT,) * N_PITCH_CLASSES)
            numbers = _numbers(row, largest)
            self.sounds.extend(numbers)
        elif kind == "plan":
            row = [entry[name] for name in PLAN_COLUMNS]
            numbers = _numbers(row, (LONGEST_S, 11.0, 1.0, FASTEST_BPM, 1.0))
            self.plans.extend(numbers)
        else:
            numbers = _numbers([entry["time_s"]], (LONGEST_S,)) if "time_s" in entry else [0.0]
            self.happenings.add(entry, numbers[0])
        self.end_s = max(self.end_s, numbers[0])

    def rows(self, name: str) -> NDArray[np.float64]:
        """The columns of ``name`` (emotions, notes, sounds, plans): [n, columns] in order of time."""
        columns = {
            "emotions": EMOTION_COLUMNS,
            "notes": NOTE_COLUMNS,
            "sounds": SOUND_COLUMNS,
            "plans": PLAN_COLUMNS,
        }
        rows: NDArray[np.float64] = np.array(getattr(self, name)).reshape(-1, len(columns[name]))
        return rows[np.argsort(rows[:, 0], kind="stable")]


_MOOD: Final = ("valence", "arousal")


def _numbers(values: list[Any], largest: tuple[float, ...]) -> list[float]:
    numbers = [float(value) for value in values]
    if not all(abs(number) <= bound for number, bound in zip(numbers, largest, strict=True)):
        raise ValueError("out of its range")
    return numbers


def _optional(entry: Mapping[str, Any], largest: Mapping[str, float]) -> list[float]:
    """Numbers that older logs do not hold; not a number where they are missing."""
    known = {name: bound for name, bound in largest.items() if name in entry}
    numbers = dict(zip(known, _numbers([entry[name] for name in known], (*known.values(),)), strict=True))
    return [numbers.get(name, math.nan) for name in largest]


def read_course(files: SessionFiles) -> tuple[Course, SessionReader]:
    """The contents of a session's parts, and the reader, which knows of their damage.

    Raises
    ------
    SessionError: see ``SessionReader``.
    """
    course, reader = Course(), SessionReader(files)
    for number, entry in enumerate(reader, 1):
        try:
            course.add(entry)
        except DAMAGE:
            reader.damaged(f"entry {number}, of kind {entry['kind'][:20]!r}")
    return course, reader


def remark_on(course: Course, reader: SessionReader, files: SessionFiles) -> str:
    """A remark on the session read, for the reader of the report; empty: none."""
    if reader.n_damaged:
        place = f"first {reader.first_damaged}"
        return f"{reader.n_damaged} entries of {files.parts[0]} are damaged and left out, {place}"
    return "" if course.end_s > 0.0 else f"nothing was heard or played in {files.parts[0]} yet"
