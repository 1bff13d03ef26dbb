"""The live journals: a bounded session log of JSON lines, and warnings on stderr (systemd's journal).

A thread of its own writes the log, because a worn or full card may hold a write up for seconds, while
``control`` must answer hands and its watchdog. What cannot be written costs entries, which are counted,
never the music.
"""

import contextlib
import fcntl
import json
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firmware_py.board.telemetry import Report
from firmware_py.devices.session.format import PART_NAME, STATE_KINDS, Changes, header
from firmware_py.devices.session.reader import find_session
from firmware_py.devices.session.sessions import last_turn
from firmware_py.devices.session.store import DEFAULT_BOUNDS, LONGEST_PART_S, Bounds, has_room, remove_old
from firmware_py.ports import Journal
from kelly_edge.errors import SessionError
from kelly_edge.shared.printed import LONGEST_LINE, printed

LOOK_EVERY_S: Final = 60.0
"""How often the folder's bounds and the disk's room are looked at. Chosen: a log grows by a few kilobytes
in that time."""
SYNC_EVERY_S: Final = 5.0
"""A power cut costs at most about this much of the log. Chosen: more often wears out a memory card."""
MAX_WAITING: Final = 4_096
"""Entries that wait for the card, about 1 MB; later ones are lost and counted. Chosen by hand."""
CLOSE_WITHIN_S: Final = 2.0
"""A card that takes nothing must not hold up the end of the process. Chosen: within ``run.STOP_WITHIN_S``."""


NOTHING: Final[Mapping[str, Any]] = {}


def warn(text: str) -> None:
    """One line for a person; names and messages from outside are made printable."""
    print(f"kelly-edge: {printed(text, LONGEST_LINE)}", file=sys.stderr, flush=True)


def _as_line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


