"""What the outside must know about notes sent: which sound now, and how exactly they were on time."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.channels import Cell
from firmware_py.devices.ports import Clock, MidiOut
from firmware_py.telemetry import Times

NOTE_OFF, NOTE_ON, CONTROL_CHANGE, ALL_NOTES_OFF = 0x80, 0x90, 0xB0, 123
ON_TIME_S: Final = 1e-3
"""A send later than this counts as missed in ``send_error``."""


class WatchedMidi:
    """A ``MidiOut`` before another one.

    ``sounding`` holds a note from just before its note-on to just after its note-off: whoever reads
    it after this process died knows at least what must be silenced.
    """

    def __init__(self, out: MidiOut, sounding: Cell, clock: Clock, record: NDArray[Any]) -> None:
        self.errors = Times(ON_TIME_S)
        self._out = out
        self._cell = sounding
        self._clock = clock
        self._record = record
        sounding.write(record)

    def send(self, due_s: float, status: int, data1: int, data2: int) -> None:
        """See ``MidiOut``."""
        kind, channel = status & 0xF0, status & 0x0F
        if kind == NOTE_ON:
            self._record["is_on"][channel, data1] = True
            self._cell.write(self._record)
        self._out.send(due_s, status, data1, data2)
        if kind == NOTE_ON:
            self.errors.add(self._clock.now_s() - due_s)
        if kind == NOTE_OFF:
            self._record["is_on"][channel, data1] = False
            self._cell.write(self._record)


def silence(out: MidiOut, sounding: NDArray[Any]) -> int:
    """Release every note of ``sounding``, then All Notes Off on its channels; returns how many."""
    is_on = sounding["is_on"]
    for channel, pitch in np.argwhere(is_on):
        out.send(0.0, NOTE_OFF | int(channel), int(pitch), 0)
    for channel in np.flatnonzero(is_on.any(axis=1)):
        out.send(0.0, CONTROL_CHANGE | int(channel), ALL_NOTES_OFF, 0)
    return int(is_on.sum())
