"""OSC in and out (Wright & Freed 1997), by python-osc; the addresses are in ``osc_table``.

What is no packet of ours changes nothing: it is counted, and told in a line now and then.
"""

import asyncio
import math
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket
from starlette.concurrency import run_in_threadpool

from firmware_py.board.map import CELLS
from firmware_py.board.telemetry import COUNTERS
from firmware_py.commands.monitor.reading import open_cells
from firmware_py.commands.page.osc_table import BUTTON, HEARD, SENT, Heard
from firmware_py.commands.page.wires import Wires
from firmware_py.commands.status import read_session
from firmware_py.devices.files.programmes import open_programmes
from kelly_edge.errors import KellyError
from kelly_edge.shared.printed import printed

LARGEST: Final = 4_096
"""Bytes of a packet. Chosen: its longest text has a thousand."""
MOST_MESSAGES: Final = 64
"""Of a bundle. Chosen: every knob several times."""
MOST_WAITING: Final = 16
"""Words that wait for the box. Chosen by hand: a hand gives one at a time."""
LOOK_EVERY_S: Final = 0.02
"""Chosen: a note is told within a fiftieth of a second."""
COUNT_EVERY_S: Final = 1.0
"""Chosen: counters are for looking at."""
KNOB: Final = "/kelly/knob/"
_TABLE: Final[Mapping[str, Heard]] = {row.address: row for row in HEARD}
_TAGS: Final[Mapping[str, str]] = {row.address: row.tags for row in SENT}


class NotOurs(Exception):
    """A packet that is not obeyed; its text says why."""


def arguments(address: str, values: list[Any]) -> list[Any] | None:
    """The arguments of a message as its row has them; None for a button's release.

    Raises
    ------
    NotOurs: no such address, too many or too few arguments, a wrong type, no number, out of the range.
    """
    row = _TABLE.get(address)
    if row is None:
        raise NotOurs(f"no address {printed(address, 60)}")
    if not row.n_needed <= len(values) <= len(row.kinds):
        raise NotOurs(f"{address} with {len(values)} arguments")
    for kind, value in zip(row.kinds, values, strict=False):
        if kind == "text":
            if not isinstance(value, str):
                raise NotOurs(f"{address}: an argument is no text")
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise NotOurs(f"{address}: an argument is no finite number")
        if row.limits is not None and not row.limits[0] <= value <= row.limits[1]:
            raise NotOurs(f"{address}: {value:g} is not within {row.limits[0]:g}..{row.limits[1]:g}")
    if row.kinds == (BUTTON,):
        return None if values and not values[0] else []
    return values


def messages(data: bytes) -> list[tuple[str, list[Any]]]:
    """Address and values of each message in a packet, whatever time its bundle names.

    Raises
    ------
    NotOurs: it is no packet, or too large a one.
    """
    if len(data) > LARGEST:
        raise NotOurs(f"a packet of {len(data)} bytes")
    try:
        is_whole = _is_whole(data)
        found = OscPacket(data).messages if is_whole else []
        told = [(str(timed.message.address), list(timed.message.params)) for timed in found]
    except Exception:
        # The library raises what it happens to meet in bytes of others.
        raise NotOurs("bytes that are no OSC") from None
    if not told or not is_whole:
        raise NotOurs("bytes that are no OSC, or a piece of it")
    if len(told) > MOST_MESSAGES:
        raise NotOurs(f"a bundle of {len(told)} messages")
    return told


SIZES: Final[Mapping[str, int]] = {"i": 4, "f": 4, "h": 8, "d": 8, "T": 0, "F": 0}
"""Bytes of an argument by its type tag, by definition (OSC 1.0); texts are as long as they are."""


BUNDLE: Final = b"#bundle\0"
DEEPEST: Final = 4
"""Bundles within bundles. Chosen by hand: nobody sends any."""


