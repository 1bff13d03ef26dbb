"""MIDI inputs by name, for keyboards, controllers and MIDI clock.

ALSA and JACK ports are opened by python-rtmidi, raw devices as files.
Patterns are those of ``midi.inputs`` (see ``named_ports``). Ports of our own are never opened: what the box
sends must not turn its knobs. ``receive`` is called by ``control``, ten times per second;
where a keyboard is listened to, its messages are passed on at once too, with their times.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from firmware_py.devices.box_packages import missing_package
from firmware_py.devices.midi.named_ports import NamedPorts
from firmware_py.devices.midi.port_names import WIRELESS, split_pattern, stable_name
from firmware_py.ports.midi import (
    FIRST_REALTIME,
    KIND,
    NOTE_OFF,
    ONE_DATA_BYTE,
    SONG_POSITION,
    SYSTEM,
)

try:
    import rtmidi  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None

CLIENT_NAME: Final = "kelly_edge_controls"
MAX_MESSAGES: Final = 1_024
"""A controller that sends more between two looks is cut off: the newest positions follow anyway. Chosen: a
MIDI cable carries as many in a second."""
SHORT_MESSAGE: Final = 3
"""Bytes of the longest message but system exclusive (MIDI 1.0)."""
FIRST_STATUS: Final = NOTE_OFF


class InputPort(Protocol):
    """One open input."""

    def receive(self) -> list[bytes] | None:
        """The messages that came, whole; None when the port is gone."""

    def close(self) -> None:
        """Let go of it."""


class Hand(Protocol):
    """Who passes pedal and bend on."""

    def hear(self, port: str, message: bytes) -> None:
        """A message came in at ``port``; called from any thread, by one at a time."""

    def forget(self, port: str) -> None:
        """The port is gone."""


class Keys(Protocol):
    """Who hears what a keyboard plays."""

    def hear(self, port: str, message: bytes, age_s: float) -> None:
        """A message came in at ``port``, ``age_s`` ago; called from any thread, by one at a time."""

    def forget(self, port: str) -> None:
        """The port is gone."""


Told = Callable[[str, bytes, float], None]
"""Given a port, a message, and when it came, in seconds of CLOCK_MONOTONIC."""


class RtMidiInput:
    """A port of the ALSA sequencer or of JACK; rtmidi's own thread queues the messages."""

    def __init__(self, client: Any, name: str) -> None:
        self._in = client
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


class DriverTime:
    """When messages arrived, from the driver's times between them and when this process was given each.

    The driver's are exact and say nothing of the beginning; a process is given a message late, never early.
    So the beginning is the earliest that any message allows, and creeps later as clocks drift apart.
    """

    DRIFT = 1e-4

    def __init__(self) -> None:
        self._driver_s = 0.0
        self._begin_s: float | None = None

    def at(self, given_s: float, delta_s: float) -> float:
        """The time of a message given at ``given_s``, ``delta_s`` after the one before."""
        self._driver_s += delta_s
        begin_s = given_s - self._driver_s
        if self._begin_s is not None:
            begin_s = min(begin_s, self._begin_s + self.DRIFT * delta_s)
        self._begin_s = begin_s
        return begin_s + self._driver_s


class TimedInput(RtMidiInput):
    """The same, with MIDI clock: rtmidi calls when a message comes, so that its time is known.

    ``told``: given each other message at once, in rtmidi's thread. ``held_s``: whoever sends here holds each
    message back by it, which is taken off its time.
    """

    def __init__(self, client: Any, name: str, told: Told | None = None, held_s: float = 0.0) -> None:
        super().__init__(client, name)
        self._name = stable_name(name)
        self._told = told
        self._held_s = held_s
        self._time = DriverTime()
        self._came: deque[tuple[bytes, float]] = deque(maxlen=MAX_MESSAGES)
        self._ticks: deque[tuple[bytes, float]] = deque(maxlen=MAX_MESSAGES)
        self._in.ignore_types(sysex=True, timing=False, active_sense=True)
        self._in.set_callback(self._heard)

    def _heard(self, event: tuple[list[int], float], _: object = None) -> None:
        message, delta_s = event
        time_s = self._time.at(time.monotonic(), delta_s) - self._held_s
        is_of_clock = message[0] >= FIRST_REALTIME or message[0] == SONG_POSITION
        (self._ticks if is_of_clock else self._came).append((bytes(message), time_s))
        if self._told is not None and not is_of_clock:
            self._told(self._name, bytes(message), time_s)

    def receive(self) -> list[bytes] | None:
        """See ``InputPort``."""
        return [self._came.popleft()[0] for _ in range(len(self._came))]

    def ticks(self) -> list[tuple[bytes, float]]:
        """The messages of MIDI clock that came, with their times in seconds of CLOCK_MONOTONIC."""
        return [self._ticks.popleft() for _ in range(len(self._ticks))]

    def close(self) -> None:
        """See ``InputPort``."""
        self._in.cancel_callback()
        super().close()


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
                self._status = byte if byte < SYSTEM else 0
                self._data.clear()
            elif self._status:
                self._data.append(byte)
                n_data = 1 if self._status & KIND in ONE_DATA_BYTE else 2
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


