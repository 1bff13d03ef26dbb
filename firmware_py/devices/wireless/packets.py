"""RTP-MIDI as bytes: the commands of a session, and MIDI messages with their times.

Sources: RFC 6295 (payload), RFC 3550 (header), and the session protocol that Apple published.
Whatever a network brings is read without an exception; what is malformed is None.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from firmware_py.devices.wireless.midi_list import delta_bytes, read_list

TICKS_PER_S: Final = 10_000
"""By definition of Apple's session protocol: times count 100 microseconds."""
WRAP: Final = 1 << 32
"""RFC 3550: a time stamp has 32 bits."""
MOST_BYTES: Final = 1_472
"""Of a packet. By definition of Ethernet and IPv4: a datagram that is not cut in parts."""
NAME_CHARACTERS: Final = 64
"""Of the other end's name. Chosen: what a line of the journal bears."""
SIGNATURE, VERSION, PAYLOAD_TYPE = 0xFFFF, 2, 0x61
"""Apple's session protocol: how a command begins, its version, and the type of MIDI packets."""
RTP_VERSION: Final = 0x80
"""RFC 3550: version 2 in the upper two bits, without padding, extension and sources."""
LONG, HAS_JOURNAL, HAS_FIRST_DELTA, LENGTH = 0x80, 0x40, 0x20, 0x0F
"""RFC 6295, section 3: bits B, J and Z of the command section, and LEN."""
SHORT_LIST: Final = 15
"""RFC 6295, section 3: bytes of a list whose LEN has four bits."""


@dataclass(frozen=True)
class Exchange:
    """An invitation (IN), its answer (OK, NO) or a farewell (BY)."""

    word: bytes
    token: int
    ssrc: int
    name: str = ""


@dataclass(frozen=True)
class Sync:
    """A part of the exchange of clocks (CK), with as many ``times`` in ticks as are known."""

    ssrc: int
    count: int
    times: tuple[int, int, int]


@dataclass(frozen=True)
class Feedback:
    """The number of the last packet that came (RS)."""

    ssrc: int
    number: int


@dataclass(frozen=True)
class Midi:
    """Messages with their ticks since ``ticks``, and the recovery journal (empty: none)."""

    ssrc: int
    number: int
    ticks: int
    messages: list[tuple[int, bytes]]
    journal: bytes = b""
    n_exclusive: int = 0
    """System exclusive messages that were passed over."""


def read(data: bytes) -> Exchange | Sync | Feedback | Midi | None:
    """What a datagram says; None where it is malformed or of another kind."""
    try:
        if len(data) > MOST_BYTES:
            return None
        if struct.unpack_from(">H", data)[0] != SIGNATURE:
            return _read_midi(data)
        word = data[2:4]
        if word in (b"IN", b"OK", b"NO", b"BY"):
            version, token, ssrc = struct.unpack_from(">III", data, 4)
            name = data[16:].partition(b"\0")[0].decode("utf-8", "replace")[:NAME_CHARACTERS]
            return Exchange(word, token, ssrc, name) if version == VERSION else None
        if word == b"CK":
            ssrc, count, *times = struct.unpack_from(">IB3x3Q", data, 4)
            return Sync(ssrc, count, (times[0], times[1], times[2]))
        return Feedback(*struct.unpack_from(">IH", data, 4)) if word == b"RS" else None
    except (struct.error, IndexError, ValueError):
        return None


def _read_midi(data: bytes) -> Midi | None:
    first, kind, number, ticks, ssrc = struct.unpack_from(">BBHII", data)
    if first != RTP_VERSION or kind & 0x7F != PAYLOAD_TYPE:
        return None
    flags, begin = data[12], 13
    length = flags & LENGTH
    if flags & LONG:
        length, begin = length << 8 | data[13], 14
    if begin + length > len(data):
        return None
    messages, n_exclusive = read_list(data[begin : begin + length], bool(flags & HAS_FIRST_DELTA))
    journal = data[begin + length :] if flags & HAS_JOURNAL else b""
    return Midi(ssrc, number, ticks, messages, journal, n_exclusive)


def write_exchange(word: bytes, token: int, ssrc: int, name: str = "") -> bytes:
    """An invitation, its answer or a farewell; ``name`` only with the first two."""
    ending = name.encode() + b"\0" if name else b""
    return struct.pack(">H2sIII", SIGNATURE, word, VERSION, token, ssrc) + ending


def write_sync(ssrc: int, count: int, times: Sequence[int]) -> bytes:
    """A part of the exchange of clocks."""
    return struct.pack(">H2sIB3x3Q", SIGNATURE, b"CK", ssrc, count, *times)


def write_feedback(ssrc: int, number: int) -> bytes:
    """What came last."""
    return struct.pack(">H2sIHH", SIGNATURE, b"RS", ssrc, number, 0)


def write_midi(packet: Midi) -> bytes:
    """A packet of MIDI; its first message is at ``ticks``, later ones rise."""
    data, before = b"", 0
    for ticks, message in packet.messages:
        data += (delta_bytes(ticks - before) if data else b"") + message
        before = ticks
    flags = HAS_JOURNAL if packet.journal else 0
    if len(data) == 1:
        # A list of one byte is legal, and some take it for an empty one: with a delta time they read it.
        flags, data = flags | HAS_FIRST_DELTA, b"\0" + data
    if len(data) <= SHORT_LIST:
        length = bytes((flags | len(data),))
    else:
        length = struct.pack(">H", (flags | LONG) << 8 | len(data))
    kind = PAYLOAD_TYPE | (0x80 if data else 0)
    header = struct.pack(
        ">BBHII", RTP_VERSION, kind, packet.number & 0xFFFF, packet.ticks % WRAP, packet.ssrc
    )
    return header + length + data + packet.journal
