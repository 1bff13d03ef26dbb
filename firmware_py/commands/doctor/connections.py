"""Checks of the connections: sound card, USB gadget, GPIO."""

import re
from typing import Final

from firmware_py.commands.doctor.machine import FAULT, NOTE, OK, WARNING, Check, Finding, Machine, verdict
from firmware_py.devices.gpio.pins import HEADERS
from firmware_py.devices.machine.configfs import HOME, MIDI2, OFFICIAL_TOOL, is_anothers
from firmware_py.devices.machine.health import read_text
from firmware_py.panel_lines import SPI_PINS
from firmware_py.processes.panel import control_pins
from kelly_edge.contract import Listen
from kelly_edge.shared.boards import find_board

PORTAUDIO: Final = "portaudio:"
_CARD_LINE: Final = re.compile(r"^\s*(\d+)\s+\[(\S+)\s*\]")
_CARD_IN_NAME: Final = re.compile(r"^(?:plug)?hw:(?:CARD=)?([^,]+)")
OWN_PROGRAMS: Final = ("kelly-edge", "python")
SOUND_SERVERS: Final = ("pulseaudio", "pipewire", "wireplumber", "jackd", "jackdbus")
PI_GPIO_LABELS: Final = (*HEADERS, "gpio-sim")
SPI_BUS: Final = {"spi0.0": 8, "spi0.1": 7}
"""Devices of SPI 0 → their chip select. Data and clock are GPIO 9, 10 and 11.
Raspberry Pi: the same on every board with 40 pins."""
GADGET: Final = HOME.name


def _cards(machine: Machine) -> dict[str, str]:
    """Card number → name of the cards there."""
    lines = machine.text("/proc/asound/cards").splitlines()
    return {match[1]: match[2] for line in lines if (match := _CARD_LINE.match(line))}


def _defined(machine: Machine, name: str) -> bool:
    """Whether ALSA's settings define a device of that name."""
    home = machine.environment.get("HOME", "/root")
    places = [f"{home}/.asoundrc", f"{home}/.config/alsa/asoundrc", "/etc/asound.conf"]
    explicit = machine.environment.get("ALSA_CONFIG_PATH", "")
    texts = [machine.text(path) for path in [*places, *filter(None, [explicit])]]
    pattern = re.compile(rf"^\s*pcm\.{re.escape(name.partition(':')[0])}\b", re.MULTILINE)
    return any(pattern.search(text) for text in texts)


def _card(machine: Machine) -> Finding:
    if machine.settings.ears.listen == Listen.KEYBOARD:
        return Finding(OK, "ears.listen is keyboard: no sound card is opened")
    wanted, cards = machine.settings.audio.card, _cards(machine)
    if wanted.startswith(PORTAUDIO):
        return Finding(NOTE, f"audio.card {wanted}: PortAudio looks for it when it starts")
    if wanted in cards.values():
        return verdict(True, f"card {wanted}")
    if match := _CARD_IN_NAME.match(wanted):
        there = match[1] in cards.values() or match[1] in cards
        return verdict(there, f"card {match[1]} is {'' if there else 'not '}there", FAULT)
    if _defined(machine, wanted):
        return verdict(True, f"device {wanted}, defined in ALSA's settings")
    if wanted in ("default", "sysdefault"):
        return verdict(bool(cards), f"cards: {', '.join(cards.values()) or 'none'}", FAULT)
    return Finding(FAULT, f"no card or device {wanted}; cards: {', '.join(cards.values()) or 'none'}")


def _program(machine: Machine, pid: str) -> str:
    return machine.text(f"/proc/{pid}/comm") or f"process {pid}"


def _card_owner(machine: Machine) -> Finding:
    owners = set()
    for path in machine.glob("/proc/asound/card*/pcm*/sub*/status"):
        match = re.search(r"owner_pid\s*:\s*(\d+)", read_text(path))
        if match and not (name := _program(machine, match[1])).startswith(OWN_PROGRAMS):
            owners.add(f"{name} holds {path.parents[2].name}")
    return verdict(not owners, ", ".join(sorted(owners)) or "no other program holds a card")


def _sound_server(machine: Machine) -> Finding:
    names = {read_text(path) for path in machine.glob("/proc/[0-9]*/comm")} & set(SOUND_SERVERS)
    if (
        not names
        or machine.settings.audio.card.startswith(PORTAUDIO)
        or _defined(machine, machine.settings.audio.card)
    ):
        return verdict(True, f"sound servers: {', '.join(sorted(names)) or 'none'}")
    return Finding(WARNING, f"{', '.join(sorted(names))} may take the card")


def _is_hardware(machine: Machine) -> bool:
    """Whether ``audio.card`` is a card of the kernel's, not one of a sound server's."""
    card = machine.settings.audio.card
    return not card.startswith(PORTAUDIO) and not _defined(machine, card)


def _sound_rights(machine: Machine) -> Finding:
    if not machine.path("/dev/snd").exists():
        return Finding(NOTE, "no /dev/snd: there is no sound on this machine to have rights to")
    groups = machine.text("/etc/group").splitlines()
    ids = {line.split(":")[0]: line.split(":")[2] for line in groups if line.count(":") >= 3}
    is_root = machine.status("Uid").split()[:1] == ["0"]
    ours = [*machine.status("Groups").split(), *machine.status("Gid").split()]
    granted = is_root or ids.get("audio", "") in ours
    level = FAULT if _is_hardware(machine) else NOTE
    return verdict(granted, f"this user may {'' if granted else 'not '}use /dev/snd", level)