class TimedRawInput(RawInput):
    """The same with a thread that reads at once, for a keyboard: when a message came is known."""

    def __init__(self, path: str, told: Told) -> None:
        super().__init__(path)
        self._name = path
        self._told = told
        self._came: deque[bytes] = deque(maxlen=MAX_MESSAGES)
        self._is_gone = False
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._is_gone:
            readable, _, _ = select.select((self._fd, self._woken), (), ())
            if self._woken in readable:
                return
            time_s, messages = time.monotonic(), super().receive()
            self._is_gone = messages is None
            for message in messages or ():
                self._came.append(message)
                self._told(self._name, message, time_s)
            if not messages:
                # A pipe that nobody writes to is readable, and empty.
                time.sleep(EMPTY_S)

    def receive(self) -> list[bytes] | None:
        """See ``InputPort``."""
        if self._is_gone:
            return None
        return [self._came.popleft() for _ in range(len(self._came))]

    def close(self) -> None:
        """See ``InputPort``."""
        os.write(self._wake, b"\0")
        self._thread.join()
        for fd in (self._woken, self._wake):
            os.close(fd)
        super().close()


EMPTY_S: Final = 0.01
"""Chosen by hand: no chord is heard as broken by so little, and the thread costs nothing."""


def _bare(name: str) -> str:
    """A port's name as its own thread knows it: without API and numbers."""
    return stable_name(split_pattern(name)[1])


class MidiInputs(NamedPorts[InputPort]):
    """Every input that matches; see ``NamedPorts``."""

    KIND = "MIDI input"
    CLIENT = CLIENT_NAME
    SETTING = "midi.inputs"
    NO_API = "no {api} MIDI inputs ({reason}); set midi.inputs"
    NO_SEQUENCER = ""  # ``midi`` says so already
    NEEDS_ANY = False
    GONE = "its knobs stay where they are"

    def __init__(
        self,
        patterns: Sequence[str],
        warn: Callable[[str], None],
        hears_clock: bool = False,
        hand: Hand | None = None,
        keys: Keys | None = None,
        wireless_held_s: float = 0.0,
    ) -> None:
        self._hears_clock = hears_clock
        self._hand = hand
        self._keys = keys
        self._wireless_held_s = wireless_held_s
        self._one_at_a_time = threading.Lock()
        super().__init__(patterns, warn)

    def ticks(self) -> Iterator[tuple[str, bytes, float]]:
        """The messages of MIDI clock since the last call: port, message, and seconds since it came."""
        for name, port in self._open.items():
            if isinstance(port, TimedInput):
                for message, time_s in port.ticks():
                    yield stable_name(name), message, time.monotonic() - time_s

    def receive(self) -> Iterator[tuple[str, bytes]]:
        """What came since the last call: port and message."""
        for name, port in list(self._open.items()):
            messages = port.receive()
            if messages is None:
                self._close(name)
            for message in messages or ():
                if type(port) is RawInput:
                    # It has no thread that would have told it.
                    self._tell(_bare(name), message, time.monotonic())
                yield stable_name(name), message

    def _close(self, name: str) -> None:
        super()._close(name)
        with self._one_at_a_time:
            if self._hand is not None:
                self._hand.forget(_bare(name))
            if self._keys is not None:
                self._keys.forget(_bare(name))

    def _tell(self, port: str, message: bytes, time_s: float) -> None:
        with self._one_at_a_time:
            if self._hand is not None:
                self._hand.hear(port, message)
            if self._keys is not None:
                self._keys.hear(port, message, time.monotonic() - time_s)

    def _looker(self, api: int) -> Any:
        return rtmidi.MidiIn(api, CLIENT_NAME, queue_size_limit=MAX_MESSAGES)

    def _open_named(self, client: Any, name: str) -> InputPort:
        held_s = self._wireless_held_s if name.startswith(WIRELESS) else 0.0
        if self._hand is not None or self._keys is not None:
            return TimedInput(client, name, self._tell, held_s)
        return TimedInput(client, name, None, held_s) if self._hears_clock else RtMidiInput(client, name)

    def _open_raw(self, path: str) -> InputPort:
        return RawInput(path) if self._keys is None else TimedRawInput(path, self._tell)
