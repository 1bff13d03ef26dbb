"""The safety limiter: no sample leaves the box above the ceiling, whatever a model says.

Look-ahead limiter (Giannoulis et al., JAES 2012, for the family): the reduction each sample needs is held
over the look-ahead, released exponentially and averaged over the look-ahead, so that the gain has already
fallen when the peak comes out. Delay: ``LOOK_AHEAD - 1`` samples. A final clip makes the ceiling exact in
float arithmetic; NaN and infinities come out as silence.

Plain numpy, whole blocks at a time: ``audio`` runs it, and numba would cost that process 200 MB.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.units import db_to_gain

LOOK_AHEAD: Final = 64
"""1.33 ms at 48 kHz: long enough that the gain's fall is no click. Chosen: a power of two, for
``DOUBLINGS``."""

DOUBLINGS: Final = (1, 2, 4, 8, 16, 32)
"""Shifts that make a sum or a maximum over ``LOOK_AHEAD`` neighbours out of pairs: six steps for 64. By
definition the powers of two below it."""

INAUDIBLE: Final = 1e-6
"""A reduction below -120 dB is none; so the limiter comes to rest. Chosen: 24-bit converters end above it."""


class Limiter:
    """Streaming limiter over mono float32 blocks of up to 4,096 samples.

    Parameters
    ----------
    ceiling_db: highest sample magnitude let out, dBFS.
    release_ms: time constant of the gain's return.
    """

    delay_samples: Final = LOOK_AHEAD - 1

    def __init__(self, ceiling_db: float, release_ms: float) -> None:
        self._ceiling = np.nextafter(np.float32(db_to_gain(ceiling_db)), np.float32(0.0))
        self._keep = math.exp(-1_000.0 / (release_ms * SAMPLE_RATE_HZ))
        self._delayed = np.zeros(LOOK_AHEAD - 1, np.float32)
        self._needed = np.zeros(LOOK_AHEAD - 1)
        self._released = np.zeros(LOOK_AHEAD - 1)
        self._fading = np.ones(0)
        self._reducing = False

    def process(self, block: NDArray[np.float32]) -> float:
        """Limit ``block`` in place, ``delay_samples`` late; returns the lowest gain applied (1 = none)."""
        if not self._reducing and np.abs(block).max() <= self._ceiling:
            return self._delay(block)
        n = len(block)
        finite = np.isfinite(block)
        if not finite.all():
            block[~finite] = 0.0
        needed = 1.0 - self._ceiling / np.maximum(np.abs(block, dtype=np.float64), self._ceiling)
        needed = np.concatenate([self._needed, needed])
        held = needed
        for shift in DOUBLINGS:
            held = np.maximum(held[:-shift], held[shift:])
        # r[i] = max(held[i], keep * r[i - 1]) for the whole block: a running maximum of held / keep^i.
        if len(self._fading) != n + 1:
            self._fading = self._keep ** np.arange(n + 1)
        fading = self._fading
        start = np.concatenate([self._released[-1:], held])
        released = (np.maximum.accumulate(start / fading) * fading)[1:]
        released[released < INAUDIBLE] = 0.0
        released = np.concatenate([self._released, released])
        total = released
        for shift in DOUBLINGS:
            total = total[:-shift] + total[shift:]
        delayed = np.concatenate([self._delayed, block])
        np.multiply(delayed[:n], 1.0 - total / LOOK_AHEAD, out=block, casting="same_kind")
        np.minimum(block, self._ceiling, out=block)
        np.maximum(block, -self._ceiling, out=block)
        self._needed, self._released = needed[n:], released[n:]
        self._delayed = delayed[n:]
        self._reducing = bool(self._needed.any() or self._released.any())
        return 1.0 - float(released[LOOK_AHEAD - 1 :].max())

    def _delay(self, block: NDArray[np.float32]) -> float:
        """What most blocks need: the delay alone. A NaN never comes here: it is not below the ceiling."""
        delayed = np.concatenate([self._delayed, block])
        block[:] = delayed[: len(block)]
        self._delayed = delayed[len(block) :]
        return 1.0
