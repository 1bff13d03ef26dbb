"""From a card's rate to the instrument's and back, a block at a time, with a short delay known exactly.

Polyphase windowed sinc (Crochiere and Rabiner 1983): an output is the product of the newest ``TAPS`` inputs
and the filter at its fraction. Flat to 20 kHz, images and aliases below -80 dB there; the delay is
``TAPS / 2`` samples at the input's rate. libsoxr's streams, which read recordings, hold back up to 21 ms a
direction, in blocks of their own (docs/decisions/0004-resampling-live.md).
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Chosen: 0.7 ms of delay, and a transition of 2 kHz with the window below (Kaiser 1974).
TAPS: Final = 64
KAISER_BETA: Final = 8.0
"""-82 dB of stop band, reached 2 kHz above half the lower rate. Chosen with ``TAPS``."""


def delay_s(from_hz: int) -> float:
    """What a ``Resampler`` from this rate adds, in seconds."""
    return TAPS / 2 / from_hz


class Resampler:
    """Streaming resampler of mono float32; ``process`` gives the samples complete so far.

    Parameters
    ----------
    from_hz, to_hz: rates; it is measured for 44,100 and 48,000 either way.
    longest: most samples a block may have.
    """

    def __init__(self, from_hz: int, to_hz: int, longest: int) -> None:
        shared = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // shared, from_hz // shared
        cutoff = min(1.0, to_hz / from_hz)
        # Distance of each tap from the moment an output stands for: its fraction, then back in time.
        distance = np.arange(self._up)[:, None] / self._up + (TAPS // 2 - 1) - np.arange(TAPS)[None, :]
        window = np.i0(KAISER_BETA * np.sqrt(np.clip(1.0 - (2.0 * distance / TAPS) ** 2, 0.0, 1.0)))
        table = np.sinc(cutoff * distance) * window
        self._table = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
        n_most = -(-longest * self._up // self._down) + 1
        self._recent = np.zeros(TAPS - 1 + longest, np.float32)
        self._out = np.zeros(n_most, np.float32)
        self._ticks = np.arange(n_most) * self._down
        self._place = np.zeros(n_most, np.intp)
        self._phase = np.zeros(n_most, np.intp)
        self._taps = np.arange(TAPS)
        self._index = np.zeros((n_most, TAPS), np.intp)
        self._inputs = np.zeros((n_most, TAPS), np.float32)
        self._filters = np.zeros((n_most, TAPS), np.float32)
        self._next = 0
        """Place of the next output after the first sample of the next block, in 1/``up`` of an input."""

    def process(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """The outputs up to the last sample of ``block``; the next call overwrites them."""
        n, up = len(block), self._up
        self._recent[TAPS - 1 : TAPS - 1 + n] = block
        n_out = max(0, (n * up - 1 - self._next) // self._down + 1)
        place, phase, index = self._place[:n_out], self._phase[:n_out], self._index[:n_out]
        np.add(self._ticks[:n_out], self._next, out=place)
        np.divmod(place, up, out=(place, phase))
        np.add(place[:, None], self._taps, out=index)
        np.take(self._recent, index, out=self._inputs[:n_out], mode="clip")
        np.take(self._table, phase, axis=0, out=self._filters[:n_out], mode="clip")
        out = self._out[:n_out]
        np.einsum("ij,ij->i", self._inputs[:n_out], self._filters[:n_out], out=out)
        self._next += n_out * self._down - n * up
        self._recent[: TAPS - 1] = self._recent[n : n + TAPS - 1]
        return out
