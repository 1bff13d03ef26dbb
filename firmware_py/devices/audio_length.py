"""Is a recording all there? What its container promises against what the file holds.

libsndfile quietly plays what is left of most files that were cut short; their headers tell. FLAC needs
no entry: its decoder fails at the cut. Sources: Microsoft RIFF; EBU Tech 3306 (RF64); RFC 3533 (Ogg);
the Xing/Info header as LAME writes it.
"""

from collections.abc import Callable
from typing import BinaryIO, Final

HEAD_BYTES: Final = 8_192
OGG_PAGE_BYTES: Final = 65_307
"""The largest page Ogg allows."""
STREAMED: Final = 0x7FFF_0000
"""A RIFF written to a pipe says a size from here on: it means nothing."""
MP3_SLACK: Final = 0.99
"""Tags at the end make the size of an MP3 uncertain by a little."""


def promised_bytes(file: BinaryIO, size: int) -> int:
    """How many bytes a recording of ``size`` bytes should have at least; 0 where nothing says.

    ``file`` is read from its beginning; nothing in it is trusted.
    """
    head = file.read(HEAD_BYTES)
    for magic, promise in _PROMISES:
        if head.startswith(magic):
            return promise(head, file, size)
    return 0


def _riff(head: bytes, file: BinaryIO, size: int) -> int:
    promised = int.from_bytes(head[4:8], "little") + 8
    # The pad byte of an odd chunk is counted and often missing.
    return promised - 1 if promised < STREAMED else 0


def _rf64(head: bytes, file: BinaryIO, size: int) -> int:
    return int.from_bytes(head[20:28], "little") + 7 if head[12:16] == b"ds64" else 0


def _ogg(head: bytes, file: BinaryIO, size: int) -> int:
    start = max(0, size - OGG_PAGE_BYTES)
    file.seek(start)
    tail = file.read(OGG_PAGE_BYTES)
    page = tail.rfind(b"OggS")
    if page < 0:
        return 0
    lengths = page + 27
    n_segments = tail[lengths - 1] if lengths <= len(tail) else 0
    body = lengths + n_segments
    return start + body + sum(tail[lengths:body])


def _mp3(head: bytes, file: BinaryIO, size: int) -> int:
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
        return 0
    has_frames, has_bytes = frame[at + 7] & 1, frame[at + 7] & 2
    field = at + 8 + 4 * has_frames
    promised = int.from_bytes(frame[field : field + 4], "big") if has_bytes else 0
    return start + int(MP3_SLACK * promised) if promised else 0


_PROMISES: Final[tuple[tuple[bytes, Callable[[bytes, BinaryIO, int], int]], ...]] = (
    (b"RIFF", _riff),
    (b"RF64", _rf64),
    (b"BW64", _rf64),
    (b"OggS", _ogg),
    (b"ID3", _mp3),
    (b"\xff\xfb", _mp3),
    (b"\xff\xfa", _mp3),
    (b"\xff\xf3", _mp3),
    (b"\xff\xf2", _mp3),
)
"""What says how long a file is, by its first bytes."""
