"""Running means of the emotion's features: how long they last, and moments of levels in dB."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ

Float32 = NDArray[np.float32]
# Time constants. Chosen: a note, a chord or two, and the time a key takes to be heard.
FAST_S: Final = 0.4
CHORD_S: Final = 4.0
KEY_S: Final = 15.0
NUMBER, LEVELS, SQUARES = range(3)
"""Slots of ``moments``: how many levels, their sum, the sum of their squares."""


def leak(time_constant_s: float) -> float:
    """What a running mean keeps of its past from one hop group to the next."""
    return math.exp(-1.0 / (time_constant_s * EMOTION_RATE_HZ))


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_level(moments: Float32, level_db: float) -> None:
    """Add a level to ``moments``: number, sum, sum of squares."""
    moments[NUMBER] += 1.0
    moments[LEVELS] += level_db
    moments[SQUARES] += level_db * level_db


@njit(cache=True)  # type: ignore[untyped-decorator]
def level_spread(moments: Float32) -> float:
    """Standard deviation of the levels counted, dB; 0 of none."""
    number = max(moments[NUMBER], 1e-6)
    mean = moments[LEVELS] / number
    return math.sqrt(max(moments[SQUARES] / number - mean * mean, 0.0))
