"""``kelly-edge learn``: teach the box which controller turns which knob.

It listens by itself and keeps the map; a running box reads it within a second.
"""

import argparse
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from firmware_py.commands.common import print_summary, settings_of
from firmware_py.devices.files.learned_controls import (
    controls_path,
    kept_controls,
    store_controls,
    with_control,
)
from firmware_py.devices.session.log import warn
from firmware_py.ports.learned import CC, N_COARSE, SEVEN_BIT, SWITCH, Learned, described
from firmware_py.ports.midi import (
    CHANNEL_PRESSURE,
    CONTROL_CHANGE,
    KEY_PRESSURE,
    KIND,
    NOTE_ON,
    PITCH_BEND,
    PROGRAM_CHANGE,
    SCAN_SOON_S,
)
from firmware_py.ports.midi import PEDALS as MUSIC_PEDALS
from firmware_py.processes.controller_kinds import Source, Verdict
from firmware_py.processes.controller_values import Selection
from firmware_py.processes.controllers import CONTROLS, Inputs
from firmware_py.processes.feedback import FeedbackGuard
from firmware_py.settings import Settings
from kelly_edge.contract import Listen
from kelly_edge.errors import ConfigError, DeviceError
from kelly_edge.shared.printed import printed

LOOK_EVERY_S: Final = 0.05
"""Chosen: the screen follows the hand."""
RESTS_AFTER_S: Final = 0.7
"""After this time without a message a hand has finished a turn or a press. Chosen by hand."""
PEDALS: Final = range(64, 70)
"""Control changes that MIDI defines as pedals: from 64 on they are down, whether or not they send what lies
between."""
MUSIC: Final = "a piano's pedal"
OTHER_MESSAGES: Final = {
    NOTE_ON: "notes",
    KEY_PRESSURE: "key pressure",
    PROGRAM_CHANGE: "program changes",
    CHANNEL_PRESSURE: "channel pressure",
    PITCH_BEND: "pitch bend",
}


class Chooser:
    """Finds the controller that a hand turns among all that is heard."""

    def __init__(self, control: str, hears_keyboard: bool = False) -> None:
        self._control = control
        self._is_button = CONTROLS[control].kind == "button"
        self._guard = FeedbackGuard(hears_keyboard)
        self._selections: defaultdict[tuple[str, int], Selection] = defaultdict(Selection)
        self._sources: dict[tuple[str, int, str, int], Source] = {}
        self._others: dict[tuple[str, int, str], int] = {}
        """What else was moved, by port, channel and kind of message."""

    def hear(self, port: str, message: bytes, now_s: float) -> None:
        """Take in one message."""
        channel = message[0] & 0x0F
        if not self._guard.admits(port, message, now_s):
            kind = OTHER_MESSAGES.get(message[0] & KIND)
            if message[0] & KIND == CONTROL_CHANGE and message[1:2] and message[1] in MUSIC_PEDALS:
                kind = MUSIC
            if kind is not None:
                self._others[port, channel, kind] = self._others.get((port, channel, kind), 0) + 1
            return
        number, value = message[1], message[2]
        selection = self._selections[port, channel]
        if selection.hear(number, value):
            return
        address, base = selection.route(number)
        if address == CC and N_COARSE <= base < 2 * N_COARSE:
            base -= N_COARSE
        source = self._sources.setdefault((port, channel, address, base), Source(address, base))
        source.hear(number, value, now_s)

    def chosen(self, now_s: float, is_over: bool = False) -> Learned | None:
        """The controller meant, as soon as it is clear; ``is_over``: nothing more will be heard."""
        for (port, channel, address, _), source in self._sources.items():
            verdict = source.verdict(is_over or now_s - source.last_s >= RESTS_AFTER_S, is_over)
            if verdict is not None and not self._objection(verdict, address):
                return Learned(self._control, port, channel, verdict.number, address, verdict.coding)
        return None

    def objections(self, now_s: float, is_over: bool = False) -> list[str]:
        """What else was turned, the most active first, and why it cannot serve: a line for each."""
        lines = []
        for (port, channel, address, _), source in sorted(
            self._sources.items(), key=lambda item: -item[1].n_heard
        ):
            verdict = source.verdict(is_over or now_s - source.last_s >= RESTS_AFTER_S, is_over)
            if verdict is not None and (why := self._objection(verdict, address)):
                name = described(port, channel, address, verdict.number, verdict.coding)
                lines.append(f"{name}: {why}")
        if is_over:
            for port, channel, kind in sorted(self._others, key=lambda key: -self._others[key]):
                why = "music, for ears.listen hears it" if kind == MUSIC else "not a control change"
                lines.append(f"{kind}, channel {channel + 1}, {printed(port)}: {why}")
        return lines

    def _objection(self, verdict: Verdict, address: str) -> str:
        """Why a controller cannot turn the knob; nothing where it can."""
        if verdict.problem:
            return verdict.problem
        is_pedal = address == CC and verdict.coding == SEVEN_BIT and verdict.number in PEDALS
        if self._is_button and verdict.coding != SWITCH and not is_pedal:
            return f"{self._control} needs a button or a pedal"
        if not self._is_button and self._control != "mute" and verdict.coding == SWITCH:
            return f"{self._control} needs a knob, a fader or an encoder (if it is one, turn it slowly)"
        return ""


