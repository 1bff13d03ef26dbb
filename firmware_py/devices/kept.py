"""What outlives a session and a release: the state folder, and files replaced whole or not at all."""

import contextlib
import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SERVICE_STATE: Final = Path("/var/lib/kelly-edge")
"""Where systemd keeps the service's."""


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
    is_lasting: wait until it is on the disk, for what must survive a power cut.

    Raises
    ------
    OSError: it cannot be written; the old content stands and nothing is left beside it. Root is refused
        (EPERM) in another user's folder: see ``devices.owner``.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0 and os.fstat(folder).st_uid != 0:
            raise OSError(errno.EPERM, "root does not write into another user's folder")
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
