"""``kelly-edge panic``, ``resume``, ``session``, ``place``: words to a running box in its run directory.

The page and OSC use them too.

Only the box's own user, and root, may write there. A word is a record of the ``panic`` or ``commands`` ring;
whether it was obeyed is read from the cells.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import (
    CELLS,
    COMMANDS,
    LONGEST_MARK,
    MARK_DTYPE,
    NAME_BYTES,
    NOTE_BYTES,
    RINGS,
    TURNED,
)
from firmware_py.board.pipes import CellView, PipeRing
from firmware_py.commands.status import read_session
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.programmes import numbered, open_programmes
from firmware_py.devices.files.run_dir import run_dir_of
from kelly_edge.config_values import did_you_mean
from kelly_edge.contract import SessionState
from kelly_edge.errors import ConfigError, DeviceError, SessionError
from kelly_edge.shared.printed import printed

ANSWER_WITHIN_S: Final = 1.0
"""Chosen: a process answers at its next step, within 0.1 s."""
SESSION_WITHIN_S: Final = 10.0
"""``control`` answers, which is not real-time; nobody is in danger meanwhile. Chosen by hand."""
LOOK_EVERY_S: Final = 0.005
"""A look costs microseconds. Chosen by hand."""


def send(run_dir: Path, word: str, **more: float | bytes) -> None:
    """Write ``word`` of ``COMMANDS`` into its ring, with ``more`` fields of its record (``COMMAND_DTYPE``).

    Raises
    ------
    DeviceError: no box is there.
    OutputError: this user may not.
    """
    _write(run_dir, word, more).close()


def say(run_dir: Path, word: str, **more: float | bytes) -> None:
    """The same, and wait until it is taken out, for a second at most."""
    ring = _write(run_dir, word, more)
    _wait(lambda: ring.n_waiting() == 0, ANSWER_WITHIN_S)
    ring.close()


def _write(run_dir: Path, word: str, more: Mapping[str, float | bytes]) -> PipeRing:
    name = "panic" if word in ("panic", "resume") else "commands"
    spec = RINGS[name]
    record = np.zeros((), spec.dtype)
    record["what"] = COMMANDS.index(word)
    if "programme" in (spec.dtype.names or ()):
        record["programme"] = -1
    for field, value in more.items():
        record[field] = value
    try:
        ring = PipeRing(run_dir / f"{name}.ring", spec.dtype, (), spec.capacity, is_ours=False)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    # A full ring holds more of the same words than will ever be obeyed.
    ring.write(record)
    return ring


def turn_knob(run_dir: Path, name: str, value: float) -> None:
    """Turn a knob of ``TURNED``, without waiting for it; beyond its range it stays where it is.

    Raises
    ------
    DeviceError: no box is there.
    """
    send(run_dir, "turn", knob=TURNED.index(name), value=value)


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


def begin_session(
    config: Path | None, overrides: Sequence[str], programme: str = "", name: str = "", note: str = ""
) -> dict[str, Any]:
    """Begin a new session; returns its status.

    Parameters
    ----------
    programme: one of the settings'; empty: the one there is. name, note: of the session, as the user likes.

    Raises
    ------
    ConfigError: the settings do not name that programme, or a text is too long.
    DeviceError: no box is there, or it does not answer.
    """
    settings = load_settings(config, overrides)
    number = -1
    if programme:
        names = numbered(settings)
        if programme not in names:
            hint = did_you_mean(programme, names)
            known = f"{', '.join(names)} (emotion.programmes)"
            raise ConfigError(f"programme: {printed(programme)} is not one of {known}{hint}")
        number = names.index(programme)
    for what, text, longest in (("name", name, NAME_BYTES), ("note", note, NOTE_BYTES)):
        if len(text.encode("utf-8", "replace")) > longest or not text.isprintable():
            raise ConfigError(f"{what}: is not one line of at most {longest} bytes; shorten it")
    run_dir = run_dir_of(settings.runtime.run_dir)
    record, cell = _session_cell(run_dir)
    before = int(record["number"])
    texts = {"name": name.encode("utf-8", "replace"), "note": note.encode("utf-8", "replace")}
    say(run_dir, "session", programme=number, **texts)
    _answered(
        run_dir, lambda: cell.read(record) and int(record["number"]) != before, "control", SESSION_WITHIN_S
    )
    return {"session": f"number {int(record['number'])} begins", **_names(record)}


def end_session(config: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """End the session that is on; the music comes to its end, then the box is silent until one begins.

    Raises
    ------
    DeviceError: no box is there, or it does not answer.
    """
    run_dir = run_dir_of(load_settings(config, overrides).runtime.run_dir)
    record, cell = _session_cell(run_dir)
    was_on, number = bool(record["is_on"]), int(record["number"])
    knobs = np.zeros((), CELLS["knobs"].dtype)
    knobs_cell = CellView(run_dir / "knobs.cell", knobs.dtype)
    say(run_dir, "stop")

    def is_ended() -> bool:
        return (
            cell.read(record)
            and not record["is_on"]
            and knobs_cell.read(knobs)
            and int(knobs["session"]) == SessionState.ENDED
        )

    _answered(run_dir, is_ended, "control", SESSION_WITHIN_S)
    ended = f"number {number} ends" if was_on else "none was on"
    return {"session": f"{ended}; the box is silent until one begins"}


def session_status(config: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Where the session of the running box stands.

    Raises
    ------
    DeviceError: no box is there.
    """
    settings = load_settings(config, overrides)
    run_dir = run_dir_of(settings.runtime.run_dir)
    _session_cell(run_dir)
    cells = {n: CellView(run_dir / f"{n}.cell", CELLS[n].dtype) for n in ("session", "knobs", "target")}
    return read_session(cells, open_programmes(settings))


