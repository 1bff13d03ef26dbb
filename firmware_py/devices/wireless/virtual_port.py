"""The port of the bridge among ALSA's, or JACK's where there is no ALSA sequencer."""

import contextlib
import math
import os
import time
from collections import deque
from typing import Any, Final

from firmware_py.devices.box_packages import missing_package
from firmware_py.devices.midi.inputs import MAX_MESSAGES, DriverTime
from firmware_py.devices.midi.named_ports import APIS, CLIENTS, SEQUENCER, connections, first_line
from firmware_py.devices.midi.port_names import WIRELESS
from firmware_py.devices.quiet_libraries import hush_libraries
from firmware_py.ports.midi import SYSTEM
from kelly_edge.errors import DeviceError

try:
    import rtmidi  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None


LOOK_EVERY_S: Final = 1e-3
"""On JACK. Chosen: below its usual periods."""


class VirtualPort:
    """What others play to, and what plays to others.

    On ALSA ``woken`` is readable when something came. On JACK it must be looked for each ``look_every_s``: a
    callback would let JACK's thread wait for Python's lock, and JACK then drops what comes meanwhile.

    Raises
    ------
    DeviceError: there is neither an ALSA sequencer nor a JACK server.
    """

    def __init__(self) -> None:
        self.n_exclusive = 0
        """System exclusive messages that were not passed on."""
        self._time = DriverTime()
        self._came: deque[tuple[float, bytes]] = deque(maxlen=MAX_MESSAGES)
        self.woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        hush_libraries()
        self._is_alsa = SEQUENCER.exists()
        self.look_every_s = math.inf if self._is_alsa else LOOK_EVERY_S
        api = APIS["alsa" if self._is_alsa else "jack"]
        try:
            self._out = rtmidi.MidiOut(api, WIRELESS)
            self._out.open_virtual_port("out")
            self._in: Any = rtmidi.MidiIn(api, WIRELESS, queue_size_limit=MAX_MESSAGES)
            self._in.ignore_types(sysex=False, timing=False, active_sense=True)
            if self._is_alsa:
                self._in.set_callback(self._heard)
            self._in.open_virtual_port("in")
        except (rtmidi.SystemError, rtmidi.RtMidiError) as error:
            raise DeviceError(
                f"no MIDI ports ({first_line(error)}); load snd-seq, or start a JACK server"
            ) from None

    def _heard(self, event: tuple[list[int], float], _: object = None) -> None:
        message, delta_s = event
        time_s = self._time.at(time.monotonic(), delta_s)
        if message[0] == SYSTEM or message[0] < 0x80:
            self.n_exclusive += 1
            return
        self._came.append((time_s, bytes(message)))
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def receive(self) -> list[tuple[float, bytes]]:
        """The messages that came, with their times in seconds of CLOCK_MONOTONIC."""
        if not self._is_alsa:
            while len(self._came) < MAX_MESSAGES and (event := self._in.get_message()):
                self._heard(event)
        with contextlib.suppress(BlockingIOError):
            os.read(self.woken, MAX_MESSAGES)
        return [self._came.popleft() for _ in range(len(self._came))]

    def send(self, message: bytes) -> None:
        """Play to whoever listens."""
        self._out.send_message(message)

    def is_left(self) -> bool:
        """Whether it is known that nobody is connected; JACK does not tell."""
        try:
            return self._is_alsa and not connections(CLIENTS.read_text(errors="replace"), WIRELESS)
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the port."""
        if self._is_alsa:
            self._in.cancel_callback()
        for port in (self._in, self._out):
            port.close_port()
            port.delete()
        for fd in (self.woken, self._wake):
            os.close(fd)
