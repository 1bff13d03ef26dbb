"""The safety limiter: no sample leaves the box above the ceiling, whatever a model says.

Look-ahead limiter: the gain is the moving average of the running minimum of the gain each sample
needs, so that it has already fallen when the peak comes out (Giannoulis et al., JAES 2012, for the
family). Delay: ``LOOK_AHEAD - 1`` samples. A final clip makes the ceiling exact in float arithmetic;
NaN and infinities come out as silence.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.units import db_to_gain

LOOK_AHEAD: Final = 64
"""1.33 ms at 48 kHz: long enough that the gain's fall is no click."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def _limit(
    block: NDArray[np.float32],
    delayed: NDArray[np.float32],
    needed: NDArray[np.float64],
    released: NDArray[np.float64],
    state: NDArray[np.float64],
    ceiling: float,
    release: float,
) -> float:
    """In place over ``block``; ``state`` holds (write index, released gain, sum of ``released``)."""
    n = delayed.shape[0]
    index = int(state[0])
    lowest = 1.0
    for i in range(block.shape[0]):
        x = block[i]
        if not math.isfinite(x):
            x = np.float32(0.0)
        level = abs(x)
        needed[index] = ceiling / level if level > ceiling else 1.0
        minimum = 1.0
        for k in range(n):
            minimum = min(minimum, needed[k])
        gain = min(minimum, state[1] + (1.0 - state[1]) * release)
        state[1] = gain
        state[2] += gain - released[index]
        released[index] = gain
        delayed[index] = x
        # The oldest sample leaves now: every gain in the average was taken with it in the window.
        index = index + 1 if index + 1 < n else 0
        y = delayed[index] * min(1.0, state[2] / n)
        block[i] = min(max(y, -ceiling), ceiling)
        lowest = min(lowest, gain)
    state[0] = index
    return lowest


class Limiter:
    """Streaming limiter over mono float32 blocks of any size.

    Parameters
    ----------
    ceiling_db: highest sample magnitude let out, dBFS.
    release_ms: time constant of the gain's return.
    """

    delay_samples: Final = LOOK_AHEAD - 1

    def __init__(self, ceiling_db: float, release_ms: float) -> None:
        self._ceiling = float(np.nextafter(np.float32(db_to_gain(ceiling_db)), np.float32(0.0)))
        self._release = 1.0 - math.exp(-1_000.0 / (release_ms * SAMPLE_RATE_HZ))
        self._delayed = np.zeros(LOOK_AHEAD, np.float32)
        self._needed = np.ones(LOOK_AHEAD)
        self._released = np.ones(LOOK_AHEAD)
        self._state = np.array([0.0, 1.0, float(LOOK_AHEAD)])

    def process(self, block: NDArray[np.float32]) -> float:
        """Limit ``block`` in place, ``delay_samples`` late; returns the lowest gain applied (1 = none)."""
        lowest: float = _limit(
            block,
            self._delayed,
            self._needed,
            self._released,
            self._state,
            self._ceiling,
            self._release,
        )
        return lowest
