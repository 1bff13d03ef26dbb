"""Conversions between the units of the field, each for floats and numpy arrays alike.

MIDI note 69 is A4 = 440 Hz; dB are of amplitude.
"""

import math
from typing import Final, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Concert pitch (ISO 16) and its MIDI note (MIDI 1.0).
A4_HZ = 440.0
A4_MIDI = 69.0
PITCH_CLASS_NAMES: Final = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")


@overload
def hz_to_midi(f_hz: float) -> float: ...
@overload
def hz_to_midi(f_hz: Floats) -> Floats: ...
def hz_to_midi(f_hz: float | Floats) -> float | Floats:
    """Frequency (Hz, > 0) to fractional MIDI note."""
    note: float | Floats = A4_MIDI + 12.0 * np.log2(np.asarray(f_hz) / A4_HZ)[()]
    return note


@overload
def midi_to_hz(note: float) -> float: ...
@overload
def midi_to_hz(note: Floats) -> Floats: ...
def midi_to_hz(note: float | Floats) -> float | Floats:
    """Fractional MIDI note to frequency in Hz."""
    f_hz: float | Floats = A4_HZ * np.exp2((np.asarray(note) - A4_MIDI) / 12.0)[()]
    return f_hz


def db_to_gain(level_db: float) -> float:
    """Decibels to an amplitude factor; 0 dB is 1."""
    return math.pow(10.0, level_db / 20.0)


SILENCE_DB: Final = -120.0
"""dBFS at which nothing is left of 24 bits; lower levels are told as this. Chosen for that reason."""


def gain_to_db(gain: float, floor_db: float = SILENCE_DB) -> float:
    """Amplitude factor to decibels, not below ``floor_db``."""
    return max(floor_db, 20.0 * math.log10(gain)) if gain > 0.0 else floor_db


Number = TypeVar("Number", int, float)


def velocity_gain(level_db: float) -> float:
    """What MIDI velocities are multiplied by for a change of level: 40 dB a decade, as in General MIDI."""
    return float(10.0 ** (level_db / 40.0))


def clamp(value: Number, low: Number, high: Number) -> Number:
    """``value`` held within ``low`` .. ``high``."""
    return max(low, min(high, value))