def forget_place(config: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Forget what was learned of the place; returns what follows.

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
    before = int(record["n_places"])
    say(run_dir, "place")
    _answered(run_dir, lambda: cell.read(record) and int(record["n_places"]) != before, "control")
    return {"place": "forgotten: it is learned anew"}


def _session_cell(run_dir: Path) -> tuple[NDArray[Any], CellView]:
    record = np.zeros((), CELLS["session"].dtype)
    try:
        cell = CellView(run_dir / "session.cell", record.dtype)
    except FileNotFoundError:
        raise _nothing_runs(run_dir) from None
    cell.read(record)
    return record, cell


def _names(record: NDArray[Any]) -> dict[str, str]:
    """Name and note, where they were given."""
    texts = {name: record[name].item().decode("utf-8", "replace") for name in ("name", "note")}
    return {name: text for name, text in texts.items() if text}


def mark(config: Path | None, overrides: Sequence[str], text: str) -> dict[str, Any]:
    """Mark this moment in the session log of the running box.

    Raises
    ------
    DeviceError: no box is there, it keeps no log, no session is on, or it does not answer.
    SessionError: the text is too long, or holds what is no text.
    """
    settings = load_settings(config, overrides)
    if not text.isprintable():
        raise SessionError("a mark holds a control character or what is no text; leave it out")
    content = text.strip().encode()
    if len(content) > LONGEST_MARK:
        raise SessionError(f"a mark of {len(content)} bytes is too long; say it in {LONGEST_MARK}")
    run_dir = run_dir_of(settings.runtime.run_dir)
    if not settings.session.log:
        raise DeviceError("nothing is logged (session.log: false), so nothing can be marked; set it to true")
    session, _ = _session_cell(run_dir)
    if not session["is_on"]:
        raise DeviceError("no session is on, so nothing can be marked; begin one: kelly-edge session start")
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


def _answered(
    run_dir: Path, is_so: Callable[[], bool], process: str, within_s: float = ANSWER_WITHIN_S
) -> None:
    if not _wait(is_so, within_s):
        raise DeviceError(
            f"the box in {run_dir} does not answer: {process} is gone or stands still; start the box again"
        )
