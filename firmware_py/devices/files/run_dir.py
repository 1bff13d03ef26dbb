"""The run directory: where the processes of one box meet. One box at a time holds it.

It may go while they run: logind removes a user's at logout. A process started after that would meet no
other; so each checks whether its files still stand there (``RunDirWatch``), and all of them start again.
"""

import array
import ctypes
import fcntl
import os
import stat
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from firmware_py.devices.files import run_dir_places as places
from firmware_py.devices.files.clock import CLOCK_FILE
from kelly_edge.errors import OutputError

LOCK_FILE: Final = "lock"
PAGE_FILE: Final = "page.json"
"""Where the page is, and its PIN: written by its process, read by ``kelly-edge page pin``."""
OURS: Final = ("*.ring", "*.cell", CLOCK_FILE, f"{CLOCK_FILE}.*", LOCK_FILE, f"{PAGE_FILE}*")
IN_REMOVED: Final = 0x040 | 0x200 | 0x400 | 0x800
"""inotify: something in the folder was moved away or deleted, or the folder itself. Linux: flags of
inotify(7)."""
SERVICE_RUN_DIR: Final = Path(places.SERVICE_RUN_DIR)


def default_run_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """See ``own_run_dir``."""
    return Path(places.own_run_dir(environment))


def run_dir_of(setting: str, service: Path = SERVICE_RUN_DIR) -> Path:
    """See ``place_of_run_dir``."""
    return Path(places.place_of_run_dir(setting, os.environ, str(service)))


def make_run_dir(setting: str) -> Path:
    """The folder of ``runtime.run_dir``, there and ours alone.

    Raises
    ------
    OutputError: it cannot be made, belongs to somebody else, or others may write to it.
    """
    path = Path(setting) if setting else default_run_dir()
    try:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except PermissionError:
            # After a logout the user's folder is named, gone, and not the user's to make.
            if setting:
                raise
            path = Path(places.temporary_run_dir())
            path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise OutputError(f"cannot make {path}: {error.strerror}; set runtime.run_dir") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OutputError(f"{path} belongs to somebody else; set runtime.run_dir to a folder of yours")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise OutputError(
            f"others may write to {path} (mode {mode:04o}); chmod 700 it or set runtime.run_dir"
        )
    return path


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class RunDirWatch:
    """Whether the files of the box in ``run_dir`` are those that were there at first.

    The kernel tells what is removed (inotify(7)), so that a real-time process asks for no file until then.

    Parameters
    ----------
    run_dir: with everything in it.
    """

    def __init__(self, run_dir: Path) -> None:
        libc = ctypes.CDLL(None)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            libc.inotify_add_watch(self._fd, os.fsencode(run_dir), IN_REMOVED)
        self._waiting = array.array("i", [0])
        paths = [run_dir / CLOCK_FILE, *sorted(run_dir.glob("*.ring")), *sorted(run_dir.glob("*.cell"))]
        self._files = [(path, _identity(path)) for path in paths]

    def is_whole(self) -> bool:
        """Look, where something was removed since the last time; without inotify, look each time."""
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.FIONREAD, self._waiting, True)
            if not self._waiting[0]:
                return True
            os.read(self._fd, self._waiting[0])
        return all(_identity(path) == identity for path, identity in self._files)

    def close(self) -> None:
        """Look no more."""
        if self._fd >= 0:
            os.close(self._fd)


class HeldRunDir:
    """``path`` for one box: emptied of the remains of a killed one, and emptied again at the end.

    Raises
    ------
    OutputError: another box runs in it, or it cannot be used.
    """

    def __init__(self, setting: str) -> None:
        self.path = make_run_dir(setting)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._lock = os.open(self.path / LOCK_FILE, flags, 0o600)
        except OSError as error:
            raise OutputError(f"cannot use {self.path}: {error.strerror}; set runtime.run_dir") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise OutputError(
                f"another kelly-edge runs in {self.path}; stop it or set runtime.run_dir"
            ) from None
        self._clear(LOCK_FILE)
        self._is_ours = [path.name for path in self.path.iterdir()] == [LOCK_FILE]

    def close(self) -> None:
        """Leave nothing of ours behind; the folder goes too where it held nothing else."""
        self._clear()
        os.close(self._lock)
        if self._is_ours:
            try:
                self.path.rmdir()
            except OSError:
                # systemd's, or somebody put something there: not ours to remove.
                return

    def _clear(self, *kept: str) -> None:
        for pattern in OURS:
            for path in self.path.glob(pattern):
                if path.name not in kept:
                    path.unlink(missing_ok=True)
