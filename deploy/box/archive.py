"""The bytes of a ``tar.xz``, bounded: how many at once, how many in all, and what unpacking them may take.

A few hundred bytes of xz can hold a header of hundreds of megabytes, and name a dictionary of gigabytes.
"""

import lzma
from pathlib import Path
from typing import Final

from deploy.box.disk import open_regular

PIECE_BYTES: Final = 64 << 10
"""The longest read: no header of ours is as long, and files are copied in pieces. Chosen for that reason."""
XZ_MEMORY_BYTES: Final = 96 << 20
"""xz's level 9 takes 65 MiB; we pack with level 1. Chosen: half as much again."""


class Unpacked:
    """What a ``tar.xz`` holds, as a file that :mod:`tarfile` reads from front to back.

    Parameters
    ----------
    longest: bytes in all.

    Raises
    ------
    lzma.LZMAError, EOFError: from every read: the archive is damaged, cut short, or asks for too much memory.
    ValueError: it is longer than it may be.
    OSError: the disk cannot be read.
    """

    def __init__(self, path: Path, longest: int) -> None:
        self._file = open(open_regular(path), "rb")  # noqa: SIM115  (closed by close)
        self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)
        self._at = 0
        self._left = longest

    def read(self, size: int) -> bytes:
        """``size`` bytes, fewer at the end alone."""
        if not 0 <= size <= PIECE_BYTES:
            raise ValueError(f"a header asks for {size} bytes")
        pieces, missing = [], size
        while missing and not self._xz.eof:
            given = b""
            if self._xz.needs_input and not (given := self._file.read(PIECE_BYTES)):
                raise EOFError("it ends in the middle")
            piece = self._xz.decompress(given, missing)
            pieces.append(piece)
            missing -= len(piece)
        content = b"".join(pieces)
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("it holds more than it may")
        self._at += len(content)
        return content

    def tell(self) -> int:
        """Bytes read so far."""
        return self._at

    def seek(self, to: int) -> int:
        """Forward only: a layer is read once, in its order."""
        if to < self._at:
            raise ValueError("a header leads backwards")
        while self._at < to and self.read(min(to - self._at, PIECE_BYTES)):
            pass
        return self._at

    def close(self) -> None:
        """Close the archive."""
        self._file.close()
