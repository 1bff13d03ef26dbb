"""What one party has sounding and turned: from its messages, and from a journal where some were lost."""

import struct
from collections.abc import Iterator
from typing import Final

from firmware_py.devices.wireless.journal_read import told
from firmware_py.ports.midi import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    BEND_CENTRE,
    CHANNEL,
    CONTROL_CHANGE,
    FIRST_MODE_MESSAGE,
    KIND,
    NOTE_OFF,
    NOTE_ON,
    PEDALS,
    PITCH_BEND,
    PROGRAM_CHANGE,
)

PARAMETERS: Final = (6, 38, *range(96, 102))
"""Control changes that set and select parameters. MIDI 1.0."""
REST: Final = bytes((BEND_CENTRE & 0x7F, BEND_CENTRE >> 7))

Key = tuple[int, int, int]
"""Channel, kind of message (a release counts as a note-on of velocity 0), and note or controller."""


def states(message: bytes) -> Iterator[tuple[Key, bytes]]:
    """What a channel message sets: key and data bytes; nothing where the journal does not tell of it."""
    kind, channel = message[0] & KIND, message[0] & CHANNEL
    if kind in (NOTE_ON, NOTE_OFF):
        yield (channel, NOTE_ON, message[1]), bytes((message[2] if kind == NOTE_ON else 0,))
    elif kind == CONTROL_CHANGE and message[1] < FIRST_MODE_MESSAGE and message[1] not in PARAMETERS:
        yield (channel, CONTROL_CHANGE, message[1]), message[2:]
    elif kind in (PROGRAM_CHANGE, PITCH_BEND):
        yield (channel, kind, 0), message[1:]


class Played:
    """What one party has sounding and turned, from the messages it sent."""

    def __init__(self) -> None:
        self.now: dict[Key, bytes] = {}

    def take(self, message: bytes) -> None:
        """A message was sent."""
        self.now.update(states(message))
        if message[0] & KIND == CONTROL_CHANGE and message[1] in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            self.now.update({key: b"\0" for key in self._sounding() if key[0] == message[0] & CHANNEL})

    def _sounding(self) -> list[Key]:
        return [key for key, data in self.now.items() if key[1] == NOTE_ON and data != b"\0"]

    def release(self) -> list[bytes]:
        """The messages that end every note, and let go pedals and bend."""
        messages = [bytes((NOTE_OFF | channel, note, 0)) for channel, _, note in self._sounding()]
        for (channel, kind, number), data in self.now.items():
            if kind == CONTROL_CHANGE and number in PEDALS and data != b"\0":
                messages.append(bytes((CONTROL_CHANGE | channel, number, 0)))
            elif kind == PITCH_BEND and data != REST:
                messages.append(bytes((PITCH_BEND | channel, *REST)))
        for message in messages:
            self.take(message)
        return messages

    def repair(self, journal: bytes) -> list[bytes] | None:
        """The messages that make up for lost ones, by a journal; None where that is malformed."""
        try:
            messages = [message for message in told(journal) if self._is_news(message)]
        except (IndexError, struct.error, ValueError):
            return None
        for message in messages:
            self.take(message)
        return messages

    def _is_news(self, message: bytes) -> bool:
        for key, data in states(message):
            known = self.now.get(key, b"\0" if key[1] == NOTE_ON else b"")
            # A note that sounds was perhaps struck harder; it is not struck twice.
            return (known == b"\0") != (data == b"\0") if key[1] == NOTE_ON else known != data
        return False
