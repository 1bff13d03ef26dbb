"""The pins of the board's header: contacts in, the lamp out, pots through a converter.

gpiozero on lgpio, on the chip that carries the header, found by its label. Edges are only queued in lgpio's
thread, with the kernel's time stamps, and decoded later in order: a decoder in the callback loses steps
under load (gpiozero #1062). A line whose level no longer fits its last edge has lost one; it is put right.
"""

import contextlib
import os
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from firmware_py.devices.box_packages import missing_package
from firmware_py.ports import Edge
from kelly_edge.errors import DeviceError

HEADERS: Final = ("pinctrl-bcm2711", "pinctrl-rp1", "pinctrl-bcm2835")
"""Labels of the chip behind the header: Pi 4, Pi 5, Pi 3 and Zero 2 W (``boards.yaml``)."""
DEVICES: Final = Path("/dev")
HOLD_BACK_S: Final = 0.004
"""An edge of another line may be on its way with an older time stamp. Chosen by hand: the kernel queues
edges of each line by itself."""
MAX_EDGES: Final = 8_192
"""Ten seconds of the wildest turning; more is a fault, and the newest count. Chosen from
``contacts.FASTEST_EDGES_PER_S``."""
FULL_SCALE: Final = 1_023
"""Of the MCP3008, a 10-bit converter (its data sheet's format)."""
LIBRARY_PIPES: Final = ".lgd-nfy*"
LIBRARY_USER: Final = "lg"
"""How the kernel names lgpio where it holds a line: the box itself, most likely."""
N_HEADER_LINES: Final = 28
"""Lines of GPIO on a Raspberry Pi's 40-pin header."""
LINE_IS_USED: Final = 1
"""Flag of a line (GPIO_V2_LINE_FLAG_USED): somebody holds it, or its pin does something else. Linux
(linux/gpio.h)."""


class Queued(NamedTuple):
    """An edge as it came: when it arrived here, the kernel's stamp (of the clock it uses), pin and level."""

    arrived_s: float
    stamp: float
    pin: int
    is_high: bool


def find_chip(label: str) -> int | None:
    """The number of the chip with ``label``; ``auto`` is the header's. None where there is none.

    Raises
    ------
    DeviceError: there are chips, and this user may not open them.
    """
    import lgpio

    wanted, refused = HEADERS if label == "auto" else (label,), ""
    # By label alone: a Pi 5 may have chips 11 to 15 and no 0; the header's number changed between kernels.
    for path in sorted(DEVICES.glob("gpiochip*")):
        number = int(path.name.removeprefix("gpiochip"))
        try:
            handle = lgpio.gpiochip_open(number)
        except lgpio.error as error:
            refused = f"{path} ({str(error).strip(chr(39))})"
            continue
        found = lgpio.gpio_get_chip_info(handle)[3]
        lgpio.gpiochip_close(handle)
        if found in wanted:
            return number
    if refused:
        raise DeviceError(f"cannot open {refused}; add the user to group gpio, or set panel.chip=none")
    return None


def open_factory(label: str, pipe_dir: Path) -> Any | None:
    """A gpiozero pin factory on the chip with ``label``; None where ``auto`` finds no header.

    Parameters
    ----------
    pipe_dir: where lgpio may make the pipe its edges come through.

    Raises
    ------
    DeviceError: the chip asked for is absent, or this user may not open it.
    """
    if label == "none" or (label == "auto" and not any(DEVICES.glob("gpiochip*"))):
        return None
    try:
        _import_library(pipe_dir)
        from gpiozero.exc import GPIOZeroError
        from gpiozero.pins.lgpio import LGPIOFactory
    except ImportError as error:
        raise missing_package(error) from None
    number = find_chip(label)
    if number is None and label != "auto":
        raise DeviceError(f"no GPIO chip is called {label}; `gpiodetect` lists them, set panel.chip")
    if number is None:
        return None
    try:
        factory = LGPIOFactory(chip=number)
        # Asks which board it is on, once, now.
        _ = factory.board_info
    except (GPIOZeroError, OSError) as error:
        raise DeviceError(f"gpiochip{number} is not usable ({error}); set panel.chip=none") from None
    return factory


def no_pin(pin: int, why: str) -> str:
    """What a person reads of a pin that was refused."""
    return f"GPIO {pin} is not available ({why}); `kelly-edge doctor` says who holds it"


def _import_library(pipe_dir: Path) -> None:
    """Import lgpio, which opens its pipe in the working directory, and needs it under no name after."""
    os.environ["LG_WD"] = str(pipe_dir)
    with contextlib.chdir(pipe_dir):
        import lgpio  # noqa: F401
    for pipe in pipe_dir.glob(LIBRARY_PIPES):
        pipe.unlink()


def line_users(label: str) -> dict[int, str]:
    """The header's lines that somebody else holds, with the holder's name; empty where nobody can tell."""
    if label == "none" or not any(DEVICES.glob("gpiochip*")):
        return {}
    try:
        with tempfile.TemporaryDirectory(prefix="kelly-edge-gpio-") as folder:
            _import_library(Path(folder))
        import lgpio
    except (ImportError, OSError):
        return {}
    try:
        if (number := find_chip(label)) is None:
            return {}
        handle = lgpio.gpiochip_open(number)
    except (DeviceError, lgpio.error):
        return {}
    try:
        lines = [lgpio.gpio_get_line_info(handle, line) for line in range(N_HEADER_LINES)]
    except lgpio.error:
        return {}
    finally:
        lgpio.gpiochip_close(handle)
    users = {line: user or "the kernel" for _, line, flags, _, user in lines if flags & LINE_IS_USED}
    return {line: user for line, user in users.items() if user != LIBRARY_USER}


