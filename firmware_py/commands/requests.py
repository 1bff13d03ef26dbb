"""``kelly-edge panic``, ``resume``, ``session start``, ``place reset``: words to a running box.

They go through its run directory, where only the box's own user, and root, may write. A word is a record of
the ``panic`` or ``commands`` ring; whether it was obeyed is read from the cells.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from firmware_py.board.map import CELLS, COMMANDS, RINGS
from firmware_py.board.pipes import CellView, PipeRing
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.run_dir import run_dir_of
from kelly_edge.errors import DeviceError

ANSWER_WITHIN_S: Final = 1.0
LOOK_EVERY_S: Final = 0.005


def say(run_dir: Path, word: str) -> None:
    """Write ``word`` of ``COMMANDS`` into its ring.

    Raises
    ------
    DeviceError: no box is there.
    OutputError: this user may not.
    """
    name = "panic" if word in ("panic", "resume") else "commands"
    spec = RINGS[name]
    record = np.zeros((), spec.dtype)
    record["what"] = COMMANDS.index(word)
    try:
        ring = PipeRing(run_dir / f"{name}.ring", spec.dtype, (), spec.capacity, is_ours=False)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    # A full ring holds more of the same words than will ever be obeyed.
    ring.write(record)
    _wait(lambda: ring.n_waiting() == 0, ANSWER_WITHIN_S)
    ring.close()


def ask_for_panic(config: Path | None, overrides: Sequence[str], is_on: bool) -> dict[str, Any]:
    """Silence the box, or let it go on; returns its state.

    Raises
    ------
    DeviceError: no box is there, or it does not answer.
    """
    run_dir = run_dir_of(load_settings(config, overrides).runtime.run_dir)
    say(run_dir, "panic" if is_on else "resume")
    record = np.zeros((), CELLS["panic"].dtype)
    cell = CellView(run_dir / "panic.cell", record.dtype)
    _answered(run_dir, lambda: cell.read(record) and bool(record["is_on"]) == is_on, "guardian")
    return {"panic": "silent until somebody resumes" if is_on else "over: it plays"}


def begin_session(config: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Begin a new session; returns its number since the box was started.

    Raises
    ------
    DeviceError: no box is there, or it does not answer.
    """
    number = _counted(config, overrides, "session", "n_sessions")
    return {"session": f"number {number + 1} begins"}


def forget_place(config: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Forget what was learned of the place; returns what follows.

    Raises
    ------
    DeviceError: no box is there, or it does not answer.
    """
    _counted(config, overrides, "place", "n_places")
    return {"place": "forgotten: it is learned anew"}


def _counted(config: Path | None, overrides: Sequence[str], word: str, count: str) -> int:
    """Say ``word`` and wait until the knob ``count`` has moved; returns the count."""
    run_dir = run_dir_of(load_settings(config, overrides).runtime.run_dir)
    record = np.zeros((), CELLS["knobs"].dtype)
    try:
        cell = CellView(run_dir / "knobs.cell", record.dtype)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    cell.read(record)
    before = int(record[count])
    say(run_dir, word)
    _answered(run_dir, lambda: cell.read(record) and int(record[count]) != before, "control")
    return int(record[count])


def _nothing_runs(run_dir: Path) -> DeviceError:
    return DeviceError(f"nothing runs in {run_dir}; start kelly-edge run, or give its runtime.run_dir")


def _wait(is_so: Callable[[], bool], within_s: float) -> bool:
    end_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > end_s:
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def _answered(run_dir: Path, is_so: Callable[[], bool], process: str) -> None:
    if not _wait(is_so, ANSWER_WITHIN_S):
        raise DeviceError(
            f"the box in {run_dir} does not answer: {process} is gone or stands still; start the box again"
        )
