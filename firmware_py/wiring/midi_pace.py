"""What ``midi`` waits for: the moment the next note is due."""

import select
from typing import Final

from firmware_py.board.channels import CellWriter
from firmware_py.board.pipes import PipeRing
from firmware_py.devices.midi.outputs import MidiPorts
from firmware_py.devices.midi.watched import WatchedMidi
from firmware_py.ports import Clock
from firmware_py.ports.midi import SCAN_SOON_S
from firmware_py.processes.midi_clock import NoteStage
from firmware_py.wiring.guardian import deliver

# Chosen by hand: a look for ports takes milliseconds; a sleep may end half a millisecond late, the rest is
# waited for awake; a knob is followed within 5 ms.
QUIET_S: Final = 0.01
WAKE_EARLY_S: Final = 5e-4
LOOK_AT_KNOBS_EVERY_S: Final = 5e-3
SEND_WITHIN_S: Final = 0.5
"""Longest time a slow receiver may take to hear the last note-offs. Chosen: within ``run.STOP_WITHIN_S``."""


class MidiPace:
    """Waits until the next note of ``stage`` is due, to the tenth of a millisecond.

    Parameters
    ----------
    notes: the ring new notes come in by.
    errors_cell: gets the histogram of send errors, now and then.
    quiet_s: ports are looked for only where nothing is due so soon: looking takes milliseconds.
    """

    def __init__(
        self,
        stage: NoteStage,
        notes: object,
        out: WatchedMidi,
        ports: MidiPorts,
        clock: Clock,
        errors_cell: CellWriter,
        quiet_s: float = QUIET_S,
    ) -> None:
        assert isinstance(notes, PipeRing)
        self._fds = [notes.fileno()]
        self._stage = stage
        self._out = out
        self._ports = ports
        self._clock = clock
        self._errors_cell = errors_cell
        self._quiet_s = quiet_s
        self._scan_s = 0.0

    def wait(self) -> None:
        """Until there is something to send or to take in."""
        stage, clock = self._stage, self._clock
        now_s = clock.now_s()
        left_s = stage.next_due_s() - now_s
        if left_s > WAKE_EARLY_S:
            if self._ports.is_behind:
                self._ports.flush()
            self._out.settle()
            if left_s > self._quiet_s and now_s > self._scan_s:
                self._scan_s = now_s + SCAN_SOON_S
                self._ports.scan()
                self._errors_cell.write(self._out.errors.record)
            left_s = stage.next_due_s() - clock.now_s()
        # A new note wakes it; the panic button is a cell and must be looked at.
        select.select(self._fds, (), (), min(max(left_s - WAKE_EARLY_S, 0.0), LOOK_AT_KNOBS_EVERY_S))
        if 0.0 < stage.next_due_s() - clock.now_s() < WAKE_EARLY_S:
            # Waking takes 0.1 ms, more or less, and what slept is slow at first: wake before it is time, do
            # what else there is to do, and look at the clock until it is.
            stage.step()
            due_s = stage.next_due_s()
            if due_s - clock.now_s() < WAKE_EARLY_S:
                while clock.now_s() < due_s:
                    continue

    def close(self) -> None:
        """Release the sounding notes, and let go of the ports when everybody heard it."""
        self._stage.release_all(self._clock.now_s())
        deliver(self._ports, SEND_WITHIN_S)
        self._out.all_arrived()
        self._errors_cell.write(self._out.errors.record)
