"""MIDI outputs by name: ALSA and JACK ports through python-rtmidi, and raw devices.

Every port that matches ``midi.outputs`` (see ``named_ports``) is played to. ALSA accepts writes to
a port that has gone, so ports are looked up by name: ``scan`` opens those that came and closes
what went. It is called between notes, never while one is due.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from firmware_py.devices.box_packages import missing_package
from firmware_py.devices.midi.named_ports import SEQUENCER, NamedPorts
from firmware_py.ports.midi import ALL_NOTES_OFF, CONTROL_CHANGE, KIND, N_CHANNELS, NOTE_ON, TIMING_CLOCK

try:
    import rtmidi  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None

CLIENT_NAME: Final = "kelly_edge_midi"
MAX_PENDING_BYTES: Final = 150
"""Beyond this backlog of a slow receiver note-ons are dropped: 50 ms of a MIDI cable (31,250 baud).
Chosen: a note that late is heard as late."""
SILENCE: Final = tuple((CONTROL_CHANGE | channel, ALL_NOTES_OFF, 0) for channel in range(N_CHANNELS))
"""What ends every note, of whatever channel."""


class Port(Protocol):
    """One open output."""

    def send(self, message: bytes) -> bool:
        """Send; False when the port is gone."""

    def close(self) -> None:
        """Let go of it."""


class RtMidiPort:
    """A port of the ALSA sequencer or of JACK."""

    def __init__(self, client: Any, name: str) -> None:
        self._out = client
        self._out.open_port(self._out.get_ports().index(name), "out")

    def send(self, message: bytes) -> bool:
        """See ``Port``."""
        try:
            self._out.send_message(message)
        except (rtmidi.SystemError, rtmidi.InvalidUseError):
            return False
        return True

    def close(self) -> None:
        """See ``Port``."""
        self._out.close_port()
        self._out.delete()


class RawPort:
    """A raw MIDI device or a pipe. What a slow receiver has not taken waits, in order, and is bounded."""

    def __init__(self, path: str) -> None:
        # Appending: ALSA opens a device twice for those who append, and the guardian must get through.
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
        self._pending: deque[bytes] = deque()
        self._n_pending = 0

    def send(self, message: bytes) -> bool:
        """See ``Port``."""
        may_drop = message[0] & KIND == NOTE_ON or message[0] == TIMING_CLOCK
        # Dropping a note-on leaves silence, dropping a note-off leaves a note: only the first may happen.
        if not (may_drop and self._n_pending + len(message) > MAX_PENDING_BYTES):
            self._pending.append(message)
            self._n_pending += len(message)
        return self.flush()

    @property
    def is_behind(self) -> bool:
        """Whether something waits."""
        return bool(self._pending)

    def flush(self) -> bool:
        """Send the messages that wait, as far as the receiver takes them; False when it is gone."""
        while self._pending:
            message = self._pending[0]
            try:
                n_sent = os.write(self._fd, message)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self._n_pending -= n_sent
            self._pending.popleft()
            if n_sent < len(message):
                self._pending.appendleft(message[n_sent:])
        return True

    def close(self) -> None:
        """See ``Port``."""
        os.close(self._fd)


class MidiPorts(NamedPorts[Port]):
    """A ``MidiOut`` to every port that matches; see ``NamedPorts``."""

    KIND = "MIDI output"
    CLIENT = CLIENT_NAME
    SETTING = "midi.outputs"
    NO_API = "no {api} MIDI ({reason}); load snd-seq, or set midi.outputs"
    NO_SEQUENCER = f"no MIDI ports: {SEQUENCER} is not there; load snd-seq, or set midi.outputs"
    GONE = "notes go on without it until it is back"
    NEEDS_ANY = True

    def __init__(self, patterns: Sequence[str], warn: Callable[[str], None]) -> None:
        self.n_lost = 0
        super().__init__(patterns, warn)

    def send(self, due_s: float, status: int, data1: int, data2: int) -> None:
        """See ``MidiOut``; a port that refuses is closed."""
        self._send(bytes((status, data1, data2)))

    def send_realtime(self, status: int) -> None:
        """Send one of MIDI's one-byte real-time messages (clock, start, stop) now."""
        self._send(bytes((status,)))

    def _send(self, message: bytes) -> None:
        gone = [name for name, port in self._open.items() if not port.send(message)]
        for name in gone:
            self._close(name)

    def scan(self) -> None:
        """See ``NamedPorts``; slow receivers get the messages that wait for them."""
        super().scan()
        self.flush()

    @property
    def is_behind(self) -> bool:
        """Whether a slow receiver has not taken everything."""
        return any(isinstance(port, RawPort) and port.is_behind for port in self._open.values())

    def flush(self) -> None:
        """Send the messages that wait for slow receivers, as far as they take them."""
        for name, port in list(self._open.items()):
            if isinstance(port, RawPort) and not port.flush():
                self._close(name)

    def _looker(self, api: int) -> Any:
        return rtmidi.MidiOut(api, CLIENT_NAME)

    def _open_named(self, client: Any, name: str) -> Port:
        return RtMidiPort(client, name)

    def _open_raw(self, path: str) -> Port:
        return RawPort(path)

    def _opened(self, port: Port) -> None:
        for message in SILENCE:
            port.send(bytes(message))

    def _close(self, name: str) -> None:
        self.n_lost += 1
        super()._close(name)
