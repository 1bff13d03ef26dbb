"""The sessions that are kept: listed, found by name, removed. Nothing here follows a link."""

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.session.format import PART_NAME
from firmware_py.devices.session.reader import SessionFiles, entry_of, find_session
from kelly_edge.errors import SessionError
from kelly_edge.shared.printed import printed

REMEDY: Final = "kelly-edge session list names those that are kept"
GLANCED_BYTES: Final = 1 << 16
"""Chosen: the first and last bytes of a log that hold a header, knobs and the newest times."""
TIMED: Final = ("emotion", "turns", "counters", "marker")
"""Kinds of entry whose time is when they were written; knobs are first written at 0, before anything."""


@dataclass(frozen=True)
class Kept:
    """A session in the folder: its name, the names of its parts in order, their size, and the last write
    (seconds since 1970)."""

    name: str
    parts: tuple[str, ...]
    n_bytes: int
    written_s: float


def kept_sessions(folder: Path) -> list[Kept]:
    """All of them, oldest first; no folder is none.

    Raises
    ------
    SessionError: the folder cannot be read.
    """
    found: dict[str, list[tuple[int, str, os.stat_result]]] = {}
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _refused(folder, error) from None
    for name in names:
        if match := PART_NAME.fullmatch(name):
            with contextlib.suppress(OSError):
                status = os.lstat(folder / name)
                if stat.S_ISREG(status.st_mode):
                    found.setdefault(match["session"], []).append((int(match["part"] or 0), name, status))
    sessions = []
    for session, parts in found.items():
        parts.sort(key=lambda part: part[:2])
        sessions.append(
            Kept(
                session,
                tuple(name for _, name, _ in parts),
                sum(status.st_size for *_, status in parts),
                max(status.st_mtime for *_, status in parts),
            )
        )
    return sorted(sessions, key=lambda kept: (kept.written_s, kept.name))


def find_named(wanted: Path | None, folder: Path) -> SessionFiles:
    """The session of a path (see ``find_session``), of a name in ``folder``, or the newest there.

    Raises
    ------
    SessionError: there is no such session.
    """
    if wanted is None:
        return find_session(folder)
    if not os.path.lexists(wanted) and wanted.name == str(wanted):
        return find_kept(str(wanted), folder)
    return find_session(wanted)


def find_kept(name: str, folder: Path) -> SessionFiles:
    """The session ``name`` in ``folder``.

    Raises
    ------
    SessionError: there is none of exactly that name.
    """
    for kept in kept_sessions(folder):
        if kept.name == name:
            return SessionFiles(name, tuple(folder / part for part in kept.parts))
    where = printed(str(folder), 300)
    raise SessionError(f"no session {printed(name, 80)} in {where}; {REMEDY}")


def delete_session(name: str, folder: Path) -> int:
    """Remove the session of exactly that name; how many parts went.

    Everything is done within the opened folder, and only to files of the session's own: a link is no part.

    Raises
    ------
    SessionError: there is none, it is being written, or it cannot be removed.
    """
    files = find_kept(name, folder)
    opened: list[int] = []
    try:
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        opened.append(place)
        for path in files.parts:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(path.name, flags, dir_fd=place)
            opened.append(fd)
            # Its writer holds a shared lock as long as the part is open.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in files.parts:
            os.unlink(path.name, dir_fd=place)
        os.fsync(place)
    except BlockingIOError:
        raise SessionError(f"session {name} is being written; end it, or stop the box, first") from None
    except OSError as error:
        raise _refused(folder, error) from None
    finally:
        for fd in opened:
            os.close(fd)
    return len(files.parts)


def _refused(folder: Path, error: OSError) -> SessionError:
    where = printed(str(folder), 300)
    return SessionError(f"cannot use {where} ({error.strerror}); be its owner, or root")


@dataclass(frozen=True)
class Glance:
    """What is told of a session without reading all of it; ``begin`` as ``YYYY-MM-DD HH:MM``."""

    name: str
    begin: str
    seconds: float
    n_bytes: int
    programme: str


def glances(folder: Path) -> list[Glance]:
    """A glance at each session in ``folder``, oldest first.

    Raises
    ------
    SessionError: the folder cannot be read.
    """
    return [_glance(folder, kept) for kept in kept_sessions(folder)]


def _glance(folder: Path, kept: Kept) -> Glance:
    """From the first and the last bytes: a log at its bound has hundreds of megabytes."""
    head = _entries_in(folder / kept.parts[0], 0)
    tail = _entries_in(folder / kept.parts[-1], -GLANCED_BYTES)
    times = [t for e in head + tail if e["kind"] in TIMED and isinstance(t := e.get("time_s"), int | float)]
    programme = next((str(e["programme"]) for e in head if e["kind"] == "knobs" and "programme" in e), "")
    day, clock = kept.name[:8], kept.name[9:13]
    return Glance(
        kept.name,
        f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:]}",
        round(max(times) - min(times), 1) if times else 0.0,
        kept.n_bytes,
        programme,
    )


def last_turn(path: Path) -> int:
    """Number of the composer's last turn in the part at ``path``; -1 where its last bytes hold none."""
    last = -1
    for entry in _entries_in(path, -GLANCED_BYTES):
        if entry["kind"] == "turns":
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                last = int(entry["turn"]) + int(entry["n"]) - 1
    return last


def _entries_in(path: Path, begin: int) -> list[dict[str, Any]]:
    """The whole entries within ``GLANCED_BYTES`` from ``begin``, counted from the end where negative."""
    found = []
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(path, flags), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size + begin) if begin < 0 else begin)
            for line in file.read(GLANCED_BYTES).split(b"\n"):
                if (entry := entry_of(line)) is not None:
                    found.append(entry)
    return found