def listen(
    control: str,
    inputs: Inputs,
    seconds: float,
    now_s: Callable[[], float],
    sleep: Callable[[float], None],
    tell: Callable[[str], None] = warn,
    hears_keyboard: bool = False,
) -> Learned:
    """The controller turned within ``seconds``.

    Parameters
    ----------
    tell: told once of each controller that is turned and cannot serve.
    hears_keyboard: a piano's pedals are music.

    Raises
    ------
    DeviceError: none was, or none that can serve.
    """
    chooser, end_s, scan_s, told = Chooser(control, hears_keyboard), now_s() + seconds, 0.0, set[str]()
    while not (is_over := now_s() >= end_s):
        if now_s() >= scan_s:
            scan_s = now_s() + SCAN_SOON_S
            inputs.scan()
        for port, message in inputs.receive():
            chooser.hear(port, message, now_s())
        if (learned := chooser.chosen(now_s())) is not None:
            return learned
        for line in chooser.objections(now_s()):
            if line not in told:
                told.add(line)
                tell(line)
        sleep(LOOK_EVERY_S)
    if (learned := chooser.chosen(now_s(), is_over)) is not None:
        return learned
    if lines := chooser.objections(now_s(), is_over):
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise DeviceError(f"nothing that can turn {control} within {seconds:g} s; {lines[0]}{more}")
    raise DeviceError(
        f"no controller was turned within {seconds:g} s; connect it, check midi.inputs and turn it through"
    )


def learned_controls(settings: Settings) -> dict[str, Any]:
    """What is learned, for printing."""
    controls = kept_controls(controls_path(settings.runtime.state_dir, os.environ), warn)
    return {c.control: c.description for c in controls}


def learn(settings: Settings, control: str, seconds: float) -> dict[str, Any]:
    """Learn ``control`` from the next controller that is turned; returns what is learned then.

    Raises
    ------
    DeviceError: no controller was turned.
    OutputError: the map cannot be read or kept.
    """
    from firmware_py.devices.midi.inputs import MidiInputs

    path = controls_path(settings.runtime.state_dir, os.environ)
    controls = kept_controls(path, warn)
    how = "press" if CONTROLS[control].kind == "button" else "slowly turn through, and back,"
    warn(f"{how} the controller of {control} within {seconds:g} s")
    inputs = MidiInputs(settings.midi.inputs, warn)
    try:
        hears_keyboard = settings.ears.listen != Listen.MICROPHONE
        new = listen(control, inputs, seconds, time.monotonic, time.sleep, hears_keyboard=hears_keyboard)
    finally:
        inputs.close()
    store_controls(path, with_control(controls, new))
    return learned_controls(settings)


def forget(settings: Settings, control: str) -> dict[str, Any]:
    """Forget which controller turns ``control``; returns what is learned then."""
    path = controls_path(settings.runtime.state_dir, os.environ)
    store_controls(path, [c for c in kept_controls(path, warn) if c.control != control])
    return learned_controls(settings)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    settings = settings_of(args)
    if args.control is None and args.forget:
        raise ConfigError(f"learn --forget: name the knob to forget: {', '.join(CONTROLS)}")
    if args.control is None:
        learned = learned_controls(settings)
    elif args.forget:
        learned = forget(settings, args.control)
    else:
        learned = learn(settings, args.control, args.seconds)
    print_summary(learned, args.json)
    return 0
