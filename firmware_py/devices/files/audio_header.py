"""What a recording's container promises, against what the file holds; and headers nobody finished, repaired.

A recorder that loses power leaves a header without sizes; a copy that was interrupted leaves a file without
its end. libsndfile reads most of them as far as they go, but tells neither, and some it refuses. Sources:
Microsoft RIFF; EBU Tech 3306 (RF64); Sony Wave64; Apple AIFF 1.3 and CAF; Sun/NeXT AU; RFC 3533 (Ogg); the
Xing/Info header as LAME writes it.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

HEAD_BYTES: Final = 8_192
"""Read of a file's beginning. Chosen: far more than headers have before their first sound."""
OGG_PAGE_BYTES: Final = 65_307
"""The largest page Ogg allows. RFC 3533."""
OGG_LAST: Final = 4
"""Bit of a page's header type: the last page of its stream. RFC 3533."""
STREAMED: Final = 0x7FFF_0000
"""A RIFF written to a pipe says a size from here on: it means nothing. Chosen below what sox
(about 0x7FFFFFFF) and ffmpeg (0xFFFFFFFF) write into a RIFF."""
MP3_SLACK: Final = 0.99
"""Tags at the end make the size of an MP3 uncertain by a little. Chosen by hand."""
MAX_CHUNKS: Final = 64
"""Looked at in a RIFF file. Chosen: a damaged one may have no end of them."""
W64_HEAD: Final = 24
"""Bytes of a Wave64 chunk's GUID and size; the size counts them. Sony's Wave64: 16 and 8 bytes."""


@dataclass(frozen=True)
class Account:
    """What the container says of its length.

    ``promised``: bytes the file should have at least, 0 where nothing says; ``is_unfinished``: the header or
    the end was never written. ``patch`` at ``patch_at`` and ``n_bytes`` (0: all) make it readable.
    """

    promised: int = 0
    is_unfinished: bool = False
    patch_at: int = 0
    patch: bytes = b""
    n_bytes: int = 0

    @property
    def needs_repair(self) -> bool:
        """Whether libsndfile reads more of ``Repaired``."""
        return bool(self.patch or self.n_bytes)


