"""The recovery journal of RFC 6295 as it comes: the messages that it tells of.

Chapters P (program), C (controllers), W (bend) and N (notes) are obeyed, the others skipped.
"""

import struct
from collections.abc import Iterator

from firmware_py.ports.midi import CHANNEL, CONTROL_CHANGE, NOTE_OFF, NOTE_ON, PITCH_BEND, PROGRAM_CHANGE

HAS_SYSTEM, HAS_CHANNELS, N_CHANNELS_LESS_ONE = 0x40, 0x20, 0x0F
"""RFC 6295, appendix A and section 5: bits Y and A of the journal's header, and TOTCHAN."""
P, C, M, W, N = 0x80, 0x40, 0x20, 0x10, 0x08
"""RFC 6295, appendix A: chapters of a channel, in the order in which they stand."""


def told(journal: bytes) -> Iterator[bytes]:
    """The messages that a journal tells of.

    Raises
    ------
    ValueError, IndexError, struct.error: it is malformed.
    """
    header, at = journal[0], 3
    if header & HAS_SYSTEM:
        at += struct.unpack_from(">H", journal, at)[0] & 0x3FF
    for _ in range((header & N_CHANNELS_LESS_ONE) + 1 if header & HAS_CHANNELS else 0):
        begin, chapters = struct.unpack_from(">HB", journal, at)
        length = begin & 0x3FF
        if length < 3 or at + length > len(journal):
            raise ValueError("a channel beyond the journal's end")
        yield from _told_of_channel(begin >> 11 & CHANNEL, chapters, journal[at + 3 : at + length])
        at += length


def _told_of_channel(channel: int, chapters: int, data: bytes) -> Iterator[bytes]:
    at = 0
    if chapters & P:
        if data[1] & 0x80:
            yield bytes((CONTROL_CHANGE | channel, 0, data[1] & 0x7F))
            yield bytes((CONTROL_CHANGE | channel, 32, data[2] & 0x7F))
        yield bytes((PROGRAM_CHANGE | channel, data[0] & 0x7F))
        at = 3
    if chapters & C:
        end = at + 1 + 2 * ((data[at] & 0x7F) + 1)
        for n in range(at + 1, end, 2):
            # With the upper bit it is no value but a count, which is not followed.
            if data[n + 1] < 0x80:
                yield bytes((CONTROL_CHANGE | channel, data[n] & 0x7F, data[n + 1]))
        at = end
    if chapters & M:
        at += struct.unpack_from(">H", data, at)[0] & 0x3FF
    if chapters & W:
        yield bytes((PITCH_BEND | channel, data[at] & 0x7F, data[at + 1] & 0x7F))
        at += 2
    if chapters & N:
        yield from _told_notes(channel, data[at:])


def _told_notes(channel: int, data: bytes) -> Iterator[bytes]:
    n_logs, low, high = data[0] & 0x7F, data[1] >> 4, data[1] & 0x0F
    if n_logs == 127 and low == 15 and high == 0:
        n_logs = 128
    bits = 2 + 2 * n_logs
    for octet in range(low, high + 1):
        for bit in range(8):
            if data[bits + octet - low] & 0x80 >> bit:
                yield bytes((NOTE_OFF | channel, 8 * octet + bit, 0))
    for n in range(2, bits, 2):
        note, velocity = data[n] & 0x7F, data[n + 1]
        if velocity & 0x80 and velocity & 0x7F:
            yield bytes((NOTE_ON | channel, note, velocity & 0x7F))