class Pins:
    """Contacts and lamp lines of ``factory``, claimed until ``close``. A pin that is refused is left out.

    Parameters
    ----------
    factory: a gpiozero pin factory.
    inputs: contacts to ground, pulled up. outputs: lines to drive, off at first.
    is_inverted: outputs are on when low.
    """

    def __init__(
        self, factory: Any, inputs: Iterable[int], outputs: Iterable[int], is_inverted: bool = False
    ) -> None:
        self._factory = factory
        self._is_inverted = is_inverted
        self._queue: deque[Queued] = deque(maxlen=MAX_EDGES)
        self._levels: dict[int, bool] = {}
        self._doubts: set[int] = set()
        self._pins: dict[int, Any] = {}
        # gpiozero keeps weak references.
        self._callbacks: list[Callable[[float, int], None]] = []
        self.woken = threading.Event()
        """Set when a contact moves."""
        self.n_mended = 0
        """Edges that were lost and put right."""
        self.refused: dict[int, str] = {}
        """Pins that somebody else has, or that cannot do it, and why."""
        for pin in outputs:
            self._try(pin, self._drive)
        for pin in inputs:
            self._try(pin, self._listen)

    @property
    def inputs(self) -> Sequence[int]:
        """The contacts' pins."""
        return tuple(self._levels)

    def ignore(self, pins: Iterable[int]) -> None:
        """Stop listening to these contacts."""
        for pin in pins:
            if self._levels.pop(pin, None) is not None:
                self._release(pin)

    def take(self) -> list[Edge]:
        """The edges since the last call, in the order in which they happened."""
        ready_s = time.monotonic() - HOLD_BACK_S
        queued = []
        while self._queue and self._queue[0].arrived_s <= ready_s:
            queued.append(self._queue.popleft())
        queued.sort(key=lambda edge: edge.stamp)
        edges = [Edge(edge.arrived_s, edge.pin, edge.is_high) for edge in queued]
        for edge in edges:
            self._levels[edge.pin] = edge.is_high
        return edges + self._mend(ready_s)

    def now_s(self) -> float:
        """The time now on the clock of the edges."""
        return time.monotonic()

    def light(self, pin: int, is_on: bool) -> None:
        """Drive an output; nothing happens at one that was refused."""
        if pin in self._pins:
            self._pins[pin].state = is_on != self._is_inverted

    def close(self) -> None:
        """Let go of the pins, dark and deaf."""
        with contextlib.suppress(Exception):
            for pin, line in self._pins.items():
                if pin in self._levels:
                    line.when_changed = None
                else:
                    line.state = self._is_inverted
            self._factory.close()
        self._pins.clear()

    def _try(self, pin: int, use: Callable[[int, Any], None]) -> None:
        try:
            line = self._pins[pin] = self._factory.pin(pin)
            use(pin, line)
        except Exception as error:  # lgpio, gpiozero and the kernel each have their own
            self.refused[pin] = str(error).strip("'") or type(error).__name__
            self._levels.pop(pin, None)
            self._release(pin)

    def _release(self, pin: int) -> None:
        if (line := self._pins.pop(pin, None)) is not None:
            with contextlib.suppress(Exception):
                line.when_changed = None
                line.close()

    def _drive(self, pin: int, line: Any) -> None:
        line.output_with_state(self._is_inverted)

    def _listen(self, pin: int, line: Any) -> None:
        queue, woken = self._queue, self.woken

        def on_edge(stamp: float, state: int) -> None:
            queue.append(Queued(time.monotonic(), stamp, pin, bool(state)))
            woken.set()

        line.input_with_pull("up")
        line.edges = "both"
        self._callbacks.append(on_edge)
        line.when_changed = on_edge
        self._levels[pin] = True
        if not line.state:
            # Pushed or between detents at start: its first edge is one we did not see.
            on_edge(0.0, 0)

    def _mend(self, now_s: float) -> list[Edge]:
        """Edges that must have been lost: a line twice in a row quiet, and not at its last edge's level."""
        waiting = {edge.pin for edge in self._queue}
        doubts = {
            pin
            for pin, level in self._levels.items()
            if pin not in waiting and bool(self._pins[pin].state) != level
        }
        lost = doubts & self._doubts
        self._doubts = doubts - lost
        self.n_mended += len(lost)
        edges = []
        for pin in sorted(lost):
            self._levels[pin] = not self._levels[pin]
            edges.append(Edge(now_s, pin, self._levels[pin]))
        return edges


class Pots:
    """An MCP3008's channels, 0..1 each, over SPI 0.

    Raises
    ------
    DeviceError: SPI is not there.
    """

    def __init__(self, factory: Any, channels: Iterable[int]) -> None:
        try:
            from gpiozero import MCP3008, Device, SPISoftwareFallback
        except ImportError as error:
            raise missing_package(error) from None
        self._last = dict.fromkeys(channels, 0.0)
        try:
            with warnings.catch_warnings():
                # Where the kernel has no SPI, gpiozero moves the pins itself: fast enough for a hand;
                # it takes them from its default factory.
                warnings.simplefilter("ignore", SPISoftwareFallback)
                Device.pin_factory = factory
                self._channels = {n: MCP3008(channel=n, pin_factory=factory) for n in self._last}
        except Exception as error:
            raise DeviceError(
                f"no pots on SPI 0 ({error}); enable SPI (dtoverlay=spi0-1cs), or empty panel.pots"
            ) from None

    def read(self, channel: int) -> float:
        """Where the pot stands, 0..1; where the converter does not answer, where it stood."""
        with contextlib.suppress(OSError):
            self._last[channel] = float(self._channels[channel].raw_value) / FULL_SCALE
        return self._last[channel]

    def close(self) -> None:
        """Let go of the converter."""
        for device in self._channels.values():
            device.close()