def account_of(file: BinaryIO, size: int) -> Account:
    """What a recording of ``size`` bytes says of itself; nothing in it is trusted."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    for magic, account in _ACCOUNTS:
        if head.startswith(magic):
            return account(head, file, size)
    return Account()


class Repaired(io.RawIOBase):
    """``file`` read with its header as ``account`` repairs it; the file itself is not touched."""

    def __init__(self, file: BinaryIO, size: int, account: Account) -> None:
        self._file = file
        self._size = account.n_bytes or size
        self._patch_at, self._patch = account.patch_at, account.patch
        self._at = 0

    def readable(self) -> bool:
        """See ``io.RawIOBase``."""
        return True

    def seekable(self) -> bool:
        """See ``io.RawIOBase``."""
        return True

    def tell(self) -> int:
        """See ``io.RawIOBase``."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """See ``io.RawIOBase``."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """See ``io.RawIOBase``."""
        self._file.seek(self._at)
        found = bytearray(self._file.read(max(0, min(len(buffer), self._size - self._at))))
        low = max(self._at, self._patch_at)
        high = min(self._at + len(found), self._patch_at + len(self._patch))
        if low < high:
            found[low - self._at : high - self._at] = self._patch[
                low - self._patch_at : high - self._patch_at
            ]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _chunk(
    file: BinaryIO, at: int, wanted: bytes, order: Literal["little", "big"], width: int
) -> tuple[int, int]:
    """Where the size field of chunk ``wanted`` stands, and its value; (0, 0) where there is none."""
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(4 + width)
        if len(head) < 4 + width:
            break
        size = int.from_bytes(head[4:], order)
        if head.startswith(wanted):
            return at + 4, size
        at += 4 + width + size + (size & 1 if width == 4 else 0)
    return 0, 0


def _sized(field: int, width: int, size: int, file_size: int, order: Literal["little", "big"]) -> Account:
    """The account of a data chunk whose size field of ``width`` bytes stands at ``field``."""
    begin = field + width
    left = file_size - begin
    if field == 0 or left <= 0:
        return Account()
    limit = STREAMED if width == 4 else 1 << 62
    if size == 0 or size >= limit:
        mine = min(left, STREAMED - 1) if width == 4 else left
        return Account(0, True, field, mine.to_bytes(width, order))
    return Account(begin + size)


def _riff(head: bytes, file: BinaryIO, size: int) -> Account:
    field, data = _chunk(file, 12, b"data", "little", 4)
    account = _sized(field, 4, data, size, "little")
    promised = int.from_bytes(head[4:8], "little") + 8
    if account.is_unfinished or promised >= STREAMED:
        return account
    # The pad byte of an odd chunk is counted and often missing.
    return Account(max(promised - 1, account.promised))


def _rf64(head: bytes, file: BinaryIO, size: int) -> Account:
    return Account(int.from_bytes(head[20:28], "little") + 7 if head[12:16] == b"ds64" else 0)


def _aiff(head: bytes, file: BinaryIO, size: int) -> Account:
    field, sound = _chunk(file, 12, b"SSND", "big", 4)
    # libsndfile reads to the end of the file whatever these sizes are.
    if field and (sound == 0 or sound >= STREAMED):
        return Account(0, True)
    promised = int.from_bytes(head[4:8], "big") + 8
    return Account(max(promised - 1 if promised < STREAMED else 0, field + 4 + sound if field else 0))


def _au(head: bytes, file: BinaryIO, size: int) -> Account:
    begin, data = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
    if data == 0 or data >= STREAMED:
        # All ones is AU's own way to say that the length is unknown.
        left = max(0, min(size - begin, STREAMED - 1))
        return Account(0, True, 8, left.to_bytes(4, "big")) if data == 0 and left else Account(0, True)
    return Account(begin + data)


def _w64(head: bytes, file: BinaryIO, size: int) -> Account:
    at = 40
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        chunk = file.read(W64_HEAD)
        if len(chunk) < W64_HEAD:
            break
        n = int.from_bytes(chunk[16:], "little")
        if chunk.startswith(b"data"):
            left = size - at
            if n <= W64_HEAD or n >= 1 << 62:
                return Account(0, True, at + 16, left.to_bytes(8, "little"))
            return Account(at + n)
        at += max(W64_HEAD, (n + 7) // 8 * 8)
    return Account()


def _caf(head: bytes, file: BinaryIO, size: int) -> Account:
    field, data = _chunk(file, 8, b"data", "big", 8)
    account = _sized(field, 8, data, size, "big")
    if account.promised > size:
        # libsndfile refuses a data chunk that is longer than the file.
        return Account(account.promised, False, field, (size - field - 8).to_bytes(8, "big"))
    return account


def _ogg(head: bytes, file: BinaryIO, size: int) -> Account:
    # The last page's header may be as far back as two pages, where the last one was cut.
    start = max(0, size - 2 * OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read()
    end, last, is_last = 0, tail.rfind(b"OggS"), False
    at = last
    while at >= 0:
        lengths = at + 27
        n_segments = tail[lengths - 1] if lengths <= len(tail) else 0
        body = lengths + n_segments
        end_of_page = body + sum(tail[lengths:body])
        if lengths <= len(tail) and body <= len(tail) and end_of_page <= len(tail):
            end, is_last = start + end_of_page, bool(tail[at + 5] & OGG_LAST)
            break
        at = tail.rfind(b"OggS", 0, at)
    if is_last:
        return Account(end)
    # Opus is refused where a page is cut: it ends at the last whole one.
    return Account(0, True, n_bytes=end if end < size else 0)


def _mp3(head: bytes, file: BinaryIO, size: int) -> Account:
    start = 0
    if head.startswith(b"ID3") and len(head) >= 10:
        # Four bytes of seven bits each.
        start = 10
        for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True):
            start += (byte & 0x7F) << shift
    file.seek(start)
    frame = file.read(256)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return Account()
    has_frames, has_bytes = frame[at + 7] & 1, frame[at + 7] & 2
    field = at + 8 + 4 * has_frames
    promised = int.from_bytes(frame[field : field + 4], "big") if has_bytes else 0
    return Account(start + int(MP3_SLACK * promised) if promised else 0)


_ACCOUNTS: Final[tuple[tuple[bytes, Callable[[bytes, BinaryIO, int], Account]], ...]] = (
    (b"RIFF", _riff),
    (b"RF64", _rf64),
    (b"BW64", _rf64),
    (b"FORM", _aiff),
    (b".snd", _au),
    (b"riff", _w64),
    (b"caff", _caf),
    (b"OggS", _ogg),
    (b"ID3", _mp3),
    (b"\xff\xfb", _mp3),
    (b"\xff\xfa", _mp3),
    (b"\xff\xf3", _mp3),
    (b"\xff\xf2", _mp3),
)
"""What tells how long a file is, by its first bytes. FLAC needs no entry: its decoder fails at the cut."""
