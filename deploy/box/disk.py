"""Reading what nobody has vouched for yet, and writing what must outlive a power cut.

Read: regular files alone, none behind a symbolic link, and never more than a stated number of bytes: a FIFO,
a device or an endless file ends in one line. Written: beside, synced, renamed, and the folder synced too.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deploy.box.faults import ReleaseError

PIECE_BYTES: Final = 1 << 20
"""Chosen: copied at a time."""
# POSIX file modes 0644 and 0755.
FILE_MODE: Final = 0o644
FOLDER_MODE: Final = 0o755
"""The services, which are other users, read the releases; root alone writes them."""


@contextmanager
def readable_by_all() -> Iterator[None]:
    """Folders and files get the modes they are given, independently of the umask it was started with."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def open_regular(path: Path) -> int:
    """A descriptor of ``path`` for reading.

    Raises
    ------
    OSError: it is missing, a link, or cannot be opened.
    ReleaseError: it is anything but a regular file.
    """
    # Without O_NONBLOCK opening a FIFO waits for its writer.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ReleaseError(f"{path} is not a regular file; put the file itself there")
    return fd


def read_bounded(path: Path, longest: int) -> bytes:
    """The content of a regular file of at most ``longest`` bytes.

    Raises
    ------
    OSError: it is missing, a link, or cannot be read.
    ReleaseError: it is not a regular file, or is longer.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        # The size is asked first and the reading bounded all the same: some files say 0 and go on for ever.
        is_short = os.fstat(file.fileno()).st_size <= longest
        content = file.read(longest + 1) if is_short else b""
    if not is_short or len(content) > longest:
        raise ReleaseError(f"{path} is larger than {longest} bytes; put the right file there")
    return content


def sha256_of(path: Path) -> str:
    """Of a regular file's content, read in pieces and no further than its size.

    Raises
    ------
    OSError: it is missing, a link, or cannot be read.
    ReleaseError: it is not a regular file.
    """
    digest = hashlib.sha256()
    with os.fdopen(open_regular(path), "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def write_whole(path: Path, content: bytes, mode: int = FILE_MODE) -> None:
    """``content`` at ``path``, or what was there before.

    Raises
    ------
    ReleaseError: the disk refuses.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with readable_by_all():
            path.parent.mkdir(parents=True, exist_ok=True)
        # Not through a link that somebody put at the name beside.
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise ReleaseError(f"cannot write {path} ({error.strerror}); make room on the box") from None


def write_link(path: Path, points_to: str) -> None:
    """A symbolic link at ``path``, or what was there before, on the disk when this returns.

    Raises
    ------
    OSError: the disk refuses.
    """
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(points_to)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """A name in ``folder`` outlives a power cut once the folder is synced."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
