"""The synthesiser: a bank of harmonics and filtered noise, one hop at a time, in numba.

Within a hop f0, amplitudes and distribution move linearly from the last controls to the new ones, and the
phase is carried over, so nothing clicks at a boundary. The harmonics of a sample come from the Chebyshev
recurrence s[k+1] = 2 cos θ s[k] - s[k-1] (difference from sin(): under 1e-6); each fades out over the last
kilohertz below the band limit, by its frequency of the moment, so that a glide cuts none off. The noise of
a hop is filtered by its own linear-phase FIR and its tail is carried over.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import HOP_SIZE, N_HARMONICS, N_NOISE_BANDS, SAMPLE_RATE_HZ
from kelly_edge.timbre.controls import BAND_FADE_HZ, BAND_LIMIT_HZ, Controls

Float32 = NDArray[np.float32]
# Follows from ``N_NOISE_BANDS``: an FIR by its frequency samples.
N_TAPS: Final = 2 * (N_NOISE_BANDS - 1)
NOISE_DELAY: Final = N_TAPS // 2
"""Samples the noise comes later than its controls (1.3 ms). Follows from the symmetry of the FIR."""
MASK_64: Final = (1 << 64) - 1
"""By definition the lowest 64 bits."""


def noise_basis() -> NDArray[np.float64]:
    """FIR taps per unit of each band's magnitude: [65, 128], linear phase, Hann-windowed."""
    impulses = np.fft.irfft(np.eye(N_NOISE_BANDS), N_TAPS)
    return np.asarray(np.roll(impulses, N_TAPS // 2, axis=1) * np.hanning(N_TAPS + 1)[:-1])


@njit(cache=True)
def _levels(distribution: Float32, amplitude: float, to: NDArray[np.float64]) -> None:
    """``amplitude`` times ``distribution`` into ``to``; values that are not finite are silent."""
    for k in range(to.shape[0]):
        level = amplitude * distribution[k]
        to[k] = level if math.isfinite(level) else 0.0


@njit(cache=True)
def _below(limit_hz: float, f0_hz: float, n: int) -> int:
    """How many of the first ``n`` harmonics of ``f0_hz`` lie at or below ``limit_hz``."""
    if not f0_hz > 0.0:
        return 0
    return n if n * f0_hz <= limit_hz else int(limit_hz / f0_hz)


@njit(cache=True)
def _harmonics(
    out: Float32,
    phase: float,
    f0_from: float,
    f0_to: float,
    ends: NDArray[np.float64],
) -> float:
    """Add the bank to ``out``; ``ends`` [2, 64]: levels before and after. Returns the phase, in cycles.

    Harmonics outside, samples inside: independent recurrences, which vectorise without reordering additions.
    Four harmonics a pass: what a sample remembers is loaded and stored four times less often.
    """
    n, n_harmonics = out.shape[0], ends.shape[1]
    share, f0 = np.empty(n), np.empty(n)
    twice_cos, before, s, total = np.empty(n), np.zeros(n), np.empty(n), np.zeros(n)
    highest_hz = 0.0
    for i in range(n):
        share[i] = (i + 1.0) / n
        f0[i] = f0_from + share[i] * (f0_to - f0_from)
        highest_hz = max(highest_hz, f0[i])
        phase += f0[i] / SAMPLE_RATE_HZ
        phase -= math.floor(phase)
        theta = 2.0 * math.pi * phase
        twice_cos[i] = 2.0 * math.cos(theta)
        s[i] = math.sin(theta)
    # As many as every sample has whole.
    n_common = _below(BAND_LIMIT_HZ - BAND_FADE_HZ, highest_hz, n_harmonics) // 4 * 4
    for k in range(0, n_common, 4):
        a0, a1, a2, a3 = ends[0, k], ends[0, k + 1], ends[0, k + 2], ends[0, k + 3]
        b0, b1, b2, b3 = ends[1, k] - a0, ends[1, k + 1] - a1, ends[1, k + 2] - a2, ends[1, k + 3] - a3
        for i in range(n):
            x, s0, twice = share[i], s[i], twice_cos[i]
            s1 = twice * s0 - before[i]
            s2 = twice * s1 - s0
            s3 = twice * s2 - s1
            sum_01 = total[i] + (a0 + x * b0) * s0 + (a1 + x * b1) * s1
            total[i] = sum_01 + (a2 + x * b2) * s2 + (a3 + x * b3) * s3
            before[i], s[i] = s3, twice * s3 - s2
    for i in range(n):
        for k in range(n_common, _below(BAND_LIMIT_HZ, f0[i], n_harmonics)):
            fade = min((BAND_LIMIT_HZ - (k + 1) * f0[i]) / BAND_FADE_HZ, 1.0)
            total[i] += fade * (ends[0, k] + share[i] * (ends[1, k] - ends[0, k])) * s[i]
            before[i], s[i] = s[i], twice_cos[i] * s[i] - before[i]
        if f0[i] > 0.0:
            out[i] += total[i]
    return phase


@njit(cache=True)
def _noise(
    out: Float32, magnitudes: NDArray[np.float64], basis: NDArray[np.float64], tail: NDArray[np.float64],
    seed: NDArray[np.uint64],
) -> None:  # fmt: skip
    """Add a hop of uniform noise filtered by ``magnitudes`` [65]; ``tail`` [128] is carried over."""
    n, n_taps = out.shape[0], basis.shape[1]
    # Silence on either side, so that four samples can be spread at a time.
    taps = np.zeros(n_taps + 6)
    loudest = 0.0
    for band in range(magnitudes.shape[0]):
        if magnitudes[band] > 0.0:
            loudest = max(loudest, magnitudes[band])
            for k in range(n_taps):
                taps[k + 3] += magnitudes[band] * basis[band, k]
    line = np.zeros(n + n_taps)
    line[:n_taps] = tail
    if loudest > 0.0:
        state = seed[0]
        white = np.empty(n)
        for i in range(n):
            # xorshift64 (Marsaglia 2003)
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            white[i] = (state >> np.uint64(11)) * (2.0 / 9007199254740992.0) - 1.0
        seed[0] = state
        t0, t1, t2, t3 = taps[3:], taps[2:], taps[1:], taps
        for i in range(0, n, 4):
            x0, x1, x2, x3 = white[i], white[i + 1], white[i + 2], white[i + 3]
            part = line[i : i + n_taps + 3]
            for k in range(n_taps + 3):
                part[k] = part[k] + x0 * t0[k] + x1 * t1[k] + x2 * t2[k] + x3 * t3[k]
    for i in range(n):
        out[i] += line[i]
    tail[:] = line[n:]


class Synth:
    """Plays controls hop by hop.

    Parameters
    ----------
    seed: of the noise; the same seed and controls give the same samples.
    """

    def __init__(self, seed: int) -> None:
        self._basis = noise_basis()
        self._first_seed = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & MASK_64 or 1
        self._seed = np.zeros(1, np.uint64)
        self._tail = np.zeros(N_TAPS)
        self._ends = np.zeros((2, N_HARMONICS))
        self._noise = np.zeros(N_NOISE_BANDS)
        self.reset()

    def reset(self) -> None:
        """Silence before."""
        self._seed[0] = self._first_seed
        self._tail[:] = 0.0
        self._ends[:] = 0.0
        self._phase = 0.0
        self._f0_hz = 0.0

    def play(self, controls: Controls, f0_hz: float, gain: float, out: Float32) -> None:
        """One hop into ``out`` float32 [256], ending at ``controls`` times ``gain`` and ``f0_hz``.

        An f0 that is not finite and positive, and levels that are not finite, are silent.
        """
        if not 0.0 < f0_hz < math.inf:
            f0_hz = 0.0
        _levels(controls.harmonic_distribution, controls.amplitude * gain, self._ends[1])
        _levels(controls.noise_magnitudes, gain, self._noise)
        # After silence a note begins at its own pitch instead of gliding up to it.
        start_hz = self._f0_hz if self._ends[0].any() else f0_hz
        out[:HOP_SIZE] = 0.0
        self._phase = _harmonics(out, self._phase, start_hz, f0_hz, self._ends)
        _noise(out, self._noise, self._basis, self._tail, self._seed)
        self._ends[0] = self._ends[1]
        self._f0_hz = f0_hz
