"""``guardian``: decides on panics (``processes.panic``), and watches ``midi``.

A ``midi`` that died or stands still cannot release the notes it struck; this process does.

``midi`` writes its telemetry in every step, at least every few milliseconds, and keeps the sounding notes
in a cell. When the writing stops, the guardian opens the same outputs and releases exactly these notes.
Ports on JACK it holds open all the time: a server that has just lost a client is not the one to ask for a
new one."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from firmware_py.board.map import SOUNDING_DTYPE, Ends
from firmware_py.board.pipes import FileCell
from firmware_py.board.telemetry import new_counters
from firmware_py.devices.midi.outputs import SILENCE, MidiPorts, Port
from firmware_py.devices.midi.port_names import JACK
from firmware_py.devices.midi.watched import silence
from firmware_py.ports.midi import SCAN_EVERY_S
from firmware_py.processes.panic import PanicStage

STALLED_S: Final = 0.1
"""After this time without a sign of life ``midi`` counts as hung; its steps are 5 ms apart. Chosen: a
panic must silence within 0.25 s in all (docs/decisions/0013)."""
LOOK_EVERY_S: Final = 0.01
"""Chosen: a tenth of ``STALLED_S``."""
SEND_WITHIN_S: Final = 1.0
"""Longest time a slow receiver may take to hear which notes must end. Chosen by hand."""


def deliver(ports: MidiPorts, within_s: float) -> None:
    """Wait until slow receivers have taken everything, but no longer than ``within_s``; then let go."""
    end_s = time.monotonic() + within_s
    while ports.is_behind and time.monotonic() < end_s:
        time.sleep(0.002)
        ports.flush()
    ports.close()


class StandbyPorts(MidiPorts):
    """Ports held open for the worst case; opening one is heard by nobody."""

    def _opened(self, port: Port) -> None:
        pass


def silence_outputs(ends: Ends, outputs: Sequence[str], warn: Callable[[str], None]) -> int:
    """Release what the ``sounding`` cell holds on ``outputs``; returns how many notes."""
    sounding = np.zeros((), SOUNDING_DTYPE)
    if not ends.cell_to_read("sounding").read(sounding) or not (
        sounding["is_on"].any() or sounding["is_held"].any()
    ):
        return 0
    ports = MidiPorts(outputs, warn)
    n_notes = silence(ports, sounding)
    deliver(ports, SEND_WITHIN_S)
    return n_notes


class GuardianStage:
    """One ``step()`` decides on panics; it looks whether ``midi`` goes on, and acts once when it does not."""

    def __init__(
        self, ends: Ends, outputs: Sequence[str], warn: Callable[[str], None], panic: PanicStage
    ) -> None:
        self._ends = ends
        self._panic = panic
        on_jack = [pattern for pattern in outputs if pattern.startswith(JACK)]
        self._outputs = [pattern for pattern in outputs if pattern not in on_jack]
        self._standby = StandbyPorts(on_jack, _nobody)
        self._scanned_s = time.monotonic()
        self._sounding = np.zeros((), SOUNDING_DTYPE)
        self._warn = warn
        pulse = ends.cell_to_read("telemetry_midi")
        assert isinstance(pulse, FileCell)
        self._pulse = pulse
        self._n_pulses = pulse.n_writes
        self._beat_s = time.monotonic()
        self._has_acted = False
        self._telemetry = ends.cell_to_write("telemetry_guardian")
        self.counters = new_counters("guardian")
        self._telemetry.write(self.counters)

    def step(self) -> None:
        """Look."""
        self._panic.step()
        if self._panic.n_panics != self.counters["n_panics"]:
            self.counters["n_panics"] = self._panic.n_panics
            self._telemetry.write(self.counters)
            if self._has_acted:
                self._silence_all()
        now_s, n_pulses = time.monotonic(), self._pulse.n_writes
        if now_s - self._scanned_s > SCAN_EVERY_S:
            self._standby.scan()
            self._scanned_s = now_s
        if n_pulses != self._n_pulses:
            self._n_pulses, self._beat_s, self._has_acted = n_pulses, now_s, False
        elif not self._has_acted and now_s - self._beat_s > STALLED_S:
            self._has_acted = True
            self.act()

    def act(self) -> None:
        """Release the sounding notes."""
        if self._panic.is_on:
            self._silence_all()
        if self._standby.names and self._ends.cell_to_read("sounding").read(self._sounding):
            silence(self._standby, self._sounding)
        n_notes = silence_outputs(self._ends, self._outputs, _nobody)
        if n_notes:
            self.counters["n_silences"] += 1
            self.counters["n_released"] += n_notes
            self._telemetry.write(self.counters)
            self._warn(f"midi is gone or stands still; its {n_notes} notes are released")

    def _silence_all(self) -> None:
        """In place of ``midi``: tell a panic to every channel, whatever is known to sound."""
        for message in SILENCE:
            self._standby.send(0.0, *message)
        # Ports are told the same as they are opened.
        deliver(MidiPorts(self._outputs, _nobody), SEND_WITHIN_S)


def _nobody(text: str) -> None:
    """That the guardian's own ports come and go is no news."""
