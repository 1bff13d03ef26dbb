"""Checks of MIDI: the sequencer, and whether each pattern of the settings means a port."""

import os
import re
from collections.abc import Callable, Sequence
from typing import Final

from firmware_py.commands.doctor.machine import FAULT, NOTE, OK, WARNING, Check, Finding, Machine, verdict
from firmware_py.devices.midi.port_names import (
    ALSA,
    ANY,
    JACK,
    RAW,
    instruments,
    matching,
    no_match,
    split_pattern,
    stable_name,
)
from kelly_edge.contract import Listen
from kelly_edge.shared.printed import printed

CLIENTS: Final = "/proc/asound/seq/clients"
_CLIENT: Final = re.compile(r'^Client\s+(\d+) : "(.*)"')
_PORT: Final = re.compile(r'^\s+Port\s+(\d+) : "(.*)" \(([-Rr])([-Ww])')


def sequencer_ports(clients: str, is_output: bool) -> list[str]:
    """The ports that a list as ``CLIENTS`` has to play to, or else to hear, as python-rtmidi names them."""
    names: list[str] = []
    number, client = "", ""
    for line in clients.splitlines():
        if match := _CLIENT.match(line):
            number, client = match[1], match[2]
        elif number != "0" and (match := _PORT.match(line)) and match[4 if is_output else 3] in "RW":
            names.append(f"{client}:{match[2]} {number}:{match[1]}")
    return names


def _sequencer(machine: Machine) -> Finding:
    if machine.path("/dev/snd/seq").exists():
        return verdict(True, "the ALSA sequencer is there")

    def needing(patterns: Sequence[str]) -> list[str]:
        return [rest for api, rest in map(split_pattern, patterns) if api == ALSA[:-1]]

    midi = machine.settings.midi
    is_wanted = any(rest != ANY for rest in needing(midi.inputs))
    level = FAULT if needing(midi.outputs) else WARNING if is_wanted else NOTE
    return Finding(level, "no /dev/snd/seq: USB and virtual MIDI ports are not seen")


def _unmet(machine: Machine, patterns: Sequence[str], is_output: bool) -> list[str]:
    """A text for each pattern that means no port."""
    kind, setting = ("MIDI output", "midi.outputs") if is_output else ("MIDI input", "midi.inputs")
    ask: dict[str, Callable[[], list[str] | None]] = {
        ALSA[:-1]: lambda: sequencer_ports(machine.text(CLIENTS), is_output),
        JACK[:-1]: lambda: machine.jack_ports(is_output),
    }
    texts = []
    for api, rest in map(split_pattern, patterns):
        if api == RAW[:-1]:
            if not machine.path(os.path.abspath(rest)).exists():
                texts.append(f"no {kind} {printed(rest, 200)}")
        elif api == ALSA[:-1] and not machine.text(CLIENTS):
            continue  # Without a sequencer its own check says so.
        elif (names := ask[api]()) is None:
            texts.append(f"no JACK server to ask for {kind} {printed(rest)}")
        elif not matching(rest, instruments(names)) and (is_output or rest != ANY):
            texts.append(no_match(kind, f"{api}:{rest}", instruments(names), setting))
    return texts


def _ports(machine: Machine) -> Finding:
    midi = machine.settings.midi
    texts = [*_unmet(machine, midi.outputs, True), *_unmet(machine, midi.inputs, False)]
    return verdict(not texts, "; ".join(texts) or "every pattern that can be asked about means a port")


def _keyboard(machine: Machine) -> Finding:
    """The ports that may be the player's keyboard."""
    listen, midi = machine.settings.ears.listen, machine.settings.midi
    if listen == Listen.MICROPHONE:
        return Finding(OK, "ears.listen is microphone: no keyboard is listened to")
    found: list[str] = []
    for api, rest in map(split_pattern, midi.inputs):
        if api == RAW[:-1]:
            found += [rest] if machine.path(os.path.abspath(rest)).exists() else []
        else:
            names = sequencer_ports(machine.text(CLIENTS), False) if api == ALSA[:-1] else None
            names = machine.jack_ports(False) if names is None else names
            found += [stable_name(name) for name in matching(rest, instruments(names or []))]
    if found:
        return Finding(OK, f"listens to {', '.join(printed(name) for name in found)}")
    level = FAULT if listen == Listen.KEYBOARD else WARNING
    return Finding(level, f"ears.listen is {listen}, and no MIDI input is there")


CHECKS: Final = (
    Check("MIDI sequencer", _sequencer, "modprobe snd-seq (echo snd-seq > /etc/modules-load.d/midi.conf)"),
    Check("MIDI ports", _ports, "connect the instrument, or set midi.outputs or midi.inputs"),
    Check("keyboard", _keyboard, "plug the keyboard in, set midi.inputs to its name, or ears.listen"),
)
