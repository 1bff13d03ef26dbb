"""MIDI inputs by name, for controllers: ALSA and JACK ports through python-rtmidi, and raw devices.

Patterns are those of ``midi.inputs``, as ``midi_ports`` reads them. Ports of our own are never opened: what
the box sends must not turn its knobs. ``receive`` is asked by ``control``, ten times a second.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import rtmidi  # type: ignore[import-untyped,unused-ignore]

from firmware_py.devices.midi_ports import APIS, NOT_INSTRUMENTS, RAW, SEQUENCER, matches

CLIENT_NAME: Final = "kelly_edge_controls"
MAX_MESSAGES: Final = 1_024
"""A controller that sends more between two looks is cut off: the newest positions follow anyway."""
SHORT_MESSAGE: Final = 3
FIRST_STATUS, FIRST_SYSTEM, FIRST_REALTIME = 0x80, 0xF0, 0xF8
ONE_DATA_BYTE: Final = (0xC0, 0xD0)
"""Program change and channel pressure."""
_NUMBERS: Final = re.compile(r"\s\d+:\d+$")


def stable_name(name: str) -> str:
    """A port's name without ALSA's client and port numbers, which change from one boot to the next."""
    return _NUMBERS.sub("", name)


class InputPort(Protocol):
    """One open input."""

    def receive(self) -> list[bytes] | None:
        """The messages that came, whole; None when the port is gone."""

    def close(self) -> None:
        """Let go of it."""


class RtMidiInput:
    """A port of the ALSA sequencer or of JACK; rtmidi's own thread queues what comes."""

    def __init__(self, api: int, name: str) -> None:
        self._in = rtmidi.MidiIn(api, CLIENT_NAME, queue_size_limit=MAX_MESSAGES)
        self._in.ignore_types(sysex=True, timing=True, active_sense=True)
        self._in.open_port(self._in.get_ports().index(name), "in")

    def receive(self) -> list[bytes] | None:
        """See ``InputPort``; a port that is gone is seen by its name."""
        messages: list[bytes] = []
        while len(messages) < MAX_MESSAGES and (event := self._in.get_message()):
            messages.append(bytes(event[0]))
        return messages

    def close(self) -> None:
        """See ``InputPort``."""
        self._in.close_port()
        self._in.delete()


class ChannelMessages:
    """Bytes of a MIDI stream to whole channel messages; running status is expanded, the rest passed over.

    (mido's parser knows no running status, which keyboards on a MIDI cable use.)
    """

    def __init__(self) -> None:
        self._status = 0
        self._data: list[int] = []

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now."""
        messages = []
        for byte in data:
            if byte >= FIRST_REALTIME:
                continue
            if byte >= FIRST_STATUS:
                # A system message ends running status; its data bytes belong to nobody.
                self._status = byte if byte < FIRST_SYSTEM else 0
                self._data.clear()
            elif self._status:
                self._data.append(byte)
                n_data = 1 if self._status & 0xF0 in ONE_DATA_BYTE else 2
                if len(self._data) == n_data:
                    messages.append(bytes((self._status, *self._data)))
                    self._data.clear()
        return messages


class RawInput:
    """A raw MIDI device or a pipe."""

    def __init__(self, path: str) -> None:
        self._parser = ChannelMessages()
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def receive(self) -> list[bytes] | None:
        """See ``InputPort``."""
        try:
            return self._parser.feed(os.read(self._fd, MAX_MESSAGES * SHORT_MESSAGE))
        except BlockingIOError:
            return []
        except OSError:
            return None

    def close(self) -> None:
        """See ``InputPort``."""
        os.close(self._fd)


class MidiInputs:
    """Every input that matches.

    Parameters
    ----------
    patterns: as in ``midi.inputs``.
    warn: told what comes and goes.
    """

    def __init__(self, patterns: Sequence[str], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._raw_paths = [p.removeprefix(RAW) for p in patterns if p.startswith(RAW)]
        self._named: dict[str, list[str]] = {}
        for pattern in patterns:
            if not pattern.startswith(RAW):
                api, _, rest = pattern.partition(":")
                known = (api, rest) if api in APIS else ("alsa", pattern)
                self._named.setdefault(known[0], []).append(known[1])
        self._lookers: dict[str, rtmidi.MidiIn] = {}
        self._open: dict[str, InputPort] = {}
        self._complaints: set[str] = set()
        self.scan()

    @property
    def names(self) -> list[str]:
        """The ports listened to now."""
        return sorted(self._open)

    def receive(self) -> Iterator[tuple[str, bytes]]:
        """What came since the last call: port and message."""
        for name, port in list(self._open.items()):
            messages = port.receive()
            if messages is None:
                self._close(name)
            for message in messages or ():
                yield stable_name(name), message

    def scan(self) -> None:
        """Open what came, close what went."""
        there = self._there()
        for name in [name for name in self._open if name not in there]:
            self._close(name)
        for name, open_port in there.items():
            if name not in self._open:
                self._try(name, open_port)

    def close(self) -> None:
        """Let go of every port."""
        for port in self._open.values():
            port.close()
        self._open.clear()

    def _there(self) -> dict[str, Callable[[], InputPort]]:
        found: dict[str, Callable[[], InputPort]] = {}
        for path in self._raw_paths:
            found[RAW + path] = lambda path=path: RawInput(path)  # type: ignore[misc]
        for api, patterns in self._named.items():
            for name in self._port_names(api):
                if matches(name, patterns) and not matches(name, NOT_INSTRUMENTS):
                    found[f"{api}:{name}"] = lambda api=api, name=name: RtMidiInput(APIS[api], name)  # type: ignore[misc]
        return found

    def _port_names(self, api: str) -> list[str]:
        if api == "alsa" and not SEQUENCER.exists():
            return []  # ``midi`` says so already
        try:
            if api not in self._lookers:
                self._lookers[api] = rtmidi.MidiIn(APIS[api], CLIENT_NAME + "_scan")
            return list(self._lookers[api].get_ports())
        except (rtmidi.SystemError, rtmidi.RtMidiError) as error:
            self._complain(f"no {api} MIDI inputs ({str(error).splitlines()[0]}); set midi.inputs")
            return []

    def _try(self, name: str, open_port: Callable[[], InputPort]) -> None:
        try:
            self._open[name] = open_port()
        except (OSError, ValueError, rtmidi.RtMidiError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._complain(f"MIDI input {name} is not there ({reason}); connect it or set midi.inputs")
            return
        self._complaints.clear()
        self._warn(f"MIDI input {name} is connected")

    def _close(self, name: str) -> None:
        self._open.pop(name).close()
        self._warn(f"MIDI input {name} is gone; its knobs stay where they are")

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._warn(text)
