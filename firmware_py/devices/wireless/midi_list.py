"""The list of MIDI messages in a packet: RFC 6295, section 3. Each is written with its status byte."""

from typing import Final

from firmware_py.ports.midi import (
    FIRST_REALTIME,
    KIND,
    NOTE_OFF,
    ONE_DATA_BYTE,
    SONG_POSITION,
    SYSTEM,
)

SYSTEM_DATA: Final = {0xF1: 1, SONG_POSITION: 2, 0xF3: 1, 0xF6: 0}
"""MIDI 1.0: data bytes of the system common messages."""
EXCLUSIVE, EXCLUSIVE_END = 0xF0, 0xF7
"""MIDI 1.0: around system exclusive; RFC 6295 begins a later segment with the end's byte."""


def read_list(data: bytes, has_delta: bool) -> tuple[list[tuple[int, bytes]], int]:
    """The messages with their ticks, and how many system exclusive ones were passed over.

    Raises
    ------
    ValueError, IndexError: it is malformed.
    """
    messages: list[tuple[int, bytes]] = []
    at = ticks = status = n_exclusive = 0
    while at < len(data):
        if has_delta:
            delta = 0
            for _ in range(4):
                at, delta, goes_on = at + 1, delta << 7 | data[at] & 0x7F, data[at] & 0x80
                if not goes_on:
                    break
            ticks += delta
            if at == len(data):
                break
        has_delta = True
        byte = data[at]
        if byte in (EXCLUSIVE, EXCLUSIVE_END):
            at = next((n + 1 for n in range(at + 1, len(data)) if data[n] >= NOTE_OFF), len(data))
            n_exclusive, status = n_exclusive + 1, 0
            continue
        if byte >= FIRST_REALTIME:
            messages.append((ticks, data[at : at + 1]))
            at += 1
            continue
        if byte >= NOTE_OFF:
            at, status = at + 1, byte
        n_data = 1 if status & KIND in ONE_DATA_BYTE else 2
        if status >= SYSTEM:
            n_data = SYSTEM_DATA.get(status, -1)
        message = bytes((status, *data[at : at + n_data]))
        if status < NOTE_OFF or len(message) != 1 + n_data or any(b >= NOTE_OFF for b in message[1:]):
            raise ValueError("no MIDI message")
        messages.append((ticks, message))
        at += n_data
        status = status if status < SYSTEM else 0
    return messages, n_exclusive


def delta_bytes(ticks: int) -> bytes:
    """Ticks since the message before: seven bits per byte, all but the last with the upper bit."""
    out = bytes((ticks & 0x7F,))
    while ticks := ticks >> 7:
        out = bytes((0x80 | ticks & 0x7F,)) + out
    return out
