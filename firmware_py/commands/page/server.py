"""The process of the page and of OSC: sockets on this machine or on the USB cable, and nowhere else."""

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from firmware_py.commands.page.app import Page
from firmware_py.commands.page.keys import Keys
from firmware_py.commands.page.osc import OscIn, OscOut
from firmware_py.commands.page.watching import Watcher
from firmware_py.commands.page.wires import Wires
from firmware_py.devices.files.run_dir import PAGE_FILE
from firmware_py.devices.machine.cable import Cable, cables
from firmware_py.devices.session.log import warn
from firmware_py.devices.systemd.service_manager import READY, STOPPING, ServiceManager
from firmware_py.doors import Door, read_door
from kelly_edge.errors import DeviceError

HOUSEKEEPING_S: Final = 1.0
"""Chosen: a sign of life for the watchdog, and a look at the cable, each second."""
ASKS_WITHIN_S: Final = 10.0
"""A connection that has asked nothing whole for so long is closed. Chosen by hand: a browser asks at once."""
MOST_CONNECTIONS: Final = 48
"""Chosen: four for each browser that may watch."""
ENDS_WITHIN_S: Final = 1
"""Chosen: what is asked when the box stops is answered within a second, or not."""
SAYS_EVERY_S: Final = 60.0
"""A line about what was refused at most so often. Chosen by hand: a journal that can still be read."""
EXIT_MOVED: Final = 75
"""The cable has another address: the page starts again there (sysexits' EX_TEMPFAIL). From sysexits.h."""


@dataclass(frozen=True)
class Place:
    """Where to listen: an address, a port, and the interface that packets must come by (empty: any)."""

    host: str
    port: int
    interface: str = ""

    @property
    def text(self) -> str:
        """As in an address bar."""
        return Door(self.host, self.port).text


async def place_of(door: Door, wait: Callable[[], None] = lambda: None) -> Place:
    """Where ``door`` is now; the cable's as soon as it has an address, with ``wait`` called meanwhile."""
    if not door.is_cable:
        return Place(door.host, door.port)
    is_said = False
    while not (found := cables()):
        if not is_said:
            warn("the USB cable has no network yet (gadget.ecm, and an address for it): waiting for one")
            is_said = True
        wait()
        await asyncio.sleep(HOUSEKEEPING_S)
    return Place(str(found[0].interface.ip), door.port, found[0].name)


def listen(place: Place, kind: int, what: str) -> socket.socket:
    """A bound socket.

    Raises
    ------
    DeviceError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    line = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_STREAM:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.interface:
            # Linux answers for each of its addresses on every network; here only who is on the cable counts.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, place.interface.encode())
        line.bind((place.host, place.port))
        if kind == socket.SOCK_STREAM:
            # From now on a browser may knock.
            line.listen(MOST_CONNECTIONS)
    except OSError as error:
        line.close()
        raise DeviceError(
            f"cannot listen at {place.text}: {error.strerror}; choose another port ({what}.bind)"
        ) from None
    line.setblocking(False)
    return line


def allowed_to_send(door: Door, found: list[Cable]) -> bool:
    """Whether ``door`` is of this machine or on a cable of ``found``."""
    return door.is_loopback or any(
        ipaddress.ip_address(door.host) in cable.interface.network for cable in found
    )


class PatientProtocol(H11Protocol):
    """HTTP that does not wait for ever for who asks nothing."""

    def connection_made(self, transport: Any) -> None:
        """A connection."""
        super().connection_made(transport)
        self.loop.call_later(ASKS_WITHIN_S, self._close_if_idle)

    def _close_if_idle(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """One whose signals are handled here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None of them."""
        yield


class Complaints(logging.Handler):
    """Counts what is complained of, and says a line now and then."""

    def __init__(
        self, now_s: Callable[[], float] = time.monotonic, say: Callable[[str], None] = warn
    ) -> None:
        super().__init__(logging.WARNING)
        self.n = 0
        self._now_s = now_s
        self._say = say
        self._next_s: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """A line of uvicorn's."""
        fault = record.exc_info[1] if record.exc_info else None
        self.of(
            "the page", f"{record.getMessage().splitlines()[0]} {fault!r}" if fault else record.getMessage()
        )

    def of(self, where: str, text: str) -> None:
        """Something was refused."""
        self.n += 1
        now_s = self._now_s()
        if now_s >= self._next_s.get(where, -1.0):
            self._next_s[where] = now_s + SAYS_EVERY_S
            self._say(f"{where}: {text} ({self.n} such so far; told once a minute)")


def names_of(place: Place) -> list[str]:
    """The page's own names, as a browser sends them."""
    names = [place.text]
    if not place.interface:
        names += [f"localhost:{place.port}"]
    return names


