"""What the outside must know about notes sent: which sound now, and how exactly they were on time."""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import CellWriter
from firmware_py.board.telemetry import Times
from firmware_py.ports import Clock, MidiOut
from firmware_py.ports.midi import (
    ALL_NOTES_OFF,
    BEND_CENTRE,
    CHANNEL,
    CONTROL_CHANGE,
    KIND,
    NOTE_OFF,
    NOTE_ON,
    PITCH_BEND,
    SUSTAIN,
)

ON_TIME_S: Final = 1e-3
"""A send later than this counts as missed in ``send_error``. Chosen: a byte triple takes about a
millisecond on a MIDI cable."""
ARRIVED_AFTER_S: Final = 0.05
"""JACK carries a message away only at its next period: a process killed before loses it. Chosen: twice
JACK's longest usual period, 1,024 frames."""


class QueuedOut(MidiOut, Protocol):
    """A ``MidiOut`` whose receivers may be slow."""

    @property
    def is_behind(self) -> bool:
        """Whether something sent still waits in this process."""


class WatchedMidi:
    """A ``MidiOut`` before another one.

    ``sounding`` holds a note from just before its note-on until its note-off has surely arrived: whoever
    reads it after this process died knows at least which notes must be silenced, and on which channels a
    pedal or a bend must be let go.
    """

    def __init__(self, out: QueuedOut, sounding: CellWriter, clock: Clock, record: NDArray[Any]) -> None:
        self.errors = Times(ON_TIME_S)
        self._out = out
        self._cell = sounding
        self._clock = clock
        self._record = record
        self._is_on = record["is_on"]
        self._is_held = record["is_held"]
        self._released: dict[tuple[int, int], float] = {}
        sounding.write(record)

    def send(self, due_s: float, status: int, data1: int, data2: int) -> None:
        """See ``MidiOut``."""
        kind, channel = status & KIND, status & CHANNEL
        if kind == NOTE_ON:
            self._released.pop((channel, data1), None)
            self._is_on[channel, data1] = True
            self._cell.write(self._record)
        elif kind == PITCH_BEND or (kind == CONTROL_CHANGE and data1 == SUSTAIN):
            # Until all is let go at once: one of the two may still be held.
            self._is_held[channel] = True
            self._cell.write(self._record)
        self._out.send(due_s, status, data1, data2)
        if kind == NOTE_ON:
            self.errors.add(self._clock.now_s() - due_s)
        elif kind == NOTE_OFF:
            self._released[channel, data1] = self._clock.now_s()

    def settle(self) -> None:
        """Forget the notes whose note-off has arrived; between notes."""
        now_s = self._clock.now_s()
        while self._released and not self._out.is_behind:
            key, released_s = next(iter(self._released.items()))
            if now_s - released_s < ARRIVED_AFTER_S:
                return
            del self._released[key]
            self._is_on[key] = False
            self._cell.write(self._record)

    def all_arrived(self) -> None:
        """Everything was released, and the receivers have heard it."""
        self._released.clear()
        self._is_on[:] = False
        self._is_held[:] = False
        self._cell.write(self._record)


def silence(out: MidiOut, sounding: NDArray[Any]) -> int:
    """Let go pedal and bend, release every note of ``sounding``, then All Notes Off; returns how many."""
    is_on = sounding["is_on"]
    for channel in np.flatnonzero(sounding["is_held"]):
        out.send(0.0, CONTROL_CHANGE | int(channel), SUSTAIN, 0)
        out.send(0.0, PITCH_BEND | int(channel), BEND_CENTRE & 0x7F, BEND_CENTRE >> 7)
    for channel, pitch in np.argwhere(is_on):
        out.send(0.0, NOTE_OFF | int(channel), int(pitch), 0)
    for channel in np.flatnonzero(is_on.any(axis=1)):
        out.send(0.0, CONTROL_CHANGE | int(channel), ALL_NOTES_OFF, 0)
    return int(is_on.sum())
