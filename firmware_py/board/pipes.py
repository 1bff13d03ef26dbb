"""Rings and cells between processes: named FIFOs and mapped files in the run directory.

``PipeRing``: a kernel pipe. Writes of at most ``PIPE_BUF`` bytes are atomic, so records never tear and a
restart of either end loses nothing that was written; a waiting reader is woken by the kernel. Bytes that are
none of ours are found by each record's frame.
``FileCell``: two slots and a count of writes in a mapped file. The writer fills the slot nobody is sent
to, then raises the count; a writer stopped or killed in between leaves the last value readable. Fences are
libatomic's: plain stores are reordered on ARM (jack2 #388, #715).
Either end may come first; it creates the file. A file that others own or may write to is refused.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import termios
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import OutputError

PAGE: Final = 4_096
"""A pipe counts its capacity in pages; also the largest atomic write (PIPE_BUF). Linux, on the
architectures of a Raspberry Pi and of PCs."""
# Linux: fcntl's command that sets a pipe's capacity (F_LINUX_SPECIFIC_BASE + 7); GCC: ``__ATOMIC_SEQ_CST`` of
# libatomic's fence.
F_SETPIPE_SZ: Final = 1_031
SEQ_CST: Final = 5
HEADER: Final = struct.Struct("<II")
"""Before each record in a pipe: its kind, and the CRC-32 of its bytes."""
READ_ATTEMPTS: Final = 8
"""A reader overtaken this often keeps its old value: it must never spin on a writer. Chosen by hand: a
reader is overtaken hardly ever, eight times in a row never."""


def _fence() -> Callable[[int], None]:
    try:
        fence = ctypes.CDLL("libatomic.so.1").atomic_thread_fence
    except (OSError, AttributeError):
        raise OutputError(
            "cells between processes need memory fences (libatomic.so.1); install the package libatomic1"
        ) from None
    fence.argtypes, fence.restype = [ctypes.c_int], None
    return fence  # type: ignore[no-any-return]


def _refused(path: Path, error: OSError) -> OutputError:
    remedy = (
        "free space there, or set runtime.run_dir"
        if error.errno == errno.ENOSPC
        else "set runtime.run_dir to a folder of yours"
    )
    return OutputError(f"cannot open {path}: {error.strerror}; {remedy}")


def record_kind(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """A number for the layout of a record: other layouts, of another version for one, have other numbers."""
    return zlib.crc32(repr((dtype.descr, shape)).encode())


def refuse_strangers(
    path: Path, fd: int, is_kind: Callable[[int], bool], kind: str, owners: set[int]
) -> None:
    """See that the open ``fd`` is a ``kind`` of file that belongs to one of ``owners`` and to nobody else.

    Raises
    ------
    OutputError: it is not; the descriptor is closed.
    """
    found = os.fstat(fd)
    fault = ""
    if not is_kind(found.st_mode):
        fault = f"is not a {kind}"
    elif found.st_uid not in owners:
        fault = "belongs to another user"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = f"may be written to by others (mode {stat.S_IMODE(found.st_mode):04o})"
    if fault:
        os.close(fd)
        raise OutputError(f"{path} {fault}; remove it or set runtime.run_dir")


class PipeRing:
    """A ring over the FIFO ``path``.

    Each record travels in a frame: its kind, a checksum, its bytes. What somebody else wrote into the FIFO is
    passed over up to the next whole frame, and counted in ``n_foreign``; no later record is shifted by it.

    Parameters
    ----------
    record: dtype and shape of a record; with its frame at most 4,096 bytes.
    capacity: records held; the next one is dropped and counted.
    is_ours: the FIFO is made where there is none, and must be this user's own. False: it is another process's
        of the same user, or of the service that root speaks to; it is there or a ``FileNotFoundError``.

    Raises
    ------
    OutputError: the FIFO cannot be made or opened, or others may write to it.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], capacity: int, is_ours: bool = True
    ) -> None:
        self.n_dropped = 0
        self.n_foreign = 0
        n_bytes = dtype.itemsize * int(np.prod(shape, dtype=int))
        self._size = HEADER.size + n_bytes
        if not n_bytes or self._size > PAGE:
            raise ValueError(f"a record of {n_bytes} bytes is not 1..{PAGE - HEADER.size}")
        self._kind = record_kind(dtype, shape)
        self._kind_bytes = self._kind.to_bytes(4, "little")
        self._full = capacity * self._size
        self._waiting = array.array("i", [0])
        self._frame = bytearray(self._size)
        self._view = memoryview(self._frame)
        self._n_held = 0
        self._is_passing_over = False
        try:
            if is_ours:
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(path, 0o600)
            # Read and write: neither end's absence is then an error, and a restart finds what waits.
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            owners = {os.geteuid()} if is_ours else {os.geteuid(), path.parent.stat().st_uid}
            refuse_strangers(path, self._fd, stat.S_ISFIFO, "pipe", owners)
            if is_ours:
                # A record never straddles pages, and a page half read still counts: one more than full.
                n_pages = -(-capacity // (PAGE // self._size)) + 1
                fcntl.fcntl(self._fd, F_SETPIPE_SZ, n_pages * PAGE)
        except FileNotFoundError:
            if not is_ours:
                raise
            raise OutputError(f"cannot make {path}: its folder is gone; set runtime.run_dir") from None
        except OSError as error:
            if error.errno == errno.EPERM:
                raise OutputError(
                    f"cannot hold {capacity} records in {path}: raise /proc/sys/fs/pipe-max-size"
                ) from None
            raise _refused(path, error) from None

    def fileno(self) -> int:
        """For select and poll: readable while a record waits."""
        return self._fd

    def n_waiting(self) -> int:
        """Records not yet read."""
        fcntl.ioctl(self._fd, termios.FIONREAD, self._waiting, True)
        return (self._waiting[0] + self._n_held) // self._size

    def write(self, record: NDArray[Any]) -> bool:
        """See ``Ring``."""
        fcntl.ioctl(self._fd, termios.FIONREAD, self._waiting, True)
        if self._waiting[0] >= self._full:
            self.n_dropped += 1
            return False
        body = _bytes_of(record)
        try:
            # One atomic write, whatever its parts.
            os.writev(self._fd, (HEADER.pack(self._kind, zlib.crc32(body)), body))
        except BlockingIOError:
            self.n_dropped += 1
            return False
        return True

    def read(self, out: NDArray[Any]) -> bool:
        """See ``Ring``."""
        while self._fill():
            kind, checksum = HEADER.unpack_from(self._frame)
            body = self._view[HEADER.size :]
            if kind == self._kind and checksum == zlib.crc32(body):
                self._n_held, self._is_passing_over = 0, False
                _bytes_of(out)[:] = body
                return True
            self._pass_over()
        return False

    def _fill(self) -> bool:
        """Whether a whole frame is held."""
        try:
            self._n_held += os.readv(self._fd, (self._view[self._n_held :],))
        except BlockingIOError:
            return False
        return self._n_held == self._size

    def _pass_over(self) -> None:
        """Drop what stands before the next place where a frame may begin."""
        if not self._is_passing_over:
            self._is_passing_over = True
            self.n_foreign += 1
        begin = self._frame.find(self._kind_bytes, 1)
        if begin < 0:
            # Its first bytes may be the last that were read.
            begin = self._size - len(self._kind_bytes) + 1
        self._n_held = self._size - begin
        self._frame[: self._n_held] = self._frame[begin:]

    def close(self) -> None:
        """Give the descriptor back; the FIFO stays for the other end."""
        os.close(self._fd)


def _bytes_of(record: NDArray[Any]) -> memoryview:
    """The record's own memory as bytes: readv wants a plain writable buffer."""
    return record.reshape(-1).view(np.uint8).data


class FileCell:
    """A cell over the mapped file ``path``.

    Raises
    ------
    OutputError: the file cannot be made or opened, is of another version, or others may write to it.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._fence = _fence()
        # The count has a cache line of its own.
        size = 64 + 2 * dtype.itemsize
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            refuse_strangers(path, fd, stat.S_ISREG, "file", {os.geteuid()})
            try:
                if os.fstat(fd).st_size not in (0, size):
                    raise OutputError(
                        f"{path} is of another version of Kelly Edge; stop that one or remove the file"
                    )
                # A file only made longer has no memory yet: where none is left, the first write is SIGBUS.
                os.posix_fallocate(fd, 0, size)
                self._map = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        except OSError as error:
            raise _refused(path, error) from None
        self._count = ctypes.c_uint64.from_buffer(self._map)
        self._slots = np.frombuffer(self._map, dtype, 2, 64)
        self._copy = np.zeros((), dtype)

    @property
    def n_writes(self) -> int:
        """How often it was written: moves while its writer lives."""
        return int(self._count.value)

    def write(self, record: NDArray[Any]) -> None:
        """See ``Cell``."""
        count, fence = self._count, self._fence
        n_next = count.value + 1
        fence(SEQ_CST)
        self._slots[n_next & 1] = record
        fence(SEQ_CST)
        count.value = n_next

    def read(self, out: NDArray[Any]) -> bool:
        """See ``Cell``; bounded: False too when the writer overtook ``READ_ATTEMPTS`` times."""
        count, fence = self._count, self._fence
        for _ in range(READ_ATTEMPTS):
            n_before = count.value
            if n_before == 0:
                return False
            fence(SEQ_CST)
            self._copy[...] = self._slots[n_before & 1]
            fence(SEQ_CST)
            # The slot copied is the writer's next but one: untouched while the count stands.
            if count.value == n_before:
                out[...] = self._copy
                return True
        return False


class CellView:
    """A ``FileCell`` seen from outside the box: it is read, and neither made nor changed.

    Raises
    ------
    FileNotFoundError: no box was there.
    OutputError: the file may not be read, or holds another version's record.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._fence = _fence()
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise OutputError(
                f"cannot read {path} ({error}); ask as the user of the box, or as root"
            ) from None
        if len(data) != 64 + 2 * dtype.itemsize:
            raise OutputError(f"{path} is of another version of Kelly Edge; ask with that version")
        self._count = np.frombuffer(data, np.uint64, 1)
        self._slots = np.frombuffer(data, dtype, 2, 64)
        self._copy = np.zeros((), dtype)

    def read(self, out: NDArray[Any]) -> bool:
        """See ``FileCell``."""
        for _ in range(READ_ATTEMPTS):
            n_before = int(self._count[0])
            if n_before == 0:
                return False
            self._fence(SEQ_CST)
            self._copy[...] = self._slots[n_before & 1]
            self._fence(SEQ_CST)
            if int(self._count[0]) == n_before:
                out[...] = self._copy
                return True
        return False
