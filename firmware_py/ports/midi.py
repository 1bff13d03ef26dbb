"""MIDI as the box speaks it: the bytes of its messages, and how often ports that come and go are looked for.

Source: MIDI 1.0 Detailed Specification (M1-1.0). The upper half of a channel message's status byte is its
kind, the lower half its channel.
"""

from typing import Final

# MIDI 1.0: channels, status bytes and their masks, system real-time messages.
N_CHANNELS: Final = 16
KIND, CHANNEL = 0xF0, 0x0F
"""Masks of a status byte."""
# MIDI 1.0: status bytes and system real-time messages.
NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROL_CHANGE = 0x80, 0x90, 0xA0, 0xB0
PROGRAM_CHANGE, CHANNEL_PRESSURE, PITCH_BEND, SYSTEM = 0xC0, 0xD0, 0xE0, 0xF0
SONG_POSITION = 0xF2
TIMING_CLOCK, START, CONTINUE, STOP = 0xF8, 0xFA, 0xFB, 0xFC
ONE_DATA_BYTE: Final = (PROGRAM_CHANGE, CHANNEL_PRESSURE)
"""Kinds with a single data byte; the other kinds of channel messages have two. MIDI 1.0."""
FIRST_REALTIME: Final = TIMING_CLOCK
"""From here on a message is one byte, and may stand within another."""
SUSTAIN: Final = 64
"""The control change of the sustain pedal, down from 64 on. MIDI 1.0."""
SOSTENUTO, SOFT_PEDAL, PEDAL_DOWN = 66, 67, 64
"""Control changes of the other pedals of a piano, and the value from which any is down. MIDI 1.0."""
PEDALS: Final = (SUSTAIN, SOSTENUTO, SOFT_PEDAL)
DRUMS: Final = 9
"""The channel, counted from 0, whose notes are no pitches. General MIDI 1."""
BEND_CENTRE: Final = 8_192
"""Pitch bend at rest, of 0..16383. MIDI 1.0."""
FIRST_MODE_MESSAGE: Final = 120
"""Control changes from here on are channel mode messages, no controllers. MIDI 1.0."""
# MIDI 1.0: channel mode messages.
ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF = 120, 121, 123
MESSAGE_BYTES, HIGHEST_DATA = 3, 127
"""Of a note or control change. MIDI 1.0."""

STALE_S: Final = 0.1
"""A note-on or a pulse of the clock that is later than this is not sent. Chosen: a tenth of a second is heard
as a wrong beat."""
SCAN_EVERY_S: Final = 1.0
"""Ports that came or went are looked for this often. Chosen: a look takes milliseconds."""
SCAN_SOON_S: Final = 0.5
"""The same where a person waits for one: an instrument to play, a controller to learn. Chosen by hand."""
