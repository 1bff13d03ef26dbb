"""MIDI ports by name, of either direction: what matches is opened when it comes and closed when it goes.

A pattern of ``midi.outputs`` or ``midi.inputs`` names ALSA ports (``*USB*``); ``jack:PATTERN`` names JACK
ports and ``raw:/dev/snd/midiC1D0`` a device file or pipe (``port_names``). Ports of our own are never opened.

ALSA takes a connection away when the other end goes, and says nothing to the writer. One that was
unplugged and is back before anybody looked has its old name and number: that it was gone is read from
/proc/asound/seq/clients.

On JACK the client that looks for ports becomes the first port found, and goes on looking. A process killed
while it has two clients leaves jackd (1.9.21) with one that it does not bury: every client stands still until
another one comes.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from firmware_py.devices.box_packages import missing_package

try:
    import rtmidi  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None


from firmware_py.devices.midi.port_names import (
    ALSA,
    ANY,
    JACK,
    RAW,
    instruments,
    matching,
    no_match,
    split_pattern,
)
from firmware_py.devices.quiet_libraries import hush_libraries
from kelly_edge.shared.printed import printed

APIS: Final = {"alsa": rtmidi.API_LINUX_ALSA, "jack": rtmidi.API_UNIX_JACK}
SURE_AT_LOOK: Final = 2
"""A port that is plugged in while the box starts is not there at the first look. Chosen for that reason."""
SEQUENCER: Final = Path("/dev/snd/seq")
CLIENTS: Final = Path("/proc/asound/seq/clients")


class Closable(Protocol):
    """One open port."""

    def close(self) -> None:
        """Let go of it."""


P = TypeVar("P", bound=Closable)


class NamedPorts(Generic[P]):
    """Every port that matches; the direction's class says how one is opened, and the words.

    Parameters
    ----------
    patterns: as in the settings.
    warn: told which ports come and go.
    """

    KIND: ClassVar[str]
    """``MIDI output`` or ``MIDI input``."""
    CLIENT: ClassVar[str]
    """What this process is called among the sequencer's clients."""
    SETTING: ClassVar[str]
    NO_API: ClassVar[str]
    """What is said where an API cannot be asked; ``{api}`` and ``{reason}`` are filled in."""
    NO_SEQUENCER: ClassVar[str]
    """What is said where there is no ALSA sequencer; empty: nothing."""
    GONE: ClassVar[str]
    """What follows from a port that is gone."""
    NEEDS_ANY: ClassVar[bool]
    """Whether no port at all is worth a line where the pattern is ``*``."""

    def __init__(self, patterns: Sequence[str], warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._raw_paths: list[str] = []
        self._named: dict[str, list[str]] = {}
        for pattern in patterns:
            api, rest = split_pattern(pattern)
            (self._raw_paths if api == RAW[:-1] else self._named.setdefault(api, [])).append(rest)
        self._n_empty_looks: dict[str, int] = {}
        """Looks at which a pattern matched nothing; none is counted once it has matched."""
        self._lookers: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        """The rtmidi object of each open port."""
        self._open: dict[str, P] = {}
        self._complaints: set[str] = set()
        hush_libraries()
        self.scan()

    @property
    def names(self) -> list[str]:
        """The ports open now."""
        return sorted(self._open)

    def scan(self) -> None:
        """Open ports that came, close ports that went."""
        there, cut = self._there(), self._cut()
        for name in [name for name in self._open if name not in there or name in cut]:
            self._close(name)
        for name, open_port in there.items():
            if name not in self._open:
                self._try(name, open_port)

    def close(self) -> None:
        """Let go of every port."""
        for port in self._open.values():
            port.close()
        self._open.clear()
        self._clients.clear()

    # --- the direction ---------------------------------------------------------------------

    def _looker(self, api: int) -> Any:
        """An rtmidi object that lists the ports of ``api``, or opens one."""
        raise NotImplementedError

    def _open_named(self, client: Any, name: str) -> P:
        """Open ``name`` with an rtmidi object."""
        raise NotImplementedError

    def _open_raw(self, path: str) -> P:
        raise NotImplementedError

    def _opened(self, port: P) -> None:
        """A port was opened, and that was said."""

    # --- the ports at present ---------------------------------------------------------------------

    def _there(self) -> dict[str, Callable[[], P]]:
        found: dict[str, Callable[[], P]] = {}
        for path in self._raw_paths:
            found[RAW + path] = lambda path=path: self._open_raw(path)  # type: ignore[misc]
        for api, patterns in self._named.items():
            if (names := self._port_names(api)) is None:
                continue
            for pattern in patterns:
                wanted = matching(pattern, instruments(names))
                self._tell_unmatched(f"{api}:{pattern}", bool(wanted), names)
                for name in wanted:
                    found[f"{api}:{name}"] = lambda api=api, name=name: self._open_client(api, name)  # type: ignore[misc]
        return found

    def _tell_unmatched(self, pattern: str, is_matched: bool, names: Sequence[str]) -> None:
        """Say once that ``pattern`` means no port, and which there are."""
        n_looks = self._n_empty_looks.get(pattern, 0)
        if is_matched or n_looks >= SURE_AT_LOOK:
            # A port that goes later has a line of its own.
            self._n_empty_looks[pattern] = SURE_AT_LOOK
            return
        self._n_empty_looks[pattern] = n_looks + 1
        if n_looks + 1 == SURE_AT_LOOK and (self.NEEDS_ANY or not pattern.endswith(f":{ANY}")):
            self._warn(no_match(self.KIND, pattern, instruments(names), self.SETTING))

    def _cut(self) -> set[str]:
        """Open ports whose connection is gone."""
        on_alsa = {name for name in self._open if name.startswith(ALSA)}
        if not on_alsa:
            return set()
        try:
            connected = connections(CLIENTS.read_text(encoding="utf-8", errors="replace"), self.CLIENT)
        except OSError:
            return set()
        return {name for name in on_alsa if name.rsplit(" ", 1)[-1] not in connected}

    def _port_names(self, api: str) -> list[str] | None:
        """The ports of ``api``; None where it cannot be asked, and that was said."""
        if api == "alsa" and not SEQUENCER.exists():
            # Asking ALSA anyway would print its own complaint each time.
            if self.NO_SEQUENCER:
                self._complain(self.NO_SEQUENCER)
            return None
        try:
            return list(self._finder(api).get_ports())
        except (rtmidi.SystemError, rtmidi.RtMidiError) as error:
            self._complain(self.NO_API.format(api=api, reason=first_line(error)))
            return None

    def _finder(self, api: str) -> Any:
        if api == "jack":
            for name, client in self._clients.items():
                if name.startswith(JACK):
                    return client
        if api not in self._lookers:
            self._lookers[api] = self._looker(APIS[api])
        return self._lookers[api]

    def _open_client(self, api: str, name: str) -> P:
        shared = self._lookers.pop(api, None) if api == "jack" else None
        client = shared or self._looker(APIS[api])
        port = self._open_named(client, name)
        self._clients[f"{api}:{name}"] = client
        return port

    def _try(self, name: str, open_port: Callable[[], P]) -> None:
        try:
            port = open_port()
        except (OSError, ValueError, rtmidi.RtMidiError) as error:
            reason = error.strerror if isinstance(error, OSError) else first_line(error)
            self._complain(
                f"{self.KIND} {printed(name)} is not there ({reason}); connect it or set {self.SETTING}"
            )
            return
        self._open[name] = port
        self._complaints.clear()
        self._warn(f"{self.KIND} {printed(name)} is connected")
        self._opened(port)

    def _close(self, name: str) -> None:
        self._clients.pop(name, None)
        self._open.pop(name).close()
        self._warn(f"{self.KIND} {printed(name)} is gone; {self.GONE}")

    def _complain(self, text: str) -> None:
        if text not in self._complaints:
            self._complaints.add(text)
            self._warn(text)


def first_line(error: Exception) -> str:
    """What a library says of a fault, on one line."""
    return printed((str(error).splitlines() or [""])[0], 120) or type(error).__name__


def connections(clients: str, client: str) -> set[str]:
    """Addresses (``20:0``) of the ports that ``client`` is connected with, of a list as ``CLIENTS`` is."""
    found: set[str] = set()
    is_its_own = False
    for line in clients.splitlines():
        if line.startswith("Client "):
            is_its_own = f'"{client}"' in line
        elif is_its_own and "Connect" in line:
            found.update(re.findall(r"\b\d+:\d+", line))
    return found
