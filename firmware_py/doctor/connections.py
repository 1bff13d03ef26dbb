"""Checks of what is connected: sound card, USB gadget, GPIO."""

import re
from typing import Final

from firmware_py.devices.board_health import read_text
from firmware_py.doctor.machine import FAULT, NOTE, OK, WARNING, Check, Finding, Machine, verdict

PORTAUDIO: Final = "portaudio:"
_CARD_LINE: Final = re.compile(r"^\s*(\d+)\s+\[(\S+)\s*\]")
_CARD_IN_NAME: Final = re.compile(r"^(?:plug)?hw:(?:CARD=)?([^,]+)")
OWN_PROGRAMS: Final = ("kelly-edge", "python")
SOUND_SERVERS: Final = ("pulseaudio", "pipewire", "wireplumber", "jackd", "jackdbus")
PI_GPIO_LABELS: Final = ("pinctrl-bcm2835", "pinctrl-bcm2711", "pinctrl-rp1", "gpio-sim")


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
    is_pi = "Raspberry Pi" in machine.text("/proc/device-tree/model")
    return Finding(WARNING if is_pi else NOTE, "no USB device controller: no MIDI to a computer by USB cable")


def _gadget(machine: Machine) -> Finding:
    if not machine.glob("/sys/class/udc/*"):
        return Finding(NOTE, "no USB device controller, so no gadget")
    bound = [path for path in machine.glob("/sys/kernel/config/usb_gadget/*/UDC") if read_text(path)]
    states = {read_text(path) for path in machine.glob("/sys/class/udc/*/state")}
    if not bound:
        return Finding(WARNING, "the USB gadget is not set up")
    is_seen = "configured" in states
    return Finding(
        OK if is_seen else NOTE, f"the USB gadget is {'in use by' if is_seen else 'up, without'} a computer"
    )


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
    Check("USB controller", _usb_controller, "add dtoverlay=dwc2,dr_mode=peripheral to config.txt"),
    Check("USB gadget", _gadget, "kelly-edge gadget up"),
    Check("USB power", _usb_power, "add usbcore.autosuspend=-1 to the kernel's command line"),
    Check("GPIO chip", _gpio, "on a Raspberry Pi, use its own kernel; elsewhere a MIDI controller"),
)
