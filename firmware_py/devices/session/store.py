"""The folder of live session logs: where it is, and how it stays within its bounds, oldest first."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from firmware_py.devices.files.kept import state_root
from firmware_py.devices.session.format import PART_NAME

DAY_S: Final = 86_400.0
"""Seconds of a day, by definition."""
PARTS_PER_STORE: Final = 20
"""The whole folder is this many parts at their longest: removing one frees a twentieth. Chosen by hand."""
LONGEST_PART_S: Final = DAY_S
"""A part also ends after this time, so that a bound in days holds within a session that lasts for weeks."""
# Chosen by hand.
RESERVE_BYTES: Final = 64 << 20
RESERVE_SHARE: Final = 0.05
"""The end of the disk that logs leave free for the rest of the box, a pushed release above all: 64 MiB, the
margin that ``deploy`` keeps too, and on a small disk 5 % of it."""


@dataclass(frozen=True)
class Bounds:
    """How much of the sessions is kept: ``max_bytes`` in all, none older than ``max_age_s`` seconds."""

    max_bytes: int = 200_000_000
    max_age_s: float = 90 * DAY_S

    @property
    def part_bytes(self) -> int:
        """Size at which a session goes on in a new part."""
        return self.max_bytes // PARTS_PER_STORE


DEFAULT_BOUNDS: Final = Bounds()


def sessions_folder(environment: Mapping[str, str], setting: str = "") -> Path:
    """Where session logs are kept: below ``runtime.state_dir``, else systemd's or the user's state folder."""
    return state_root(setting, environment) / "sessions"


def has_room(folder: Path) -> bool:
    """Whether the disk of ``folder`` has more free than the reserve.

    Raises
    ------
    OSError: there is no such folder.
    """
    disk = os.statvfs(folder)
    reserve = min(RESERVE_BYTES, RESERVE_SHARE * disk.f_blocks * disk.f_frsize)
    return disk.f_bavail * disk.f_frsize > reserve


def remove_old(folder: Path, bounds: Bounds, now_s: float, room_for: int = 0) -> int:
    """Remove parts past their age, then the oldest until ``room_for`` more bytes fit; how many went.

    Age and order follow the time of the last write (``now_s``: seconds since 1970). Other files, and parts
    that a running box has open, are left alone.
    """
    parts = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if PART_NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    status = os.lstat(folder / name)
                    if stat.S_ISREG(status.st_mode):
                        parts.append((status.st_mtime, name, status.st_size))
    n_bytes, n_removed = sum(size for *_, size in parts), 0
    for written_s, name, size in sorted(parts):
        is_old = now_s - written_s > bounds.max_age_s
        if (is_old or n_bytes + room_for > bounds.max_bytes) and _remove(folder / name):
            n_bytes -= size
            n_removed += 1
    return n_removed


def _remove(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Its writer holds a shared lock as long as the part is open.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(fd)
    except OSError:
        return False
    return True