async def serve(wires: Wires) -> int:
    """Until SIGTERM or SIGINT; returns the exit code.

    Raises
    ------
    DeviceError: an address cannot be had.
    """
    page_bind, osc = wires.settings.page.bind, wires.settings.osc
    manager, loop, stop = ServiceManager(os.environ), asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Waiting for a cable is no fault.
    manager.tell(READY)
    complaints = Complaints()
    # Libraries' own words would fill the journal; what is refused is counted.
    logging.getLogger().addHandler(logging.NullHandler())
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [complaints], False
    closing: list[Callable[[], Any]] = []
    places: list[Place] = []
    tasks: list[asyncio.Task[Any]] = []
    keys, page_place = Keys(time.monotonic), None
    watcher = Watcher(wires)
    try:
        if page_bind:
            page_place = await _or_stop(place_of(read_door(page_bind), manager.alive), stop)
            if page_place is None:
                return 0
            line = listen(page_place, socket.SOCK_STREAM, "page")
            page = Page(wires, keys, watcher.look, names_of(page_place))
            server = _Server(
                uvicorn.Config(
                    page.app, http=PatientProtocol, ws="none", lifespan="off", log_config=None,
                    access_log=False, server_header=False, limit_concurrency=MOST_CONNECTIONS,
                    timeout_graceful_shutdown=ENDS_WITHIN_S,
                )
            )  # fmt: skip
            tasks.append(asyncio.create_task(server.serve(sockets=[line])))
            places.append(page_place)

            async def close_page() -> None:
                await page.broadcast.close()
                server.should_exit = True

            closing.append(close_page)
            warn(f"the page is at http://{page_place.text}; its PIN is {keys.pin}, until it starts again")
        if osc.bind:
            osc_place = await _or_stop(place_of(read_door(osc.bind), manager.alive), stop)
            if osc_place is None:
                return 0
            heard = OscIn(wires, complaints.of)
            transport, _ = await loop.create_datagram_endpoint(
                lambda: heard, sock=listen(osc_place, socket.SOCK_DGRAM, "osc")
            )
            places.append(osc_place)
            tasks.append(asyncio.create_task(heard.obey()))
            closing.append(transport.close)
            warn(f"OSC is heard at {osc_place.text}, without a PIN")
        if osc.send_to:
            door = read_door(osc.send_to)
            if not allowed_to_send(door, cables()):
                raise DeviceError(
                    f"osc.send_to: {door.text} is neither of this machine nor on the USB cable; correct it"
                )
            sent = OscOut(wires, (door.host, door.port))
            tasks.append(asyncio.create_task(sent.send_on()))
            closing.append(sent.close)
            warn(f"OSC is sent to {door.text}")
        return await _until_stopped(wires, manager, stop, places, tasks, page_place, keys)
    finally:
        manager.tell(STOPPING)
        for close in closing:
            if asyncio.iscoroutine(doing := close()):
                await doing
        _, late = await asyncio.wait(tasks, timeout=2 * ENDS_WITHIN_S) if tasks else (set(), set())
        for task in late:
            task.cancel()
        if page_place is not None:
            _forget(wires)
        manager.close()


async def _or_stop(waited: Any, stop: asyncio.Event) -> Place | None:
    """What is waited for, or None where the process shall end before."""
    waiting, stopping = asyncio.ensure_future(waited), asyncio.ensure_future(stop.wait())
    await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if waiting.done():
        place: Place = waiting.result()
        return place
    waiting.cancel()
    return None


async def _until_stopped(
    wires: Wires,
    manager: ServiceManager,
    stop: asyncio.Event,
    places: list[Place],
    tasks: list[asyncio.Task[Any]],
    page_place: Place | None,
    keys: Keys,
) -> int:
    while not stop.is_set():
        manager.alive()
        if page_place is not None:
            _remember(wires, page_place, keys.pin)
        if any(task.done() for task in tasks):
            # A part ended by itself: its exception is the fault.
            for task in tasks:
                if task.done():
                    task.result()
            return EXIT_MOVED
        if any(place.interface for place in places):
            here = {str(cable.interface.ip) for cable in cables()}
            # An address that is gone may come back; another one is another place.
            if here and any(place.interface and place.host not in here for place in places):
                warn("the USB cable has another address: starting again there")
                return EXIT_MOVED
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), HOUSEKEEPING_S)
    return 0


def _remember(wires: Wires, place: Place, pin: str) -> None:
    """Put address and PIN where ``kelly-edge page pin`` finds them; the box may have made its folder anew."""
    path = wires.run_dir / PAGE_FILE
    text = json.dumps({"url": f"http://{place.text}", "pin": pin, "pid": os.getpid()})
    with contextlib.suppress(OSError, ValueError):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        # Whole or not at all, for who asks for the PIN meanwhile.
        new = path.with_suffix(".json.new")
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)


def _forget(wires: Wires) -> None:
    with contextlib.suppress(OSError):
        (wires.run_dir / PAGE_FILE).unlink()
