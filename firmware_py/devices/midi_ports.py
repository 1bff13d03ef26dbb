"""MIDI outputs by name: ALSA and JACK ports through python-rtmidi, and raw devices.

A pattern of ``midi.outputs`` names ALSA ports (``*USB*``); ``jack:PATTERN`` names JACK ports and
``raw:/dev/snd/midiC1D0`` a device file or pipe. Every port that matches is played to. ALSA accepts writes to
a port that has gone, so that what is there is looked up by name: ``scan`` opens what came and closes
what went. It is called between notes, never while one is due.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Protocol

import rtmidi  # type: ignore[import-untyped,unused-ignore]

CLIENT_NAME: Final = "kelly_edge_midi"
NOT_INSTRUMENTS: Final = ("Midi Through*", "kelly_edge*")
APIS: Final = {"alsa": rtmidi.API_LINUX_ALSA, "jack": rtmidi.API_UNIX_JACK}
RAW: Final = "raw:"
SEQUENCER: Final = Path("/dev/snd/seq")
TIMING_CLOCK: Final = 0xF8
MAX_PENDING_BYTES: Final = 150
"""A slow receiver gets no further note than this: 50 ms of a MIDI cable (31,250 baud)."""
ALL_SOUND_OFF: Final = tuple((0xB0 | channel, 123, 0) for channel in range(16))


class Port(Protocol):
    """One open output."""

    def send(self, message: bytes) -> bool:
        """Send; False when the port is gone."""

    def close(self) -> None:
        """Let go of it."""


class RtMidiPort:
    """A port of the ALSA sequencer or of JACK."""

    def __init__(self, api: int, name: str) -> None:
        self._out = rtmidi.MidiOut(api, CLIENT_NAME)
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
        may_drop = message[0] & 0xF0 == 0x90 or message[0] == TIMING_CLOCK
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
        """Send what waits, as far as the receiver takes it; False when it is gone."""
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


class MidiPorts:
    """A ``MidiOut`` to every port that matches.

    Parameters
    ----------
    patterns: as in ``midi.outputs``.
    warn: told what comes and goes.
    """

    def __init__(self, patterns: Sequence[str], warn: Callable[[str], None]) -> None:
        self.n_lost = 0
        self._warn = warn
        self._raw_paths = [p.removeprefix(RAW) for p in patterns if p.startswith(RAW)]
        self._named: dict[str, list[str]] = {}
        for pattern in patterns:
            if not pattern.startswith(RAW):
                api, _, rest = pattern.partition(":")
                known = (api, rest) if api in APIS else ("alsa", pattern)
                self._named.setdefault(known[0], []).append(known[1])
        self._lookers: dict[str, rtmidi.MidiOut] = {}
        self._open: dict[str, Port] = {}
        self._complaints: set[str] = set()
        self.scan()

    @property
    def names(self) -> list[str]:
        """The ports played to now."""
        return sorted(self._open)

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
        """Open what came, close what went."""
        there = self._there()
        for name in [name for name in self._open if name not in there]:
            self._close(name)
        for name, open_port in there.items():
            if name not in self._open:
                self._try(name, open_port)
        self.flush()

    @property
    def is_behind(self) -> bool:
        """Whether a slow receiver has not taken everything."""
        return any(isinstance(port, RawPort) and port.is_behind for port in self._open.values())

    def flush(self) -> None:
        """Send what waits for slow receivers, as far as they take it."""
        for name, port in list(self._open.items()):
            if isinstance(port, RawPort) and not port.flush():
                self._close(name)

    def close(self) -> None:
        """Let go of every port."""
        for port in self._open.values():
            port.close()
        self._open.clear()

    def _there(self) -> dict[str, Callable[[], Port]]:
        found: dict[str, Callable[[], Port]] = {}
        for path in self._raw_paths:
            found[RAW + path] = lambda path=path: RawPort(path)  # type: ignore[misc]
        for api, patterns in self._named.items():
            for name in self._port_names(api):
                if matches(name, patterns) and not matches(name, NOT_INSTRUMENTS):
                    found[f"{api}:{name}"] = lambda api=api, name=name: RtMidiPort(APIS[api], name)  # type: ignore[misc]
        return found

    def _port_names(self, api: str) -> list[str]:
        if api == "alsa" and not SEQUENCER.exists():
            # Asking ALSA anyway would print its own complaint each time.
            self._complain(f"no MIDI ports: {SEQUENCER} is not there; load snd-seq, or set midi.outputs")
            return []
        try:
            if api not in self._lookers:
                self._lookers[api] = rtmidi.MidiOut(APIS[api], CLIENT_NAME + "_scan")
            return list(self._lookers[api].get_ports())
        except (rtmidi.SystemError, rtmidi.RtMidiError) as error:
            self._complain(f"no {api} MIDI ({str(error).splitlines()[0]}); load snd-seq, or set midi.outputs")
            return []

    def _try(self, name: str, open_port: Callable[[], Port]) -> None:
        try:
            port = open_port()
        except (OSError, ValueError, rtmidi.RtMidiError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._complain(f"MIDI output {name} is not there ({reason}); connect it or set midi.outputs")
            return
        self._open[name] = port
        self._complaints.clear()
        self._warn(f"MIDI output {name} is connected")
        for message in ALL_SOUND_OFF:
            port.send(bytes(message))

    def _close(self, name: str) -> None:
        self.n_lost += 1
        self._open.pop(name).close()
        self._warn(f"MIDI output {name} is gone; notes go on without it until it is back")

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._warn(text)


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
