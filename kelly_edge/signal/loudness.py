"""A-weighted loudness on DDSP's scale, streaming and causal.

DDSP (Engel et al., ICLR 2020, ``compute_loudness``) averages the A-weighted power of an unnormalised
512-point Hann STFT: by Parseval that is the A-weighted mean square times 512 · 3/8, in dB, not below -80.
Here the weighting (IEC 61672-1) is a filter in time, by the bilinear transform at 48 kHz: within 1 dB of
the curve up to 8 kHz, lower above.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ

# The floor of DDSP's scale (Engel et al., 2020).
LOUDNESS_FLOOR_DB: Final = -80.0
WINDOW: Final = 1_024
"""Samples of the Hann-weighted mean: 21 ms, most of a period of the lowest note. Chosen: a shorter one
ripples with low notes, a longer one is late."""
WEIGHTING_DELAY: Final = 2
"""Samples from a click to the middle of the power that the weighting filter makes of it. Measured on a
click."""
# DDSP's STFT (Engel et al., 2020): window's length times the mean square of a Hann window; then poles and
# zeros of the A-weighting (IEC 61672-1).
SCALE: Final = 512.0 * 3.0 / 8.0
POLES_HZ: Final = (20.598997, 20.598997, 107.65265, 737.86223, 12_194.217, 12_194.217)
N_ZEROS_AT_0: Final = 4


def a_weighting_filter(rate_hz: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerator and denominator (a[0] = 1) of the A-weighting at ``rate_hz``, gain 1 at 1 kHz."""
    poles = -2.0 * np.pi * np.array(POLES_HZ)
    z_poles = (2.0 * rate_hz + poles) / (2.0 * rate_hz - poles)
    z_zeros = np.concatenate([np.ones(N_ZEROS_AT_0), -np.ones(len(POLES_HZ) - N_ZEROS_AT_0)])
    b, a = np.poly(z_zeros), np.poly(z_poles)
    z = np.exp(2j * np.pi * 1_000.0 / rate_hz)
    return b / abs(np.polyval(b, z) / np.polyval(a, z)), a


@njit(cache=True)
def _weigh(
    hop: NDArray[np.float32],
    b: NDArray[np.float64],
    a: NDArray[np.float64],
    state: NDArray[np.float64],
    power: NDArray[np.float64],
    window: NDArray[np.float64],
) -> float:
    """Filter ``hop`` into the end of ``power`` (squares, oldest first); the windowed mean square."""
    n, order = hop.shape[0], a.shape[0] - 1
    power[:-n] = power[n:]
    for i in range(n):
        x = float(hop[i])
        if not math.isfinite(x):
            x = 0.0
        y = b[0] * x + state[0]
        for k in range(order - 1):
            state[k] = b[k + 1] * x + state[k + 1] - a[k + 1] * y
        state[order - 1] = b[order] * x - a[order] * y
        power[power.shape[0] - n + i] = y * y
    total = 0.0
    for i in range(power.shape[0]):
        total += power[i] * window[i]
    return total


class LoudnessMeter:
    """``push`` a hop, read ``loudness_db``."""

    delay_samples: Final = WINDOW // 2 + WEIGHTING_DELAY
    """Age of the middle of what ``loudness_db`` is the mean of."""

    def __init__(self) -> None:
        self._b, self._a = a_weighting_filter(SAMPLE_RATE_HZ)
        self._state = np.zeros(len(self._a) - 1)
        self._power = np.zeros(WINDOW)
        window = np.hanning(WINDOW + 2)[1:-1]
        self._window = window / window.sum()
        self.loudness_db = LOUDNESS_FLOOR_DB

    def reset(self) -> None:
        """Silence before."""
        self._state[:] = 0.0
        self._power[:] = 0.0
        self.loudness_db = LOUDNESS_FLOOR_DB

    def push(self, hop: NDArray[np.float32]) -> None:
        """Take float32 [256]; NaN and infinities count as silence."""
        power = SCALE * _weigh(hop, self._b, self._a, self._state, self._power, self._window)
        if not math.isfinite(power):
            self.reset()
            return
        self.loudness_db = max(LOUDNESS_FLOOR_DB, 10.0 * math.log10(max(power, 1e-12)))
