"""``kelly-edge safe``: where a crash loop ends. The card plays silence, the lamp is red, nothing sounds.

It needs little: no models, no rings, no other process. A second's push of the hold button ends it well, and
systemd tries the box again: not before a minute has passed, for until then systemd would refuse (the units'
StartLimitIntervalSec). The lamp turns white to say so. A card or a panel that is not there is no fault here.
"""

import argparse
import os
import signal
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from firmware_py.board.channels import MemoryCell
from firmware_py.board.telemetry import TIMES_DTYPE
from firmware_py.commands.common import settings_of
from firmware_py.devices.files.run_dir import make_run_dir
from firmware_py.devices.gpio.pins import Pins, open_factory
from firmware_py.devices.midi.outputs import MidiPorts
from firmware_py.devices.session.log import warn
from firmware_py.devices.systemd.service_manager import READY, STOPPING, ServiceManager
from firmware_py.ports import SoundCard
from firmware_py.processes.contacts import Button, Faults
from firmware_py.processes.lamp import COLOURS
from firmware_py.settings import Settings
from firmware_py.wiring.cards import open_card
from firmware_py.wiring.loop import Stop, run_live
from firmware_py.wiring.panel import claim_pins, lamp_on
from kelly_edge.errors import DeviceError

Show = Callable[[bool, bool, bool], None]

REST_S: Final = 60.0
"""The units' StartLimitIntervalSec. As the systemd units set it."""
NO_BUTTON: Final = "no button to end it: `systemctl start kelly-edge.target` does"


class SafeStage:
    """One ``step()`` a period: silence for the card, a look at the button.

    Parameters
    ----------
    hands: the panel's pins and what lights its lamp; None without a panel.
    hold_pin: of the button that ends it.
    rest_s: it does not end before.
    """

    def __init__(
        self, card: SoundCard, period: int, hands: tuple[Pins, Show] | None, hold_pin: int, rest_s: float
    ) -> None:
        self._card = card
        self._hands = hands
        self._hold_pin = hold_pin
        self._hold = Button(Faults("hold button", warn))
        self._block = np.zeros(period, np.float32)
        self._end_s = time.monotonic() + rest_s
        self._is_asked = False
        if hands is not None:
            hands[1](*COLOURS["fault"])

    @property
    def is_over(self) -> bool:
        """Whether it was asked to end, and may."""
        return self._is_asked and time.monotonic() >= self._end_s

    def step(self) -> None:
        """One period."""
        self._card.read(self._block)
        self._block[:] = 0.0
        self._card.write(self._block)
        if self._hands is None or self._is_asked:
            return
        pins, show = self._hands
        for edge in pins.take():
            if edge.pin == self._hold_pin:
                self._hold.feed(edge)
        if self._hold.look(pins.now_s()).n_longs:
            self._is_asked = True
            show(*COLOURS["starting"])


def open_hands(settings: Settings) -> tuple[Pins, Show] | None:
    """The panel's pins and its lamp, or None."""
    try:
        factory = open_factory(settings.panel.chip, make_run_dir(settings.runtime.run_dir))
        pins = None if factory is None else claim_pins(factory, settings.panel, warn)
    except DeviceError as error:
        warn(f"no panel: {error}")
        return None
    return None if pins is None else (pins, lamp_on(pins, settings.panel))


def silence_ports(settings: Settings) -> None:
    """End notes that may sound on the instruments: each output hears All Notes Off as it is connected."""
    ports = MidiPorts(settings.midi.outputs, lambda text: None)
    ports.close()


def safe(settings: Settings) -> int:
    """Until SIGTERM or SIGINT (exit code 0), or the hold button (0 too: try again).

    Raises
    ------
    KellyError: the card is there but cannot do the settings' rate or period, or there is no folder to run in.
    """
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)
    hands = open_hands(settings)
    silence_ports(settings)
    audio = settings.audio
    card = open_card(audio, warn)
    stage = SafeStage(card, audio.period, hands, settings.panel.hold_pin, REST_S)
    manager = ServiceManager(os.environ)
    warn(
        "safe mode: a process of the box died again and again; push the hold button for a second to try again"
    )
    if hands is None:
        warn(NO_BUTTON)
    manager.tell(READY)

    def wait() -> None:
        card.wait()
        if stage.is_over:
            stop.ask()

    try:
        run_live(stage, wait, 1.0, MemoryCell(TIMES_DTYPE), stop, manager.alive)
    finally:
        manager.tell(STOPPING)
        card.close()
        if hands is not None:
            hands[0].close()
        manager.close()
    return 0


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    return safe(settings_of(args))