def _is_whole(data: bytes, depth: int = 0) -> bool:
    """Whether every size in a packet is that of what follows, to its end.

    The library passes over a type tag that it does not know, takes zeros for bytes that are missing, and a
    piece for the whole.
    """
    if not data.startswith(BUNDLE):
        return _is_message(data)
    at = len(BUNDLE) + 8
    while at + 4 <= len(data):
        begin = at + 4
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data) or depth >= DEEPEST or not _is_whole(data[begin:at], depth + 1):
            return False
    return at == len(data)


def _is_message(message: bytes) -> bool:
    """Whether a message has exactly the arguments that its type tags name."""

    def after_text(at: int) -> int:
        return (message.index(b"\0", at) // 4 + 1) * 4

    at = after_text(0)
    if at == len(message):
        # Older senders leave out the tags where there is no argument.
        return True
    tags, at = message[at : message.index(b"\0", at)].decode("ascii"), after_text(at)
    for tag in tags[1:]:
        at = after_text(at) if tag == "s" else at + SIZES[tag]
    return tags.startswith(",") and at == len(message)


class OscIn(asyncio.DatagramProtocol):
    """Obeys packets.

    Parameters
    ----------
    complain: told where and what, of what is not obeyed.
    """

    def __init__(self, wires: Wires, complain: Callable[[str, str], None]) -> None:
        self._wires = wires
        self._complain = complain
        self._knobs: dict[str, float] = {}
        self._words: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue(MOST_WAITING)
        self._news = asyncio.Event()
        self.n_refused = 0
        self.n_obeyed = 0

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A packet."""
        try:
            for address, values in messages(data):
                if (taken := arguments(address, values)) is not None:
                    self._take(address, taken)
        except (NotOurs, KellyError) as error:
            self._refuse(str(error))

    def error_received(self, exc: Exception) -> None:
        """Nothing that concerns us: we do not answer."""

    def _refuse(self, text: str) -> None:
        self.n_refused += 1
        self._complain("OSC", text)

    def _take(self, address: str, values: list[Any]) -> None:
        if address == "/kelly/panic":
            # It waits behind nothing.
            self._wires.hush()
            self.n_obeyed += 1
        elif address.startswith(KNOB):
            # Only where it was turned to last counts.
            self._knobs[address.removeprefix(KNOB)] = float(values[0])
        else:
            try:
                self._words.put_nowait((address, values))
            except asyncio.QueueFull:
                raise NotOurs(f"{address}: {MOST_WAITING} words wait already") from None
        self._news.set()

    async def obey(self) -> None:
        """Say to the box what comes; for ever."""
        while True:
            await self._news.wait()
            await self.obey_what_waits()

    async def obey_what_waits(self) -> None:
        """Say to the box what came, one after the other."""
        self._news.clear()
        knobs, self._knobs = self._knobs, {}
        for name, value in knobs.items():
            await self._say(partial(self._wires.turn, name, value))
        while not self._words.empty():
            address, values = self._words.get_nowait()
            await self._say(partial(self._word, address, values))

    async def _say(self, word: Callable[[], Any]) -> None:
        try:
            await run_in_threadpool(word)
            self.n_obeyed += 1
        except KellyError as error:
            self._refuse(str(error))

    def _word(self, address: str, values: list[Any]) -> Any:
        words: Mapping[str, Callable[..., Any]] = {
            "/kelly/resume": self._wires.resume,
            "/kelly/session/start": self._wires.start,
            "/kelly/session/stop": self._wires.stop,
            "/kelly/session/mark": lambda text="": self._wires.mark(text),
            "/kelly/programme": self._wires.choose,
        }
        return words[address](*values)


def packet(address: str, *values: float | str) -> bytes:
    """A message of ``SENT``."""
    builder = OscMessageBuilder(address)
    for tag, value in zip(_TAGS[address], values, strict=True):
        builder.add_arg(value, tag)
    return bytes(builder.build().dgram)


class OscOut:
    """Sends what the box does; it looks at the cells, as ``monitor`` does.

    Parameters
    ----------
    to: numeric address and port.
    """

    def __init__(self, wires: Wires, to: tuple[str, int]) -> None:
        self._wires = wires
        self._to = to
        self._programmes = open_programmes(wires.settings)
        self._socket = socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._cells: Mapping[str, Any] = {}
        self._records: dict[str, NDArray[Any]] = {
            name: np.zeros((), spec.dtype) for name, spec in CELLS.items()
        }
        self._told: dict[object, tuple[Any, ...]] = {}
        self._heard_at_s = self._count_at_s = -math.inf
        self._heard_s = -1.0
        self._sounding = np.zeros((16, 128), np.bool_)

    async def send_on(self) -> None:
        """For ever."""
        while True:
            for data in self.look(time.monotonic()):
                try:
                    self._socket.sendto(data, self._to)
                except OSError:
                    # Nobody listens there, or not yet.
                    continue
            await asyncio.sleep(LOOK_EVERY_S)

    def close(self) -> None:
        """Done."""
        self._socket.close()

    def look(self, now_s: float) -> list[bytes]:
        """The packets of what is new at monotonic ``now_s``."""
        if now_s - self._heard_at_s > COUNT_EVERY_S:
            # Its files are new when it starts again.
            self._heard_at_s = now_s
            try:
                self._cells = open_cells(self._wires.run_dir)
            except KellyError:
                self._cells = {}
        if not self._cells:
            return []
        sent = [*self._of_group(now_s), *self._of_notes()]
        if now_s - self._count_at_s >= COUNT_EVERY_S:
            self._count_at_s = now_s
            sent += self._of_counters()
        return sent

    def _read(self, name: str) -> NDArray[Any]:
        record = self._records[name]
        self._cells[name].read(record)
        return record

    def _of_group(self, now_s: float) -> list[bytes]:
        heard = self._read("heard")
        if float(heard["time_s"]) == self._heard_s:
            return []
        self._heard_s, self._heard_at_s = float(heard["time_s"]), now_s
        target, panic = self._read("target"), self._read("panic")

        def of(record: NDArray[Any], *names: str) -> list[float]:
            return [float(record[name]) for name in names]

        session = read_session(self._cells, self._programmes)
        beat = of(heard, "beat_phase", "beat_s", "beat_confidence", "bar_phase")
        return [
            packet("/kelly/heard", *of(heard, "valence", "arousal", "confidence")),
            packet("/kelly/asked", *of(target, "valence", "arousal")),
            packet("/kelly/level", *of(heard, "level_db", "presence")),
            packet("/kelly/beat", *beat, int(heard["n_beats"])),
            *self._changed("/kelly/tempo", float(target["played_tempo_bpm"])),
            *self._changed("/kelly/silent", int(panic["is_on"])),
            *self._changed(
                "/kelly/session", session.get("number", 0), session["programme"], session.get("phase", "")
            ),
        ]

    def _changed(self, address: str, *values: Any) -> list[bytes]:
        if self._told.get(address) == values:
            return []
        self._told[address] = values
        return [packet(address, *values)]

    def _of_notes(self) -> list[bytes]:
        sounding = self._read("sounding")["is_on"]
        moved = np.argwhere(sounding != self._sounding)
        self._sounding = sounding.copy()
        return [
            packet("/kelly/note", int(channel) + 1, int(pitch), int(sounding[channel, pitch]))
            for channel, pitch in moved
        ]

    def _of_counters(self) -> list[bytes]:
        sent = []
        for process, names in COUNTERS.items():
            counted = self._read(f"telemetry_{process}")
            for name in names:
                n = int(counted[name]) & 0x7FFFFFFF
                if self._told.get((process, name), (0,)) != (n,):
                    self._told[process, name] = (n,)
                    sent.append(packet("/kelly/counter", process, name, n))
        return sent
