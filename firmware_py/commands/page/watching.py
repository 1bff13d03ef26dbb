"""What the page shows, read from the box's cells as ``monitor`` reads them, and from the log that is written.

Nothing is read while nobody watches, and once for all who do.
"""

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from firmware_py.board.telemetry import FAULTS
from firmware_py.commands.monitor import STEPS_WITHIN_S
from firmware_py.commands.monitor.reading import Reader, lives, open_cells
from firmware_py.commands.page.wires import Wires
from firmware_py.devices.files.programmes import open_programmes
from firmware_py.devices.session.reader import entry_of
from firmware_py.report.played_mood import WINDOW_S, mood_of_notes
from kelly_edge.errors import KellyError

MOOD: Final = ("valence", "arousal")
HEARD: Final = (*MOOD, "confidence", "presence", "level_db", "tempo_bpm")
PRIVATE: Final = ("name", "note", "log")
"""Of a session: told only to a browser that typed the PIN."""
A_STEP_S: Final = 0.1
"""Chosen: the slowest process of the box steps within it."""
MOST_READ: Final = 1 << 20
"""Bytes of the log that are read at a time. Chosen: a log grows by a few kilobytes between two looks."""
NOTE: Final = ("onset_s", "duration_s", "pitch", "velocity")


class PlayedNotes:
    """The mood of the notes that the box played in the last seconds, from the end of its session log."""

    def __init__(self) -> None:
        self._path = ""
        self._place = 0
        self._rest = b""
        self._notes: deque[tuple[float, ...]] = deque()

    def mood(self, log: str, now_s: float) -> dict[str, float] | None:
        """Valence and arousal, or nothing where the box hardly plays or no log is written.

        Parameters
        ----------
        log: the part that is written. now_s: of the stream.
        """
        self._follow(log)
        while self._notes and not now_s - WINDOW_S <= self._notes[0][0] <= now_s + WINDOW_S:
            self._notes.popleft()
        since = sorted(note for note in self._notes if now_s - WINDOW_S <= note[0] <= now_s)
        if not since:
            return None
        notes = np.array(since)
        notes[:, 0] -= now_s - WINDOW_S
        n = round(WINDOW_S)
        # The window around the middle is the whole of it.
        mood = mood_of_notes(notes, n, 1.0)[n // 2]
        return _rounded(dict(zip(MOOD, mood.tolist(), strict=True))) if np.isfinite(mood).all() else None

    def _follow(self, log: str) -> None:
        if log != self._path:
            # What was written before somebody watched is past, but for its end.
            self._path, self._rest, self._place = log, b"", -1
            self._notes.clear()
        if not log:
            return
        with contextlib.suppress(OSError):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(log, flags), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                if not 0 <= size - self._place <= MOST_READ or self._place < 0:
                    self._place, self._rest = max(0, size - MOST_READ), b""
                file.seek(self._place)
                data = file.read(MOST_READ)
                self._place += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._take(lines)

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            # Most of a log are turns, which are long.
            if line.startswith(b'{"kind":"note"') and (entry := entry_of(line)) is not None:
                with contextlib.suppress(KeyError, TypeError, ValueError):
                    note = tuple(float(entry[name]) for name in NOTE)
                    if all(map(math.isfinite, note)) and 0 <= note[2] <= 127:
                        self._notes.append(note)


class Watcher:
    """Reads the box again and again; opens its cells anew where it has started again.

    Parameters
    ----------
    now_s: monotonic seconds.
    """

    def __init__(self, wires: Wires, now_s: Callable[[], float] = time.monotonic) -> None:
        self._wires = wires
        self._now_s = now_s
        self._programmes = open_programmes(wires.settings)
        self._reader: Reader | None = None
        self._lived_s = -math.inf
        self._played = PlayedNotes()

    def look(self) -> dict[str, Any]:
        """What is so now: a plain dictionary, with what is ``PRIVATE``."""
        now_s = self._now_s()
        reading = self._reading(now_s)
        if reading is None:
            return {"box": "stopped"}
        heard, target, knobs = reading["heard"], reading["target"], reading["knobs"]
        session = reading["session"]
        if heard is None or target is None or knobs is None:
            return {"box": "starting", "knobs": knobs or {}, "session": session}
        played = self._played.mood(str(session.get("log", "")), float(heard["time_s"]))
        seen: dict[str, Any] = _plain(
            {
                "box": "on" if now_s - self._lived_s <= STEPS_WITHIN_S else "stopped",
                "time_s": heard["time_s"],
                "heard": {name: heard[name] for name in HEARD},
                "asked": {name: target[name] for name in (*MOOD, "density", "tempo_bpm")},
                "played": played,
                "knobs": knobs,
                "panic": bool(reading["panic"] and reading["panic"]["is_on"]),
                "session": session,
                "notes": {"struck": reading["notes"]["n_note_ons"], "sounding": reading["notes"]["sounding"]},
                "faults": _faults(reading),
            }
        )
        return seen

    def _reading(self, now_s: float) -> dict[str, Any] | None:
        if self._reader is None or now_s - self._lived_s > STEPS_WITHIN_S:
            # Its files are new when it starts again.
            try:
                self._reader = Reader(open_cells(self._wires.run_dir), programmes=self._programmes)
                self._reader.read(now_s)
                # Who lives takes a step meanwhile.
                time.sleep(A_STEP_S)
            except KellyError:
                self._reader = None
                return None
        reading = self._reader.read(now_s)
        if lives(reading):
            self._lived_s = now_s
        return reading


def public(seen: Mapping[str, Any]) -> dict[str, Any]:
    """The same without what is ``PRIVATE``."""
    session = {name: value for name, value in seen.get("session", {}).items() if name not in PRIVATE}
    return {**seen, "session": session} if "session" in seen else dict(seen)


def _faults(reading: Mapping[str, Any]) -> dict[str, int]:
    """The counters that a person wants to stay at 0, where they are not."""
    counted = reading["processes"]
    rows = ((process, name) for process, names in FAULTS.items() for name in names)
    found = {f"{p} {name.removeprefix('n_')}": counted[p]["counters"].get(name, 0) for p, name in rows}
    return {name: n for name, n in found.items() if n}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """The same as JSON has it: no number that is none."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
