"""What outlives a session and a release: the state folder, and files replaced whole or not at all.

A file that cannot be read is set aside, so that it stops nothing twice and can still be looked at.
"""

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

SERVICE_STATE: Final = Path("/var/lib/kelly-edge")
"""Where systemd keeps the service's."""
LARGEST: Final = 1 << 20
"""Bytes; the files kept here are far smaller. Chosen for that reason."""
UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What damaged JSON raises where it is read and taken apart: 1e999, a depth of thousands, another shape."""
ASIDE: Final = ".unreadable"


def state_root(setting: str, environment: Mapping[str, str], service: Path = SERVICE_STATE) -> Path:
    """The folder of ``runtime.state_dir``: as set, systemd's for the service, else the user's.

    Root, on a box that runs the service, means the service's: ``kelly-edge learn`` over ssh.
    """
    if setting:
        return Path(setting)
    if environment.get("STATE_DIRECTORY"):
        return Path(environment["STATE_DIRECTORY"].split(":")[0])
    if os.geteuid() == 0 and service.is_dir():
        return service
    home = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "/")) / ".local" / "state")
    return Path(home) / "kelly-edge"


def replace_file(path: Path, content: bytes, mode: int = 0o600, is_lasting: bool = True) -> None:
    """Write ``content`` beside ``path`` and rename: a reader, or a power cut, finds the old or the new.

    Everything is done within the opened folder, and the new file is made by this call alone: a name that was
    put there before, a link too, is refused and left as it is.

    Parameters
    ----------
    is_lasting: wait until it is on the disk, so that it survives a power cut.

    Raises
    ------
    OSError: it cannot be written; the old content stands and nothing is left beside it. What is no file is
        not replaced: root could put the content in the place of a device. Root is refused (EPERM) in another
        user's folder: see ``devices.files.owner``.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0 and os.fstat(folder).st_uid != 0:
            raise OSError(errno.EPERM, "root does not write into another user's folder")
        with contextlib.suppress(FileNotFoundError):
            kind = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
                raise OSError(errno.EEXIST, "a folder, a device or a pipe is in its place")
        beside = f".{path.name}.{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(beside, flags, mode, dir_fd=folder)
        try:
            try:
                os.fchmod(fd, mode)
                left = memoryview(content)
                while left:
                    left = left[os.write(fd, left) :]
                if is_lasting:
                    os.fsync(fd)
            finally:
                os.close(fd)
            os.rename(beside, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise
        if is_lasting:
            os.fsync(folder)
    finally:
        os.close(folder)


def read_json(path: Path) -> Any:
    """What the JSON file ``path`` holds.

    Raises
    ------
    FileNotFoundError: there is none.
    OSError, ValueError, RecursionError: it is no such file, larger than ``LARGEST`` bytes, or damaged.
    """
    # A pipe in its place must not hold anybody up.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("not a file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError("too large")
    return json.loads(content)


def set_aside(path: Path, consequence: str, warn: Callable[[str], None]) -> None:
    """Rename ``path``, which cannot be read, so that the next one to look finds nothing; say so."""
    aside = path.with_name(path.name + ASIDE)
    try:
        path.replace(aside)
    except FileNotFoundError:
        # Another process was first, and said so.
        return
    except OSError as error:
        warn(f"{path} cannot be read, nor set aside ({error.strerror}); remove it; {consequence}")
    else:
        warn(f"{path} could not be read: it is {aside.name} now; {consequence}")
