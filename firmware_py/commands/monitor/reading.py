"""What the box does now, read from its cells: a plain dictionary that prints as JSON.

Cells are mapped files that are only read: no process of the box waits for, or learns of, a monitor.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import CellReader
from firmware_py.board.map import CELLS, PROCESSES
from firmware_py.board.pipes import CellView
from firmware_py.board.telemetry import COUNTERS, TIMES_DTYPE, as_dict, quantile_s, summary_ms
from firmware_py.commands.status import read_session
from firmware_py.devices.machine.health import ROOT, governors, temperature_c, throttled_flags
from kelly_edge.config import EmotionSettings
from kelly_edge.contract import KNOBS_DTYPE, QUADRANTS
from kelly_edge.emotion.programme import Programme, built_in
from kelly_edge.errors import DeviceError

RECENT_S: Final = 10.0
"""Time over which "recent" counts are taken. Chosen: long enough to be read."""
HEARD: Final = (
    "time_s", "valence", "arousal", "confidence", "presence", "level_db", "f0_hz", "f0_confidence",
    "tempo_bpm", "density_hz", "room_drr_db", "room_rt60_s", "room_snr_db", "room_arousal", "place_offset",
    "place_minutes",
)  # fmt: skip
TARGET: Final = ("time_s", "valence", "arousal", "density", "tempo_bpm")
KNOBS: Final = tuple(name for name in KNOBS_DTYPE.names or () if name != "programme")
"""Shown as numbers; the programme by its name."""
DIGITS: Final = 4
"""Of numbers in ``--json``. Chosen: finer than any is exact."""
BUILT_IN: Final = built_in(EmotionSettings())


def open_cells(run_dir: Path) -> Mapping[str, CellReader]:
    """The cells of the box in ``run_dir``, to look at.

    Raises
    ------
    DeviceError: no box is there.
    """
    try:
        return {name: CellView(run_dir / f"{name}.cell", spec.dtype) for name, spec in CELLS.items()}
    except FileNotFoundError:
        raise nothing_runs(run_dir) from None


def nothing_runs(run_dir: Path) -> DeviceError:
    """The one line where there is nothing to look at."""
    return DeviceError(f"nothing runs in {run_dir}; start kelly-edge run, or give its runtime.run_dir")


class Reader:
    """Reads the cells again and again.

    Parameters
    ----------
    cells: of a board, by name.
    root: where ``/sys`` is.
    programmes: of the settings, as the knob counts them.
    """

    def __init__(
        self,
        cells: Mapping[str, CellReader],
        root: Path = ROOT,
        programmes: Sequence[Programme] = BUILT_IN,
    ) -> None:
        self._cells = cells
        self._programmes = programmes
        self._root = root
        self._past: dict[str, deque[tuple[float, NDArray[Any]]]] = {p: deque() for p in PROCESSES}

    def read(self, now_s: float) -> dict[str, Any]:
        """What is so at monotonic ``now_s``. A process lives if it stepped since the last read."""
        counters = {process: self._counters(process) for process in COUNTERS}
        audio, midi = counters["audio"], counters["midi"]
        return {
            "processes": {
                process: {**self._times(process, now_s), "counters": counters.get(process, {})}
                for process in PROCESSES
            },
            "heard": self._heard(),
            "keyboard": self._keyboard(),
            "target": self._values("target", TARGET),
            "knobs": self._knobs(),
            "panic": self._panic(),
            "session": read_session(self._cells, self._programmes),
            "notes": {
                "sounding": self._sounding(),
                **{n: midi.get(n, 0) for n in ("n_note_ons", "n_note_offs", "n_late", "n_stale")},
            },
            "xruns": {
                "capture": audio.get("n_capture_xruns", 0),
                "playback": audio.get("n_playback_xruns", 0),
                "late_blocks": audio.get("n_late_blocks", 0),
            },
            "send_error": self._send_error(),
            "board": {
                "temperature_c": temperature_c(self._root),
                "flags": throttled_flags(self._root),
                "governors": sorted(governors(self._root)),
            },
        }

    def _record(self, name: str) -> NDArray[Any] | None:
        record = np.zeros((), CELLS[name].dtype)
        return record if self._cells[name].read(record) else None

    def _values(self, name: str, fields: tuple[str, ...]) -> dict[str, float] | None:
        record = self._record(name)
        if record is None:
            return None
        return {field: round(float(record[field]), DIGITS) for field in fields}

    def _counters(self, process: str) -> dict[str, int]:
        record = self._record(f"telemetry_{process}")
        return {} if record is None else as_dict(record)

    def _times(self, process: str, now_s: float) -> dict[str, Any]:
        times, past = self._record(f"times_{process}"), self._past[process]
        if times is None:
            return {"is_alive": False}
        is_alive = bool(past and times["n_times"] != past[-1][1]["n_times"])
        if past and times["n_times"] < past[-1][1]["n_times"]:
            past.clear()  # started again: it counts from 0
        past.append((now_s, times))
        while now_s - past[0][0] > RECENT_S:
            past.popleft()
        return {
            "is_alive": is_alive,
            "deadline_ms": round(1e3 * float(times["deadline_s"]), DIGITS),
            "recent_p99_ms": round(1e3 * quantile_s(_difference(times, past[0][1]), 0.99), DIGITS),
            **summary_ms(times),
        }

    def _heard(self) -> dict[str, Any] | None:
        heard, record = self._values("heard", HEARD), self._record("heard")
        if heard is None or record is None:
            return None
        posterior = {q: round(float(p), DIGITS) for q, p in zip(QUADRANTS, record["posterior"], strict=True)}
        return {**heard, "posterior": posterior}

    def _keyboard(self) -> dict[str, Any] | None:
        """The keyboard heard; None where none is listened to. Its name is empty while none is plugged in."""
        record = self._record("keyboard")
        if record is None:
            return None
        name = record["name"].item().decode(errors="replace")
        time_s = round(float(record["time_s"]), DIGITS)
        return {"name": name, "time_s": time_s, "n_notes": int(record["n_notes"])}

    def _knobs(self) -> dict[str, Any] | None:
        knobs, record = self._values("knobs", KNOBS), self._record("knobs")
        if knobs is None or record is None:
            return None
        programme = self._programmes[int(record["programme"]) % len(self._programmes)]
        return {**knobs, "programme": programme.name}

    def _panic(self) -> dict[str, Any] | None:
        record = self._record("panic")
        if record is None:
            return None
        return {"is_on": bool(record["is_on"]), "since_s": round(float(record["since_s"]), DIGITS)}

    def _sounding(self) -> list[int]:
        record = self._record("sounding")
        return [] if record is None else [int(pitch) for _, pitch in np.argwhere(record["is_on"])]

    def _send_error(self) -> dict[str, float | int] | None:
        record = self._record("send_error")
        return None if record is None else summary_ms(record)


def _difference(now: NDArray[Any], before: NDArray[Any]) -> NDArray[Any]:
    """The times counted since ``before``; the longest of all bounds them."""
    times = np.zeros((), TIMES_DTYPE)
    times["buckets"] = now["buckets"] - before["buckets"]
    times["n_times"] = now["n_times"] - before["n_times"]
    times["longest_s"] = now["longest_s"]
    return times


def lives(reading: Mapping[str, Any]) -> bool:
    """Whether any process of the box stepped."""
    return any(process["is_alive"] for process in reading["processes"].values())
