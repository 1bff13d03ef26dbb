"""Runs of notes in a network's training data, so that its music never plays one of them again.

A run is ``N_INTERVALS`` + 1 notes in the order in which rows name them (by position, those of a chord
upwards), told by its intervals: a transposed copy is a copy. The runs are kept in a Bloom filter
(Bloom, CACM 13, 1970): none is missed, and few others are taken for one, which costs a note its pitch.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

N_INTERVALS: Final = 16
"""Intervals of a run: longer than those that people share by chance, shorter than a melody one would know.
Counted in the clips of EMOPIA: 5 of 198 for validation share such a run with other songs (model card of the
composer)."""
BASE: Final = 1_000_003
"""Chosen: the first prime above a million, base of a polynomial hash modulo 2^64 (Karp & Rabin 1987)."""
POWERS: Final = np.array([pow(BASE, i, 1 << 64) for i in range(N_INTERVALS)], np.uint64)
PROBES: Final = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64
)
"""Odd numbers; the top bits of a hash times one of them say where to look. Chosen: constants of known
multiplicative hashes (the first is 2^64 over the golden ratio, Knuth 1973)."""
MIDDLE: Final = 128
"""Added to an interval, so that it is positive. Chosen: MIDI intervals lie within ±127."""


def interval_hashes(pitches: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A number for every run in ``pitches`` [n]: [max(0, n - N_INTERVALS)]."""
    steps = np.diff(pitches.astype(np.int64)) + MIDDLE
    if len(steps) < N_INTERVALS:
        return np.zeros(0, np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(steps, N_INTERVALS).astype(np.uint64)
    return np.asarray((runs * POWERS).sum(1, dtype=np.uint64))


class KnownRuns:
    """A set of runs, as ``bits`` uint8 [2^k]."""

    def __init__(self, bits: NDArray[np.uint8]) -> None:
        """Raises ValueError where the length of ``bits`` is no power of two."""
        if bits.ndim != 1 or int(bits.size).bit_count() != 1:
            raise ValueError(f"known runs: {bits.shape} bytes, not a power of two")
        self.bits = bits
        self._shift = np.uint64(64 - (8 * int(bits.size)).bit_length() + 1)

    @classmethod
    def of(cls, hashes: NDArray[np.uint64], n_bytes: int) -> "KnownRuns":
        """The set of ``hashes`` [n] (``interval_hashes``); 2 bytes per run let one other in 500 in."""
        known = cls(np.zeros(n_bytes, np.uint8))
        places = known._places(hashes).ravel()
        np.bitwise_or.at(known.bits, places >> np.uint64(3), _bit(places))
        return known

    def has(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of ``hashes`` [n] are in the set: [n]."""
        places = self._places(hashes)
        return np.asarray((self.bits[places >> np.uint64(3)] & _bit(places)).all(-1))

    def completed_by(self, pitches: Sequence[int], candidates: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``candidates`` [n] complete a run, played after ``pitches``: [n]."""
        if len(pitches) < N_INTERVALS:
            return np.zeros(len(candidates), np.bool_)
        last = np.array(pitches, np.int64)[-N_INTERVALS:]
        steps = (np.diff(last) + MIDDLE).astype(np.uint64)
        begun = (steps * POWERS[:-1]).sum(dtype=np.uint64)
        return self.has(begun + (candidates - last[-1] + MIDDLE).astype(np.uint64) * POWERS[-1])

    def _places(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Numbers of the bits that stand for ``hashes`` [n]: [n, 4]."""
        return np.asarray((hashes[:, None] * PROBES) >> self._shift)


def _bit(places: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.asarray(np.uint8(1) << (places & np.uint64(7)).astype(np.uint8))
