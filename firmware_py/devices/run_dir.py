"""The run directory: where the processes of one box meet. One box at a time holds it."""

import fcntl
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from firmware_py.devices.clock import CLOCK_FILE
from kelly_edge.errors import OutputError

LOCK_FILE: Final = "lock"
OURS: Final = ("*.ring", "*.cell", CLOCK_FILE, f"{CLOCK_FILE}.*", LOCK_FILE)


def default_run_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """systemd's directory for the service, else the user's, else one of our own in the temporary folder."""
    for name, tail in (("RUNTIME_DIRECTORY", ""), ("XDG_RUNTIME_DIR", "kelly-edge")):
        if environment.get(name):
            return Path(environment[name].split(":")[0]) / tail
    return Path(tempfile.gettempdir()) / f"kelly-edge-{os.getuid()}"


def make_run_dir(setting: str) -> Path:
    """The folder of ``runtime.run_dir``, there and ours alone.

    Raises
    ------
    OutputError: it cannot be made, or belongs to somebody else.
    """
    path = Path(setting) if setting else default_run_dir()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = path.stat().st_uid
    except OSError as error:
        raise OutputError(f"cannot make {path}: {error.strerror}; set runtime.run_dir") from None
    if path.is_symlink() or owner != os.getuid():
        raise OutputError(f"{path} belongs to somebody else; set runtime.run_dir to a folder of yours")
    return path


class HeldRunDir:
    """``path`` for one box: emptied of what a killed one left, and emptied again at the end.

    Raises
    ------
    OutputError: another box runs in it.
    """

    def __init__(self, setting: str) -> None:
        self.path = make_run_dir(setting)
        self._lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
                    path.unlink()