class _Part:
    """An open part: whole lines, or none."""

    def __init__(self, folder: Path, session: str, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self.path = folder / f"{session}-{number:04}.jsonl"
        self._fd = os.open(self.path, flags, 0o600)
        self.n_bytes = 0
        self.is_synced = True
        # Says to every process that this part is being written.
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def write(self, line: bytes) -> None:
        """Append ``line``; an ``OSError`` leaves the part as it was."""
        n_written = os.write(self._fd, line)
        if n_written < len(line):
            # A full disk took a piece: half a line would spoil the next one too.
            os.ftruncate(self._fd, self.n_bytes)
            raise OSError(28, os.strerror(28))
        self.n_bytes += n_written
        self.is_synced = False

    def is_there(self) -> bool:
        """Whether nobody has removed it."""
        return os.fstat(self._fd).st_nlink > 0

    def sync(self) -> None:
        """Wait until it is on the disk."""
        if not self.is_synced:
            self.is_synced = True
            with contextlib.suppress(OSError):
                os.fdatasync(self._fd)

    def close(self) -> None:
        """Done."""
        self.sync()
        os.close(self._fd)


@dataclass(frozen=True)
class _Word:
    """To the writer: a session begins, with this in its header, or (None) the one that is on ends.

    ``after``: the last part of a session that goes on; None: it is a new one.
    """

    about: Mapping[str, Any] | None
    after: Path | None = None


class SessionLog:
    """A ``Journal`` in the folder ``folder``; None keeps nothing.

    Entries that tell nothing new are left out (``session.format.Changes``).

    Parameters
    ----------
    now: seconds since 1970, for the name and the age of files.
    is_on: whether what is recorded is kept before a session has begun.
    about: what each part's header says besides, whatever the session.
    """

    def __init__(
        self,
        folder: Path | None,
        bounds: Bounds = DEFAULT_BOUNDS,
        now: Callable[[], float] = time.time,
        is_on: bool = True,
        about: Mapping[str, Any] = NOTHING,
    ) -> None:
        self._is_on = is_on
        self._words: deque[_Word] = deque()
        self.folder = folder
        self._changes = Changes()
        self._n_refused = 0
        self._writer: _Writer | None = None
        self._thread: threading.Thread | None = None
        self._waiting: queue.Queue[dict[str, Any] | _Word | threading.Event] = queue.Queue(MAX_WAITING)
        if folder is not None:
            self._writer = _Writer(folder, bounds, now, about)
            self._thread = threading.Thread(target=self._write, name="session log", daemon=True)
            self._thread.start()

    @property
    def n_lost(self) -> int:
        """Entries that the log does not hold because the disk did not take them."""
        return self._n_refused + (self._writer.n_lost if self._writer is not None else 0)

    @property
    def path(self) -> str:
        """The file that is written; empty for none."""
        return self._writer.path if self._writer is not None else ""

    def begin(self, about: Mapping[str, Any]) -> None:
        """What is recorded from now on is a new session, in its own file, whose header tells ``about``."""
        self._is_on, self._changes = True, Changes()
        self._words.append(_Word(about))

    def go_on(self, about: Mapping[str, Any], path: str) -> int:
        """What is recorded from now on goes into further parts of the session that a process before this one
        wrote to ``path``; where there is none, into a new one.

        Returns the number of the composer's last turn there, -1 for none.
        """
        self._is_on, self._changes = True, Changes()
        after = None
        if path and PART_NAME.fullmatch(Path(path).name):
            with contextlib.suppress(SessionError):
                after = find_session(Path(path)).parts[-1]
        self._words.append(_Word(about, after))
        return -1 if after is None else last_turn(after)

    def end(self) -> None:
        """What is recorded from now on is not kept, until a session begins."""
        self._is_on = False
        self._words.append(_Word(None))
        self._say()

    def _say(self) -> None:
        """Words before entries; one that finds the queue full is said before the next entry."""
        with contextlib.suppress(queue.Full):
            while self._words and self._thread is not None:
                self._waiting.put_nowait(self._words[0])
                self._words.popleft()

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``; it never waits."""
        if self._thread is None or not self._is_on or not self._changes.is_news(entry):
            return
        self._say()
        try:
            if self._words:
                raise queue.Full
            self._waiting.put_nowait(entry)
        except queue.Full:
            if self._n_refused == 0:
                warn(f"the session log loses entries: {self.folder} takes them too slowly; replace the card")
            self._n_refused += 1

    def flush(self, within_s: float) -> bool:
        """Wait until everything recorded so far is written or lost; whether that happened in time."""
        end_s = time.monotonic() + within_s
        done = threading.Event()
        try:
            self._waiting.put(done, timeout=within_s)
        except queue.Full:
            return False
        return done.wait(max(0.0, end_s - time.monotonic()))

    def close(self) -> None:
        """Write the entries that wait, if the disk takes them."""
        if self._thread is None or self._writer is None:
            return
        self._say()
        self._writer.is_closing = True
        if self.flush(CLOSE_WITHIN_S):
            self._thread.join(CLOSE_WITHIN_S)
        else:
            warn(f"the session log is not complete: {self.folder} takes no more; replace the card")
        self._thread = None

    def _write(self) -> None:
        assert self._writer is not None
        writer = self._writer
        writer.look()
        while True:
            try:
                waiting = self._waiting.get(timeout=writer.pause_s)
            except queue.Empty:
                writer.look()
                continue
            if isinstance(waiting, threading.Event):
                if writer.is_closing:
                    writer.close()
                waiting.set()
                if writer.is_closing:
                    return
            elif isinstance(waiting, _Word):
                writer.take(waiting)
            else:
                writer.write(waiting)


class _Writer:
    """The thread's side: parts, bounds, and what the disk refused."""

    def __init__(
        self, folder: Path, bounds: Bounds, now: Callable[[], float], about: Mapping[str, Any]
    ) -> None:
        self.n_lost = 0
        self.is_closing = False
        self._folder = folder
        self._bounds = bounds
        self._about = about
        self._now = now
        self._session = self._name()
        self.path = ""
        self._told: Mapping[str, Any] = {}
        self._number = 0
        self._part: _Part | None = None
        self._part_until_s = self._look_s = self._sync_s = 0.0
        self._has_room = True
        self._was_told = False
        self._state: dict[str, bytes] = {}

    @property
    def pause_s(self) -> float:
        """How long the thread may wait for an entry."""
        return LOOK_EVERY_S if self._part is None or self._part.is_synced else SYNC_EVERY_S

    def _name(self) -> str:
        """A name that no session has: one that begins within the second of another is dated later."""
        begun_s = self._now()
        while True:
            name = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(begun_s))}-{os.getpid()}"
            if not self._folder.is_dir() or not any(self._folder.glob(f"{name}*")):
                return name
            begun_s += 1.0

    def take(self, word: _Word) -> None:
        """Begin a session, or end the one that is on."""
        self._end_part()
        self._state.clear()
        if word.about is not None:
            self._session, self._number, self._told = self._name(), 0, word.about
            if word.after is not None and (part := PART_NAME.fullmatch(word.after.name)):
                self._session, self._number = part["session"], int(part["part"] or 0)

    def write(self, entry: dict[str, Any]) -> None:
        """Append an entry, in a new part where this one is full, too old, or gone."""
        line = _as_line(entry)
        try:
            self._make_part(len(line))
            assert self._part is not None
            self._part.write(line)
            if entry["kind"] in STATE_KINDS:
                self._state[entry["kind"]] = line
            self._was_told = False
        except OSError as error:
            self.n_lost += 1
            if not self._was_told:
                self._was_told = True
                warn(f"the session log loses entries ({error.strerror}: {self._folder}); free space")
        self.look()

    def look(self) -> None:
        """Now and then: put the part on the disk, keep the folder within its bounds."""
        now_s = time.monotonic()
        if self._part is not None and now_s >= self._sync_s:
            self._sync_s = now_s + SYNC_EVERY_S
            self._part.sync()
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_EVERY_S
            remove_old(self._folder, self._bounds, self._now())
            with contextlib.suppress(OSError):
                self._has_room = has_room(self._folder)
            if self._part is not None and not self._part.is_there():
                self._end_part()

    def close(self) -> None:
        """Done."""
        self._end_part()

    def _end_part(self) -> None:
        if self._part is not None:
            self._part.close()
            self._part = None
            self.path = ""

    def _make_part(self, n_bytes: int) -> None:
        """Have a part open that takes ``n_bytes`` more."""
        if not self._has_room:
            raise OSError(28, os.strerror(28))
        if self._part is not None:
            is_full = self._part.n_bytes + n_bytes > self._bounds.part_bytes
            if not is_full and time.monotonic() < self._part_until_s:
                return
            self._end_part()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_old(self._folder, self._bounds, self._now(), self._bounds.part_bytes)
        part = self._open_part()
        try:
            written = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            about = {**self._about, **self._told}
            part.write(_as_line(header(part=self._number, written=written, **about)))
            for line in self._state.values():
                part.write(line)
        except OSError:
            part.close()
            with contextlib.suppress(OSError):
                part.path.unlink()
            raise
        self._part, self.path = part, str(part.path)
        self._part_until_s = time.monotonic() + LONGEST_PART_S

    def _open_part(self) -> _Part:
        while True:
            self._number += 1
            try:
                return _Part(self._folder, self._session, self._number)
            except FileExistsError:
                # A box without a clock begins each session at the same time, perhaps with the same number.
                continue


class LoggedReports:
    """An ``Outlet`` into the session log: the counts are there even if the box dies."""

    n_lost = 0

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def publish(self, report: Report) -> None:
        """See ``Outlet``; the log counts what it loses. The last counts are ``ControlStage``'s to log."""
        if not report.is_up:
            return
        for process, counters in report.counters.items():
            entry = {"kind": "counters", "time_s": round(report.time_s, 3), "process": process, **counters}
            self._journal.record(entry)
