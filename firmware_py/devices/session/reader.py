"""Reads session logs: of ``kelly-edge play`` and live ones, old, whole, cut short or still being written."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from firmware_py.devices.session.format import PART_NAME, SCHEMA
from kelly_edge.errors import SessionError
from kelly_edge.shared.printed import printed

PLAYED: Final = "session.jsonl"
"""The log in a folder written by ``kelly-edge play``."""
LONGEST_LINE: Final = 1 << 20
"""Bytes of an entry that is read. Chosen: our own have a few hundred; a damaged file may have no line
ends."""
_BEGINNING: Final = b'{"kind"'


@dataclass(frozen=True)
class SessionFiles:
    """A session on the disk: its name and its parts in order."""

    name: str
    parts: tuple[Path, ...]


def find_session(path: Path) -> SessionFiles:
    """The session that ``path`` means.

    Parameters
    ----------
    path: a folder written by ``play``, a folder of live session logs (the newest is meant), or one log file
        (of a live session in parts: all of its parts).

    Raises
    ------
    SessionError: there is no session.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            if (path / PLAYED).exists():
                return find_session(path / PLAYED)
            logs = [log for log in path.iterdir() if PART_NAME.fullmatch(log.name)]
            if logs:
                return _session_of(max(logs, key=lambda log: (log.stat().st_mtime, log.name)))
        elif stat.S_ISREG(status.st_mode):
            return _session_of(path)
    except (OSError, ValueError) as error:
        raise _refused(path, getattr(error, "strerror", None) or str(error)) from None
    raise _refused(path, "no session log there")


def _session_of(path: Path) -> SessionFiles:
    match = PART_NAME.fullmatch(path.name)
    if match is None or match["part"] is None:
        return SessionFiles(path.stem, (path,))
    parts = []
    for other in path.parent.iterdir():
        found = PART_NAME.fullmatch(other.name)
        if found is not None and found["session"] == match["session"] and found["part"] is not None:
            parts.append((int(found["part"]), other))
    return SessionFiles(match["session"], tuple(part for _, part in sorted(parts)))


class SessionReader:
    """Iterates over the entries of a session's parts, in order; every entry is a dict with a ``kind``.

    Lines that are no entries are left out and counted: ``n_damaged`` lines, the first at ``first_damaged``. A
    last line without its end (a power cut, or the box is still writing) is not counted.

    Raises
    ------
    SessionError: a part cannot be read, holds no session log, or one of a newer format.
    """

    def __init__(self, files: SessionFiles) -> None:
        self._files = files
        self.n_damaged = 0
        self.first_damaged = ""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path in self._files.parts:
            try:
                with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    yield from self._entries(path, file)
            except OSError as error:
                raise _refused(path, error.strerror or str(error)) from None

    def damaged(self, place: str) -> None:
        """Count a damaged entry; ``place`` is where it stands."""
        self.n_damaged += 1
        self.first_damaged = self.first_damaged or place

    def _entries(self, path: Path, file: BinaryIO) -> Iterator[dict[str, Any]]:
        number, n_entries = 0, 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            entry = entry_of(line)
            if entry is None:
                is_unfinished = not line.endswith(b"\n") and len(line) < LONGEST_LINE
                if not is_unfinished or not _may_begin(line, n_entries):
                    self.damaged(f"{path.name} line {number}")
                continue
            if entry["kind"] == "session":
                _check_schema(path, entry.get("schema"))
            n_entries += 1
            yield entry
        if number > 0 and n_entries == 0 and self.n_damaged > 0:
            raise _refused(path, "no line of it is an entry of a session log")


def _may_begin(line: bytes, n_entries: int) -> bool:
    """Whether ``line`` may be the beginning of an entry: of the first line only that is asked."""
    return n_entries > 0 or line.startswith(_BEGINNING[: len(line)])


def entry_of(line: bytes) -> dict[str, Any] | None:
    """The entry in a line; None where there is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(entry, dict) and isinstance(entry.get("kind"), str):
        return entry
    return None


def _check_schema(path: Path, schema: object) -> None:
    if isinstance(schema, int) and schema > SCHEMA:
        raise SessionError(
            f"the session log has format {printed(str(schema))}, newer than {SCHEMA} "
            f"({printed(str(path), 300)}); use the release that wrote it"
        )


def _refused(path: Path, why: str) -> SessionError:
    return SessionError(
        f"cannot read a session ({printed(why, 120)}: {printed(str(path), 300)}); "
        f"give a folder written by kelly-edge play, or a session log"
    )
