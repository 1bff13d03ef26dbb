"""A gain that closes and opens without a click: the voice's part in a panic."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ

FADE_S: Final = 0.05
"""Long enough to be no click, short enough that silence comes within a quarter of a second. Chosen by
hand."""


class Fade:
    """A gain on float32 blocks, 0..1, that moves in straight lines; open, it leaves every sample as it is.

    Parameters
    ----------
    is_closed: begin at 0.
    """

    def __init__(self, is_closed: bool = False) -> None:
        self._gain = 0.0 if is_closed else 1.0
        self._ramp = np.zeros(0)

    def process(self, block: NDArray[np.float32], is_closed: bool) -> None:
        """Move toward 0 or 1 over ``block``, in place."""
        goal = 0.0 if is_closed else 1.0
        if self._gain == goal == 1.0:
            return
        if len(self._ramp) != len(block):
            self._ramp = np.arange(1, len(block) + 1) / (FADE_S * SAMPLE_RATE_HZ)
        gains = np.clip(self._gain + (-self._ramp if is_closed else self._ramp), 0.0, 1.0)
        np.multiply(block, gains, out=block, casting="same_kind")
        self._gain = float(gains[-1])
