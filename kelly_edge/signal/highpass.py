"""A high-pass at 30 Hz, before everything that listens: rumble and DC are not music.

Sixth-order Butterworth as three biquads (transposed direct form II, float64: the poles lie so near 1 that
float32 would be noisy). -0.1 dB at 41 Hz (E1, the lowest pitch tracked), -21 dB at 20 Hz, nothing at 0 Hz.
Coefficients by the bilinear transform of the analogue prototype (Oppenheim & Schafer, Discrete-Time Signal
Processing, section 7.1), so that the instrument needs no filter library.
"""

import math
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Chosen: below the lowest pitch tracked (41 Hz), above rumble (20 Hz); three biquads make the slope between
# them.
CUTOFF_HZ: Final = 30.0
N_BIQUADS: Final = 3


def high_pass_sections(rate_hz: float) -> NDArray[np.float64]:
    """Biquads ``[N_BIQUADS, 3]``: gain of (1 - 2 z^-1 + z^-2), then a1 and a2, for signals at ``rate_hz``."""
    k = math.tan(math.pi * CUTOFF_HZ / rate_hz)
    sections = []
    for i in range(N_BIQUADS):
        # 1 / Q of a pair of Butterworth's poles.
        damping = 2.0 * math.sin(math.pi * (2 * i + 1) / (4 * N_BIQUADS))
        scale = 1.0 / (1.0 + damping * k + k * k)
        sections.append((scale, 2.0 * (k * k - 1.0) * scale, (1.0 - damping * k + k * k) * scale))
    return np.array(sections)


@njit(cache=True)  # type: ignore[untyped-decorator]
def high_pass(
    samples: NDArray[np.floating[Any]], sections: NDArray[np.float64], state: NDArray[np.float64]
) -> None:
    """Filter ``samples`` ``[n]`` in place; ``state`` ``[N_BIQUADS, 2]`` is carried, zeros at first."""
    for i in range(samples.shape[0]):
        x = float(samples[i])
        for s in range(sections.shape[0]):
            gained = sections[s, 0] * x
            y = gained + state[s, 0]
            state[s, 0] = state[s, 1] - 2.0 * gained - sections[s, 1] * y
            state[s, 1] = gained - sections[s, 2] * y
            x = y
        samples[i] = x
