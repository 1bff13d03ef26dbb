"""``kelly-edge learn``: teach the box which controller turns which knob.

It listens by itself and keeps the map; a running box reads it within a second.
"""

import os
import time
from collections.abc import Callable
from typing import Any, Final

from firmware_py.devices.learned_controls import (
    Learned,
    controls_path,
    kept_controls,
    store_controls,
    with_control,
)
from firmware_py.devices.session_log import warn
from firmware_py.processes.controllers import CONTROLS, MIDDLE, Inputs
from firmware_py.processes.feedback import FeedbackGuard
from kelly_edge.config import Settings
from kelly_edge.errors import DeviceError

LOOK_EVERY_S: Final = 0.05
SCAN_EVERY_S: Final = 0.5
ENOUGH_TURN: Final = 12
"""A knob meant is turned this far; one that trembles is not."""


class Chooser:
    """Finds the controller that a hand turns among all that is heard."""

    def __init__(self, control: str) -> None:
        self._control = control
        self._guard = FeedbackGuard()
        self._span: dict[tuple[str, int, int], tuple[int, int]] = {}

    def hear(self, port: str, message: bytes, now_s: float) -> Learned | None:
        """One message; the controller chosen, as soon as it is clear."""
        if not self._guard.admits(port, message, now_s):
            return None
        source, value = (port, message[0] & 0x0F, message[1]), message[2]
        low, high = self._span.get(source, (value, value))
        low, high = min(low, value), max(high, value)
        self._span[source] = (low, high)
        is_button = CONTROLS[self._control].kind == "button"
        is_meant = value >= MIDDLE if is_button else high - low >= ENOUGH_TURN
        return Learned(self._control, *source) if is_meant else None


def listen(
    control: str, inputs: Inputs, seconds: float, now_s: Callable[[], float], sleep: Callable[[float], None]
) -> Learned:
    """The controller turned within ``seconds``.

    Raises
    ------
    DeviceError: none was.
    """
    chooser, end_s, scan_s = Chooser(control), now_s() + seconds, 0.0
    while now_s() < end_s:
        if now_s() >= scan_s:
            scan_s = now_s() + SCAN_EVERY_S
            inputs.scan()
        for port, message in inputs.receive():
            if (learned := chooser.hear(port, message, now_s())) is not None:
                return learned
        sleep(LOOK_EVERY_S)
    raise DeviceError(
        f"no controller was turned within {seconds:g} s; connect it, check midi.inputs and turn it through"
    )


def learned_controls(settings: Settings) -> dict[str, Any]:
    """What is learned, for printing."""
    controls = kept_controls(controls_path(settings.runtime.state_dir, os.environ), warn)
    return {c.control: f"control change {c.number}, channel {c.channel + 1}, {c.port}" for c in controls}


def learn(settings: Settings, control: str, seconds: float) -> dict[str, Any]:
    """Learn ``control`` from the next controller that is turned; returns what is learned then.

    Raises
    ------
    DeviceError: no controller was turned.
    OutputError: the map cannot be read or kept.
    """
    from firmware_py.devices.midi_in import MidiInputs

    path = controls_path(settings.runtime.state_dir, os.environ)
    controls = kept_controls(path, warn)
    warn(f"turn the controller of {control} through, or press it, within {seconds:g} s")
    inputs = MidiInputs(settings.midi.inputs, warn)
    try:
        new = listen(control, inputs, seconds, time.monotonic, time.sleep)
    finally:
        inputs.close()
    store_controls(path, with_control(controls, new))
    return learned_controls(settings)


def forget(settings: Settings, control: str) -> dict[str, Any]:
    """Forget which controller turns ``control``; returns what is learned then."""
    path = controls_path(settings.runtime.state_dir, os.environ)
    store_controls(path, [c for c in kept_controls(path, warn) if c.control != control])
    return learned_controls(settings)
