"""The recovery journal of RFC 6295 as it is sent: a packet tells of those before it, should one be lost.

Chapters P (program), C (controllers), W (bend) and N (notes) are written. Parameters (RPN, NRPN) and channel
mode messages are no controllers here, for their order counts; All Notes Off becomes the release of each note.
"""

import struct
from typing import Final

from firmware_py.devices.wireless.journal_read import HAS_CHANNELS, C, N, P, W
from firmware_py.devices.wireless.played import Key, Played, states
from firmware_py.ports.midi import (
    CONTROL_CHANGE,
    FIRST_MODE_MESSAGE,
    KIND,
    N_CHANNELS,
    NOTE_ON,
    PITCH_BEND,
    PROGRAM_CHANGE,
    STALE_S,
    SYSTEM,
)

MOST_BYTES: Final = 900
"""Of a journal, so that a packet is not cut in parts; channels beyond are left out, the oldest first.
Chosen: one channel with every note and controller."""
NO_RELEASES: Final = 0xF0
"""RFC 6295, appendix A.6: LOW above HIGH, so no bits of releases follow."""
MOST_NOTES: Final = 126
"""Note logs of a channel; 127 and 128 would be written in another way (RFC 6295, appendix A.6)."""


class SentJournal:
    """What the other end may have missed: everything since the last packet that it confirmed."""

    def __init__(self) -> None:
        self._states: dict[Key, tuple[int, float, bytes]] = {}
        self._played = Played()
        self._confirmed: int | None = None

    def add(self, number: int, time_s: float, message: bytes) -> None:
        """A message goes out in packet ``number`` (which never wraps here)."""
        if message[0] >= SYSTEM:
            return
        before = dict(self._played.now) if message[0] & KIND == CONTROL_CHANGE else {}
        self._played.take(message)
        changed = dict(states(message))
        if message[0] & KIND == CONTROL_CHANGE and message[1] >= FIRST_MODE_MESSAGE:
            changed = {key: data for key, data in self._played.now.items() if before.get(key) != data}
        for key, data in changed.items():
            # The newest stand last.
            self._states.pop(key, None)
            self._states[key] = (number, time_s, data)

    def confirm(self, number: int) -> None:
        """The other end has all up to packet ``number``: what it missed of it, it has repaired."""
        self._confirmed = number
        self._states = {key: state for key, state in self._states.items() if state[0] > number}

    def write(self, number: int, now_s: float) -> bytes:
        """The journal of packet ``number``, before its own messages are added."""
        oldest = number - 1 if self._confirmed is None else min(self._confirmed + 1, number - 1)
        oldest = min([oldest, *(state[0] for state in self._states.values())])
        channels: list[bytes] = []
        for channel in dict.fromkeys(key[0] for key in reversed(self._states)):
            data = self._write_channel(channel, now_s)
            if sum(map(len, channels)) + len(data) <= MOST_BYTES and len(channels) < N_CHANNELS:
                channels.append(data)
        header = HAS_CHANNELS | len(channels) - 1 if channels else 0
        return struct.pack(">BH", header, oldest & 0xFFFF) + b"".join(channels)

    def _write_channel(self, channel: int, now_s: float) -> bytes:
        kinds: dict[int, list[tuple[int, float, bytes]]] = {}
        for (of_channel, kind, number), (_, time_s, data) in self._states.items():
            if of_channel == channel:
                kinds.setdefault(kind, []).append((number, time_s, data))
        chapters, body = 0, b""
        if programs := kinds.get(PROGRAM_CHANGE):
            chapters, body = P, programs[0][2] + bytes(2)
        if controllers := kinds.get(CONTROL_CHANGE):
            chapters |= C
            body += bytes((len(controllers) - 1,)) + b"".join(bytes((n,)) + d for n, _, d in controllers)
        if bends := kinds.get(PITCH_BEND):
            chapters, body = chapters | W, body + bends[0][2]
        if notes := kinds.get(NOTE_ON):
            chapters, body = chapters | N, body + _write_notes(notes, now_s)
        return struct.pack(">HB", channel << 11 | (3 + len(body)), chapters) + body


def _write_notes(notes: list[tuple[int, float, bytes]], now_s: float) -> bytes:
    """Chapter N: those that sound, played late only where they are fresh; then a bit for each release."""
    logs = [
        bytes((note, data[0] | (0x80 if now_s - time_s < STALE_S else 0)))
        for note, time_s, data in notes
        if data != b"\0"
    ][-MOST_NOTES:]
    released = [note for note, _, data in notes if data == b"\0"]
    if not released:
        return bytes((len(logs), NO_RELEASES)) + b"".join(logs)
    low, high = min(released) >> 3, max(released) >> 3
    bits = bytearray(high - low + 1)
    for note in released:
        bits[(note >> 3) - low] |= 0x80 >> (note & 7)
    return bytes((len(logs), low << 4 | high)) + b"".join(logs) + bytes(bits)
