"""The panel of a box: which pins, which stages. Part of the live wiring, for ``control`` and safe mode."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firmware_py.board.map import Ends
from firmware_py.devices.files.programmes import numbered
from firmware_py.devices.gpio.pins import Pins, Pots, no_pin, open_factory
from firmware_py.panel_lines import read_pot
from firmware_py.ports import Clock, Knobs
from firmware_py.processes.lamp import LampStage
from firmware_py.processes.panel import PanelStage, control_pins, panel_pins
from firmware_py.settings import PanelSettings, Settings
from kelly_edge.errors import DeviceError

Warn = Callable[[str], None]

SETTLE_S: Final = 0.006
"""After the first edge, so that one step takes in what belongs together. Chosen: a little more than
``pins.HOLD_BACK_S``."""


def lamp_on(pins: Pins, panel: PanelSettings) -> Callable[[bool, bool, bool], None]:
    """What lights the lamp's red, green and blue."""
    colours = (panel.red_pin, panel.green_pin, panel.blue_pin)

    def show(*are_on: bool) -> None:
        for pin, is_on in zip(colours, are_on, strict=True):
            if pin >= 0:
                pins.light(pin, is_on)

    return show


def claim_pins(factory: Any, panel: PanelSettings, warn: Warn) -> Pins:
    """The pins the settings name, but for the panic button's, which is ``guardian``'s.

    A pin that is refused costs the control that needs it and no other, and ``warn`` is told which.
    """
    lamp = [pin for pin in (panel.red_pin, panel.green_pin, panel.blue_pin) if pin >= 0]
    contacts = [pin for pin in panel_pins(panel) if pin != panel.panic_pin]
    pins = Pins(factory, contacts, lamp, panel.common_anode)
    for name, needed in control_pins(panel).items():
        if refused := [pin for pin in needed if pin in pins.refused]:
            warn(f"no {name}: {no_pin(refused[0], pins.refused[refused[0]])}")
            # Half an encoder turns nothing; its other contact would only look broken.
            pins.ignore(needed)
    return pins


@dataclass
class PanelParts:
    """Hands and lamp, stepped together."""

    pins: Pins
    pots: Pots | None
    panel: PanelStage
    lamp: LampStage

    def step(self) -> None:
        """One turn."""
        self.panel.step()
        self.lamp.step()

    def close(self) -> None:
        """Let go of the pins."""
        if self.pots is not None:
            self.pots.close()
        self.pins.close()


def new_panel(
    settings: Settings, factory: Any, ends: Ends, knobs: Knobs, warn: Warn, clock: Clock
) -> PanelParts:
    """The panel on the pins of ``factory``.

    What is not available is told of, and left out.
    """
    panel = settings.panel
    pins = claim_pins(factory, panel, warn)
    channels = [read_pot(text).channel for text in panel.pots]
    try:
        pots = Pots(factory, channels) if channels else None
    except DeviceError as error:
        warn(str(error))
        pots = None
    offered = [numbered(settings).index(name) for name in settings.emotion.programmes]
    lamp = LampStage(ends, lamp_on(pins, panel), clock, offered)
    stage = PanelStage(panel, pins, pots, knobs, len(settings.voice.names), warn, clock, lamp.flash, offered)
    return PanelParts(pins, pots, stage, lamp)


def open_panel(
    settings: Settings, run_dir: Path, ends: Ends, knobs: Knobs, warn: Warn, clock: Clock
) -> PanelParts | None:
    """The panel, or None: a box without one, or with a broken one (which is told), plays on."""
    try:
        factory = open_factory(settings.panel.chip, run_dir)
        return None if factory is None else new_panel(settings, factory, ends, knobs, warn, clock)
    except DeviceError as error:
        warn(f"no panel: {error}")
        return None


def every_or_moved(period_s: float, moved: threading.Event) -> Callable[[], None]:
    """On a grid of ``period_s``, and as soon as a contact moves."""
    next_s = time.monotonic()

    def wait() -> None:
        nonlocal next_s
        now_s = time.monotonic()
        if now_s >= next_s:
            next_s = now_s + period_s
        if moved.wait(next_s - now_s):
            moved.clear()
            time.sleep(SETTLE_S)

    return wait
