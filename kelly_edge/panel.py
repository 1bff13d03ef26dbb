"""What is on the panel, as texts of the settings: which knob drives what, by which steps, on which pins.

    valence 0.04 on 17 27 22                 an encoder: contacts A and B, push; 0.04 a detent
    voice 1 / dry_wet 0.05 on 12 16 26       two pages: each push turns to the next
    brightness -1..1 on 3                    a pot: channel 3 of the converter, from end to end

Pins are BCM numbers of the 40-pin header. The words are fields of ``contract.KNOBS_DTYPE``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

KNOB_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    "density": (-1.0, 1.0),
    "dry_wet": (0.0, 1.0),
    "brightness": (-1.0, 1.0),
    "octave": (-2.0, 2.0),
    "voice": (0.0, 126.0),
}
"""What a knob may drive, and its limits. Voices end where the settings' names end."""
WHOLE: Final = ("octave", "voice")
"""These move by whole numbers."""
LEARNABLE: Final = (*KNOB_RANGES, "programme", "panic", "resume", "session", "mark")
"""What a MIDI controller may be taught to turn or press."""
LAST_PIN: Final = 27
N_CHANNELS: Final = 8
SPI_PINS: Final = (8, 9, 10, 11)
"""Chip select, MISO, MOSI and clock of SPI 0: the converter's, where there are pots."""


@dataclass(frozen=True)
class Page:
    """What an encoder drives, and how far a detent moves it."""

    name: str
    step: float


@dataclass(frozen=True)
class EncoderLine:
    """A rotary encoder: pins of its contacts and its push, and its pages."""

    pages: tuple[Page, ...]
    a: int
    b: int
    push: int


@dataclass(frozen=True)
class PotLine:
    """A pot: its channel, the knob it drives, and the values at its ends."""

    name: str
    low: float
    high: float
    channel: int


def read_encoder(text: str) -> EncoderLine:
    """An encoder's line.

    Raises
    ------
    ValueError: with the fault.
    """
    pages, pins = _halves(text, 3, LAST_PIN, "three pins (A, B, push)")
    return EncoderLine(tuple(_page(page) for page in pages.split("/")), *pins)


def read_pot(text: str) -> PotLine:
    """A pot's line.

    Raises
    ------
    ValueError: with the fault.
    """
    driven, (channel,) = _halves(text, 1, N_CHANNELS - 1, "a channel")
    match = re.fullmatch(r"(\S+)\s+(\S+?)\.\.(\S+)", driven.strip())
    if not match:
        raise ValueError(f"{driven.strip()!r} is not NAME LOW..HIGH")
    low, high = (_within(match[1], _number(match[i])) for i in (2, 3))
    return PotLine(match[1], low, high, channel)


def pin_conflict(pins: Sequence[tuple[str, int]]) -> str:
    """The fault of two things (name, pin) on one pin, or nothing; a pin below 0 is none."""
    users: dict[int, str] = {}
    for name, pin in pins:
        if pin >= 0 and pin in users:
            return f"pin {pin} is both {users[pin]} and {name}"
        users[pin] = name
    return ""


def _halves(text: str, n_pins: int, last: int, what: str) -> tuple[str, tuple[int, ...]]:
    driven, word, pins_text = text.partition(" on ")
    pins = pins_text.replace(",", " ").split()
    are_pins = all(p.isascii() and p.isdigit() and len(p) < 3 and int(p) <= last for p in pins)
    if not word or len(pins) != n_pins or not are_pins:
        raise ValueError(f"{text!r} does not end in `on` and {what}, each 0..{last}")
    return driven, tuple(int(p) for p in pins)


def _page(text: str) -> Page:
    words = text.split()
    if len(words) != 2:
        raise ValueError(f"{text.strip()!r} is not NAME STEP")
    name, step = words[0], _number(words[1])
    _within(name, KNOB_RANGES.get(name, (0.0, 0.0))[0])
    low, high = KNOB_RANGES[name]
    if not 0.0 < abs(step) <= high - low or (name in WHOLE and step != int(step)):
        kind = "a whole number" if name in WHOLE else "a step"
        raise ValueError(f"{words[1]!r} is not {kind} of at most {high - low:g} for {name}")
    return Page(name, step)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?\d{1,6}(\.\d{1,6})?", text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _within(name: str, value: float) -> float:
    if name not in KNOB_RANGES:
        raise ValueError(f"{name!r} is not one of {', '.join(KNOB_RANGES)}")
    low, high = KNOB_RANGES[name]
    if not low <= value <= high:
        raise ValueError(f"{value:g} is not within {low:g}..{high:g} for {name}")
    return value
