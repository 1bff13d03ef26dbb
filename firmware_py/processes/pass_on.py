"""Part of ``control``: sustain pedal and pitch bend of the inputs go on to ``midi``; MPE channels stay free.

What is passed on is where pedal and bend stand, never an event: ``midi`` sends what changed, and lets go of
both whenever it silences. A channel that an MPE configuration message (RPN 6 on channel 1 or 16) makes a
member's carries one note's bend, which is nobody else's: it is not passed on, and the box's own notes leave
such a channel alone.

``hear`` is called by the inputs as messages come, from their own threads one at a time: a pedal that is
lifted and pushed again between two steps of ``control`` is not missed.

Source: MIDI Polyphonic Expression 1.0 (M1-100-UM, 2018).
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np

from firmware_py.board.channels import CellWriter
from firmware_py.board.map import HAND_DTYPE
from firmware_py.ports import Clock
from firmware_py.ports.learned import RPN
from firmware_py.ports.midi import (
    BEND_CENTRE,
    CHANNEL,
    CONTROL_CHANGE,
    HIGHEST_DATA,
    KIND,
    MESSAGE_BYTES,
    N_CHANNELS,
    PITCH_BEND,
    SUSTAIN,
)
from firmware_py.processes.controller_values import DATA_ENTRY, Selection

MPE_CONFIGURATION: Final = (RPN, 6)
"""The registered parameter that makes channels an MPE zone's members. MPE 1.0."""
LOWER_MASTER, UPPER_MASTER = 0, N_CHANNELS - 1
"""Channels 1 and 16 manage the lower and the upper zone. By definition of MIDI Polyphonic Expression."""
MOST_MEMBERS: Final = N_CHANNELS - 1
"""Of a zone, when it is the only one, by definition of MIDI Polyphonic Expression."""
ECHO_S: Final = 0.3
"""What an instrument returns comes back this soon. Chosen: as for ``feedback.WINDOW_S``."""


class Zones:
    """The MPE zones of one port: members from channel 2 upwards, or from 15 downwards."""

    def __init__(self) -> None:
        self._n_members = {LOWER_MASTER: 0, UPPER_MASTER: 0}

    def configure(self, master: int, n_members: int) -> None:
        """A configuration message; a zone that it runs into is shortened, as MPE 1.0 says."""
        if master not in self._n_members or n_members > MOST_MEMBERS:
            return
        other = UPPER_MASTER - master
        self._n_members[master] = n_members
        # Of the fourteen between the masters each belongs to one zone; all fifteen leave the other none.
        left = max(0, MOST_MEMBERS - 1 - n_members)
        self._n_members[other] = min(self._n_members[other], left)

    @property
    def members(self) -> set[int]:
        """Channels (0..15) that carry single notes."""
        lower, upper = self._n_members[LOWER_MASTER], self._n_members[UPPER_MASTER]
        return {*range(1, 1 + lower), *range(UPPER_MASTER - upper, UPPER_MASTER)}

    @property
    def masters(self) -> set[int]:
        """Channels (0..15) of the zones that are in use."""
        return {master for master, n_members in self._n_members.items() if n_members}


class Held:
    """Where a pedal or a bend stands, and the port whose hand holds it.

    Nobody else moves it meanwhile, nor within a moment after: an instrument that returns what it is played
    would send the box's own messages round for ever.
    """

    def __init__(self, at_rest: int) -> None:
        self.value = self._at_rest = at_rest
        self._port = ""
        self._moved_s = -math.inf

    def move(self, port: str, value: int, now_s: float) -> bool:
        """A message of ``port``; whether it counts."""
        is_free = self.value == self._at_rest and now_s - self._moved_s > ECHO_S
        if port != self._port and not is_free:
            return False
        self._port, self.value, self._moved_s = port, value, now_s
        return True

    def let_go(self, port: str) -> None:
        """The port is gone, or means something else from now on."""
        if port == self._port:
            self.value, self._port = self._at_rest, ""


class PassOn:
    """Keeps the ``hand`` cell.

    Parameters
    ----------
    channel: of the box's notes, 0..15 (``composer.channel``).
    """

    def __init__(self, cell: CellWriter, channel: int, clock: Clock) -> None:
        self._cell = cell
        self._channel = channel
        self._clock = clock
        self._selections: defaultdict[tuple[str, int], Selection] = defaultdict(Selection)
        self._zones: dict[str, Zones] = {}
        self._pedal, self._bend = Held(0), Held(BEND_CENTRE)
        self._record = np.zeros((), HAND_DTYPE)
        self._write()

    def hear(self, port: str, message: bytes) -> None:
        """A message came in at ``port``."""
        if len(message) != MESSAGE_BYTES or max(message[1:]) > HIGHEST_DATA:
            return
        kind, channel = message[0] & KIND, message[0] & CHANNEL
        is_member = port in self._zones and channel in self._zones[port].members
        if kind == PITCH_BEND and not is_member:
            self._move(self._bend, port, message[1] | message[2] << 7)
        elif kind == CONTROL_CHANGE and message[1] != SUSTAIN:
            self._configure(port, channel, message[1], message[2])
        elif kind == CONTROL_CHANGE and not is_member:
            self._move(self._pedal, port, message[2])

    def forget(self, port: str) -> None:
        """The port is gone: nobody's foot or hand is there any more."""
        for place in [place for place in self._selections if place[0] == port]:
            del self._selections[place]
        self._zones.pop(port, None)
        self._let_go(port)

    def _move(self, held: Held, port: str, value: int) -> None:
        if held.move(port, value, self._clock.now_s()):
            self._write()

    def _let_go(self, port: str) -> None:
        self._pedal.let_go(port)
        self._bend.let_go(port)
        self._write()

    def _configure(self, port: str, channel: int, number: int, value: int) -> None:
        selection = self._selections[port, channel]
        if selection.hear(number, value) or number != DATA_ENTRY:
            return
        if selection.parameter == MPE_CONFIGURATION:
            self._zones.setdefault(port, Zones()).configure(channel, value)
            # It may have been a member that held them.
            self._let_go(port)

    def _write(self) -> None:
        record = self._record
        record["pedal"], record["bend"] = self._pedal.value, self._bend.value
        record["channel"] = next(self._free_channels())
        self._cell.write(record)

    def _free_channels(self) -> Iterator[int]:
        """Channels for the box's notes, the best first; a zone's master is any zone's last resort."""
        members = {channel for zone in self._zones.values() for channel in zone.members}
        masters = {channel for zone in self._zones.values() for channel in zone.masters}
        if self._channel not in members:
            yield self._channel
        yield from (c for c in range(N_CHANNELS) if c not in members and c not in masters)
        yield from sorted(masters - members)
        yield self._channel