def _usb_controller(machine: Machine) -> Finding:
    names = [path.name for path in machine.glob("/sys/class/udc/*")]
    if names:
        return verdict(True, f"USB device controller {', '.join(names)}")
    nothing = "no USB device controller: no MIDI to a computer by USB cable"
    model = machine.text("/proc/device-tree/model")
    if (board := find_board(model)) is None:
        return Finding(WARNING if "Raspberry Pi" in model else NOTE, nothing)
    why = {
        "own": "",
        "only": f"; the {board.name}'s one port is a host port (gadget.only_port)",
        "none": f"; a {board.name} has no device port",
    }[board.device_port]
    return Finding(WARNING if board.device_port == "own" else NOTE, nothing + why)


def _gadget(machine: Machine) -> Finding:
    controllers = machine.glob("/sys/class/udc/*")
    if not controllers:
        return Finding(NOTE, "no USB device controller, so no gadget")
    bound = {
        read_text(path): path.parent.name for path in machine.glob("/sys/kernel/config/usb_gadget/*/UDC")
    }
    users = {c.name: bound.get(c.name) or read_text(c / "function") for c in controllers}
    wanted = machine.settings.gadget.controller or controllers[0].name
    holder = users.get(wanted, "")
    if not holder:
        return Finding(WARNING, "the USB gadget is not set up")
    if holder != GADGET:
        return Finding(WARNING, is_anothers(wanted, holder, machine.path(str(OFFICIAL_TOOL)).exists()))
    is_seen = read_text(machine.path(f"/sys/class/udc/{wanted}/state")) == "configured"
    has_ump = machine.path(f"/{HOME}/configs/c.1/{MIDI2}").exists()
    midi = "MIDI 2.0" if has_ump else "MIDI 1.0 alone: this kernel has no f_midi2, or gadget.function is midi"
    text = f"the USB gadget is {'in use by' if is_seen else 'up, without'} a computer ({midi})"
    return Finding(OK if is_seen else NOTE, text)


def _spi_users(machine: Machine) -> dict[int, str]:
    """Pins that the kernel's SPI 0 holds, as its devices show."""
    bus = machine.path("/sys/bus/spi/devices")
    chip_selects = [pin for name, pin in SPI_BUS.items() if (bus / name).exists()]
    return dict.fromkeys((*chip_selects, 9, 10, 11), "SPI 0") if chip_selects else {}


def _panel_pins(machine: Machine) -> Finding:
    panel = machine.settings.panel
    if panel.chip == "none" or not machine.glob("/dev/gpiochip*"):
        return verdict(True, "no panel on pins")
    users = {**_spi_users(machine), **machine.line_users(panel.chip)}
    if panel.pots:
        users = {pin: user for pin, user in users.items() if pin not in SPI_PINS}
    lost = [
        f"no {name}: {users[pin]} holds GPIO {pin}"
        for name, pins in control_pins(panel).items()
        for pin in pins
        if pin in users
    ]
    return verdict(not lost, "; ".join(lost) or "every pin of the panel is free")


def _gpio(machine: Machine) -> Finding:
    chips = [path.name for path in machine.glob("/dev/gpiochip*")]
    labels = {read_text(path) for path in machine.glob("/sys/class/gpio/gpiochip*/label")}
    if not chips:
        return Finding(NOTE, "no GPIO chip: no knobs, no lamp; a MIDI controller does instead")
    known = [label for label in PI_GPIO_LABELS if label in labels]
    if labels and not known:
        return Finding(WARNING, f"GPIO chips {', '.join(sorted(labels))}: none is known")
    return verdict(True, f"GPIO chip {', '.join(known or chips)}")


def _usb_power(machine: Machine) -> Finding:
    seconds = machine.number("/sys/module/usbcore/parameters/autosuspend")
    if seconds is None:
        return Finding(NOTE, "no USB host")
    return verdict(seconds < 0, f"USB devices {f'sleep after {seconds} s' if seconds >= 0 else 'stay awake'}")


CHECKS: Final = (
    Check("sound card", _card, "plug the card in, or set audio.card to a name of `aplay -L`"),
    Check("card in use", _card_owner, "stop that program, or give it another card"),
    Check("sound server", _sound_server, "stop it, or name one of its devices in audio.card"),
    Check("sound rights", _sound_rights, "add the user to group audio"),
    Check(
        "USB controller",
        _usb_controller,
        "`python -m deploy provision` sets what the board has (docs/hardware.md, Boards)",
    ),
    Check("USB gadget", _gadget, "kelly-edge gadget up"),
    Check("USB power", _usb_power, "add usbcore.autosuspend=-1 to the kernel's command line"),
    Check(
        "panel pins",
        _panel_pins,
        "provision the box again, free the pin in config.txt, or give the control another pin",
    ),
    Check("GPIO chip", _gpio, "on a Raspberry Pi, use its own kernel; elsewhere a MIDI controller"),
)
