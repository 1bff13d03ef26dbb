"""Part of ``control``: the notes of a MIDI keyboard go onto the board as what sounds, for ``dsp``.

A key sounds from its note-on until it is released and no pedal holds it. What a message means is decided
here, so that ``dsp`` reads exact beginnings and ends: running status is expanded by the inputs, a note-on of
velocity 0 is a note-off, sustain and sostenuto hold, All Notes Off releases every key, All Sound Off ends
every tone, and a port that is gone takes its keys and pedals with it. Channel 10 holds drums: it is passed
over.

``hear`` is called by the inputs as messages come, from their own threads one at a time.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

import numpy as np

from firmware_py.board.map import KEYBOARD_BYTES, KEYBOARD_DTYPE, Ends
from firmware_py.ports import Clock
from firmware_py.ports.midi import (
    ALL_NOTES_OFF,
    ALL_SOUND_OFF,
    CHANNEL,
    CONTROL_CHANGE,
    DRUMS,
    HIGHEST_DATA,
    KIND,
    MESSAGE_BYTES,
    NOTE_OFF,
    NOTE_ON,
    PEDAL_DOWN,
    RESET_CONTROLLERS,
    SOSTENUTO,
    SUSTAIN,
)
from kelly_edge.contract import EVERY_KEY, KEY_DTYPE
from kelly_edge.shared.printed import printed

LATEST_S: Final = 0.5
"""A message is never dated longer ago. Chosen by hand: a driver's time that far off is wrong."""
Place = tuple[str, int]
"""Port and channel."""


class Pedals:
    """The keys of one channel of one port: pressed, held by the sustain pedal, held by sostenuto."""

    def __init__(self) -> None:
        self.pressed: set[int] = set()
        self.sustained: set[int] = set()
        self.captured: set[int] = set()
        self.is_down = False
        self._is_captured = False

    @property
    def sounding(self) -> set[int]:
        """Keys that sound."""
        return self.pressed | self.sustained | self.captured

    def press(self, pitch: int) -> None:
        """A key goes down."""
        self.pressed.add(pitch)

    def lift(self, pitch: int) -> None:
        """A key comes up."""
        if pitch in self.pressed and self.is_down:
            self.sustained.add(pitch)
        self.pressed.discard(pitch)

    def sustain(self, is_down: bool) -> None:
        """The sustain pedal."""
        self.is_down = is_down
        if not is_down:
            self.sustained.clear()

    def sostenuto(self, is_down: bool) -> None:
        """The pedal that holds what is pressed when it goes down."""
        if is_down and not self._is_captured:
            self.captured = set(self.pressed)
        elif not is_down:
            self.captured.clear()
        self._is_captured = is_down


class Keyboard:
    """Puts records of ``KEY_DTYPE`` into the ring ``keys``, and the port that is played into its cell.

    Parameters
    ----------
    is_returned: whether a port returns what the box plays on a channel: nobody's keys are struck there.
    warn: told once of each port that does.
    """

    def __init__(
        self,
        ends: Ends,
        clock: Clock,
        is_returned: Callable[[str, int], bool] = lambda port, channel: False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._is_returned = is_returned
        self._warn = warn
        self._warned_of: set[str] = set()
        self._ring = ends.ring_to_write("keys")
        self._cell = ends.cell_to_write("keyboard")
        self._clock = clock
        self._places: defaultdict[Place, Pedals] = defaultdict(Pedals)
        self._key = np.zeros((), KEY_DTYPE)
        self._record = np.zeros((), KEYBOARD_DTYPE)
        self._cell.write(self._record)
        # Of a control before this one nobody knows which keys were down.
        self._tell(clock.now_s(), EVERY_KEY, 0)

    def hear(self, port: str, message: bytes, age_s: float = 0.0) -> None:
        """A message came in at ``port``, ``age_s`` ago."""
        if len(message) != MESSAGE_BYTES or max(message[1:]) > HIGHEST_DATA:
            return
        kind, channel, number, value = message[0] & KIND, message[0] & CHANNEL, message[1], message[2]
        if channel == DRUMS or kind not in (NOTE_ON, NOTE_OFF, CONTROL_CHANGE):
            return
        time_s = self._clock.now_s() - min(max(age_s, 0.0), LATEST_S)
        pedals = self._places[port, channel]
        if kind == NOTE_ON and value:
            if self._is_returned(port, channel):
                self._complain(port, channel)
                return
            pedals.press(number)
            self._tell(time_s, number, value)
            self._name(port, time_s)
            return
        before = pedals.sounding
        if kind == CONTROL_CHANGE:
            self._control(pedals, number, value)
        else:
            pedals.lift(number)
        self._end(before - pedals.sounding, time_s)

    def forget(self, port: str) -> None:
        """The port is gone: nobody's fingers are there any more."""
        ended: set[int] = set()
        for place in [place for place in self._places if place[0] == port]:
            ended |= self._places.pop(place).sounding
        self._end(ended, self._clock.now_s())
        if self._record["name"].item() == _named(port):
            self._record["name"] = b""
            self._cell.write(self._record)

    def _complain(self, port: str, channel: int) -> None:
        if port not in self._warned_of:
            self._warned_of.add(port)
            self._warn(
                f"keyboard {printed(port)} returns what the box plays, so channel {channel + 1} is deaf; "
                "switch MIDI thru off there, or set composer.channel to another"
            )

    @staticmethod
    def _control(pedals: Pedals, number: int, value: int) -> None:
        if number == SUSTAIN:
            pedals.sustain(value >= PEDAL_DOWN)
        elif number == SOSTENUTO:
            pedals.sostenuto(value >= PEDAL_DOWN)
        elif number == RESET_CONTROLLERS:
            pedals.sustain(False)
            pedals.sostenuto(False)
        elif number == ALL_SOUND_OFF:
            pedals.pressed.clear()
            pedals.sustained.clear()
            pedals.captured.clear()
        elif number >= ALL_NOTES_OFF:
            # The other mode messages (omni, mono, poly) are All Notes Off too, which pedals outlast.
            for pitch in list(pedals.pressed):
                pedals.lift(pitch)

    def _end(self, pitches: set[int], time_s: float) -> None:
        """These sound no longer, but where another channel or keyboard holds them."""
        if pitches:
            for pitch in sorted(pitches.difference(*(held.sounding for held in self._places.values()))):
                self._tell(time_s, pitch, 0)

    def _tell(self, time_s: float, pitch: int, velocity: int) -> None:
        key = self._key
        key["time_s"], key["pitch"], key["velocity"] = time_s, pitch, velocity
        self._ring.write(key)

    def _name(self, port: str, time_s: float) -> None:
        record = self._record
        record["name"], record["time_s"] = _named(port), time_s
        record["n_notes"] += 1
        self._cell.write(record)


def _named(port: str) -> bytes:
    return port.encode()[:KEYBOARD_BYTES].decode(errors="ignore").encode()
