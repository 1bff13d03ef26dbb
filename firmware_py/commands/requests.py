"""``kelly-edge panic``, ``resume`` and ``session start``: words to a running box, through its run directory.

Only the box's own user, and root, may write there. A word is a record of the ``panic`` or ``commands`` ring;
whether it was obeyed is read from the cells.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from firmware_py.board.map import CELLS, COMMANDS, LONGEST_MARK, MARK_DTYPE, RINGS
from firmware_py.board.pipes import CellView, PipeRing
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.run_dir import run_dir_of
from kelly_edge.errors import DeviceError, SessionError

ANSWER_WITHIN_S: Final = 1.0
LOOK_EVERY_S: Final = 0.005


def say(run_dir: Path, word: str) -> None:
    """Write ``word`` of ``COMMANDS`` into its ring.

    Raises
    ------
    DeviceError: no box is there.
    OutputError: this user may not.
    """
    name = "commands" if word == "session" else "panic"
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
    run_dir = run_dir_of(load_settings(config, overrides).runtime.run_dir)
    record = np.zeros((), CELLS["knobs"].dtype)
    try:
        cell = CellView(run_dir / "knobs.cell", record.dtype)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    cell.read(record)
    before = int(record["n_sessions"])
    say(run_dir, "session")
    _answered(run_dir, lambda: cell.read(record) and int(record["n_sessions"]) != before, "control")
    return {"session": f"number {int(record['n_sessions']) + 1} begins"}


def mark(config: Path | None, overrides: Sequence[str], text: str) -> dict[str, Any]:
    """Mark this moment in the session log of the running box.

    Raises
    ------
    DeviceError: no box is there, it keeps no log, or it does not answer.
    SessionError: the text is too long, or holds what is no text.
    """
    settings = load_settings(config, overrides)
    content = text.strip().encode(errors="surrogateescape")
    if len(content) > LONGEST_MARK:
        raise SessionError(f"a mark of {len(content)} bytes is too long; say it in {LONGEST_MARK}")
    if not text.isprintable():
        raise SessionError("a mark holds a control character or what is no text; leave it out")
    run_dir = run_dir_of(settings.runtime.run_dir)
    if not settings.session.log:
        raise DeviceError("nothing is logged (session.log: false), so nothing can be marked; set it to true")
    spec, record = RINGS["marks"], np.zeros((), MARK_DTYPE)
    record["text"] = content
    try:
        ring = PipeRing(run_dir / "marks.ring", spec.dtype, (), spec.capacity, is_ours=False)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    try:
        ring.write(record)
        _answered(run_dir, lambda: ring.n_waiting() == 0, "control")
    finally:
        ring.close()
    return {"marked": text.strip() or "this moment"}


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
