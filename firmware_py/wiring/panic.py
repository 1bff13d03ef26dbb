"""Where ``guardian`` hears of panics: the panic button's pin and MIDI inputs. Part of the live wiring."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from firmware_py.board.map import Ends
from firmware_py.devices.box_packages import missing_package
from firmware_py.devices.files.learned_controls import ControlsFile, controls_path
from firmware_py.devices.gpio.pins import Pins, no_pin, open_factory
from firmware_py.devices.midi.inputs import MAX_MESSAGES, MidiInputs
from firmware_py.devices.midi.port_names import JACK, RAW
from firmware_py.ports import Clock
from firmware_py.processes.contacts import Button, Faults
from firmware_py.processes.panic import PanicController, PanicStage
from firmware_py.settings import Settings
from kelly_edge.contract import Listen
from kelly_edge.errors import DeviceError

try:
    import rtmidi  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise missing_package(error) from None

Warn = Callable[[str], None]
CLIENT_NAME: Final = "kelly_edge_panic"


class PanicInputs(MidiInputs):
    """The inputs that ``control`` has open too; it reports their faults itself."""

    CLIENT = CLIENT_NAME

    def _looker(self, api: int) -> Any:
        return rtmidi.MidiIn(api, CLIENT_NAME, queue_size_limit=MAX_MESSAGES)


class PanicButton:
    """The panic button on its pin, for ``guardian``.

    Raises
    ------
    DeviceError: the pin is not available.
    """

    def __init__(self, factory: Any, pin: int, warn: Warn) -> None:
        self._pins = Pins(factory, [pin], [])
        if pin in self._pins.refused:
            self._pins.close()
            raise DeviceError(no_pin(pin, self._pins.refused[pin]))
        self._button = Button(Faults(f"panic button (pin {pin})", warn))

    def n_asked(self) -> int:
        """Pushes since the last call."""
        for edge in self._pins.take():
            self._button.feed(edge)
        return self._button.look(self._pins.now_s()).n_downs


def open_panic_button(settings: Settings, warn: Warn) -> PanicButton | None:
    """The panic button, or None where there is none; one that is not available is told of."""
    pin = settings.panel.panic_pin
    if pin < 0 or settings.panel.chip == "none":
        return None
    try:
        # A folder of its own: the library's pipe would meet that of control.
        with tempfile.TemporaryDirectory(prefix="kelly-edge-gpio-") as folder:
            factory = open_factory(settings.panel.chip, Path(folder))
        return None if factory is None else PanicButton(factory, pin, warn)
    except (DeviceError, OSError) as error:
        warn(f"no panic button: {error}")
        return None


def shared_inputs(settings: Settings) -> list[str]:
    """The patterns of ``midi.inputs`` that two processes can hear.

    A raw device has one reader. A process killed with two clients on JACK stops jackd (``named_ports``), and
    the guardian may have one for the outputs.
    """
    plays_on_jack = any(pattern.startswith(JACK) for pattern in settings.midi.outputs)
    shut = (RAW, JACK) if plays_on_jack else (RAW,)
    return [pattern for pattern in settings.midi.inputs if not pattern.startswith(shut)]


def open_panic(settings: Settings, ends: Ends, clock: Clock, warn: Warn) -> PanicStage:
    """The stage, with the panic button and MIDI inputs this machine has."""
    controller = None
    if patterns := shared_inputs(settings):
        learned = ControlsFile(controls_path(settings.runtime.state_dir, os.environ))
        inputs = PanicInputs(patterns, lambda text: None)
        hears_keyboard = settings.ears.listen != Listen.MICROPHONE
        controller = PanicController(inputs, learned.changed, clock.now_s, hears_keyboard)
    return PanicStage(ends, clock, open_panic_button(settings, warn), controller)
