"""A streaming pitch tracker: f0 and a confidence, 41 to 2,093 Hz.

Autocorrelation divided by that of the Hann window (Boersma 1993), at 24 kHz, on two windows ending now: a
short one (43 ms) that is quick, and a long one (85 ms) for low notes and for noise. The first peak that comes
near the highest is taken, and its lag is refined on its multiples, so that high notes are as fine as low
ones. The confidence is the height of the peak: the share of the power that is periodic, which noise of any
level leaves low.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import F0_MAX_HZ, F0_MIN_HZ, SAMPLE_RATE_HZ

RATE_HZ: Final = SAMPLE_RATE_HZ // 2
N_TAPS: Final = 31
LONG, SHORT = 2_048, 1_024
LONG_MIN_HZ: Final = F0_MIN_HZ * 0.97
SHORT_MIN_HZ: Final = 110.0
NEAR_HIGHEST: Final = 0.88
"""Share of the highest peak from which an earlier (higher-pitched) one is taken."""
PEAK_TOP: Final = 0.8
CONTINUITY: Final = 0.04
"""Bonus of a peak near the f0 of the hop before."""
SHORT_CLARITY: Final = 0.75
"""Height from which the short window is believed."""
SHORT_SURE: Final = 0.9
"""The same where it cannot tell the octave below: a low note's loud second harmonic looks like one there."""
STEADY: Final = 0.06
"""Relative step of the lag (a semitone) up to which noise is smoothed, by at least ``SLOWEST`` a hop."""
SLOWEST: Final = 0.25
CLIP: Final = 16.0
"""Samples beyond are held there: full scale is 1."""
SILENCE: Final = 1e-10
"""Mean square below which nothing is heard."""
CLARITY_LOW, CLARITY_HIGH = 0.25, 0.75
"""Peak heights at confidence 0 and 1."""


def _half_band() -> NDArray[np.float64]:
    n = np.arange(N_TAPS) - (N_TAPS - 1) / 2
    taps = np.sinc(0.47 * n) * np.blackman(N_TAPS + 2)[1:-1]
    return np.asarray(taps / taps.sum())


@njit(cache=True)
def _decimate(
    hop: NDArray[np.float32], taps: NDArray[np.float64], tail: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    """Low-pass and halve ``hop`` into the end of ``out``; ``tail`` is the input carried over."""
    n, n_tail = hop.shape[0], tail.shape[0]
    line = np.empty(n + n_tail)
    line[:n_tail] = tail
    for i in range(n):
        x = float(hop[i])
        line[n_tail + i] = min(max(x, -CLIP), CLIP) if math.isfinite(x) else 0.0
    m = n // 2
    out[:-m] = out[m:]
    for i in range(m):
        total = 0.0
        for k in range(taps.shape[0]):
            total += taps[k] * line[2 * i + 1 + k]
        out[out.shape[0] - m + i] = total
    tail[:] = line[n:]


@njit(cache=True)
def _peak(r: NDArray[np.float64], at: int, n: int) -> tuple[float, float]:
    """Position and height of the parabola fitted to the top of the peak at ``at``.

    The top is what stands above ``PEAK_TOP`` of the height around it: three points of a sharp peak, many of
    the broad peak of a low sine, whose highest point alone would wander with the noise.
    """
    floor = PEAK_TOP * r[at]
    low, high = at - 1, at + 1
    while low > 1 and r[low - 1] > floor and at - low < at // 8:
        low -= 1
    while high < n - 2 and r[high + 1] > floor and high - at < at // 8:
        high += 1
    half = min(at - low, high - at)
    # Least squares over -half..half: the odd and even moments separate.
    s2 = s4 = sy = sxy = sxxy = 0.0
    for x in range(-half, half + 1):
        y = r[at + x]
        s2 += x * x
        s4 += float(x) ** 4
        sy += y
        sxy += x * y
        sxxy += x * x * y
    m = 2 * half + 1
    curve = (m * sxxy - s2 * sy) / (m * s4 - s2 * s2)
    slope = sxy / s2
    top = (sy - curve * s2) / m
    if curve >= 0.0:
        return float(at), r[at]
    shift = min(max(-0.5 * slope / curve, -half), half)
    return at + shift, max(top + 0.5 * slope * shift, 0.9 * r[at])


@njit(cache=True)
def _choose(r: NDArray[np.float64], lag_min: int, lag_max: int, previous_lag: float) -> tuple[float, float]:
    """Lag (samples, refined) and height of the period's peak; (0, 0) without one.

    Candidates are the highest points between an upward and a downward zero crossing (McLeod & Wyvill 2005).
    """
    n = r.shape[0]
    highest = 0.0
    for lag in range(lag_min, lag_max):
        if r[lag] > r[lag - 1] and r[lag] >= r[lag + 1]:
            highest = max(highest, r[lag])
    if highest <= 0.0:
        return 0.0, 0.0
    lag = 1
    while lag < lag_max and r[lag] > 0.0:
        lag += 1
    if lag == lag_max:
        lag = lag_min  # never below zero: something slow lies under it; take every peak for itself
    while lag < lag_max:
        if r[lag] <= 0.0:
            lag += 1
            continue
        best = lag
        while lag < lag_max and r[lag] > 0.0:
            if r[lag] > r[best]:
                best = lag
            lag += 1
        if best < lag_min or best + 1 >= n or not (r[best] > r[best - 1] and r[best] >= r[best + 1]):
            continue
        position, height = _peak(r, best, n)
        favour = CONTINUITY if previous_lag > 0.0 and abs(position / previous_lag - 1.0) < 0.06 else 0.0
        if r[best] + favour >= NEAR_HIGHEST * highest:
            return _refine(r, position, r[best], lag_max), height
    return 0.0, 0.0


@njit(cache=True)
def _refine(r: NDArray[np.float64], position: float, height: float, lag_max: int) -> float:
    """The period from its multiples: each lag found is divided by its number, as long as they agree."""
    n = r.shape[0]
    refined, k = position, 2
    while (k + 0.5) * refined < lag_max:
        centre = round(k * refined)
        reach = max(1, int(0.1 * refined))
        at = centre
        for lag in range(max(centre - reach, 1), min(centre + reach, n - 2) + 1):
            if r[lag] > r[at]:
                at = lag
        if not (r[at] >= r[at - 1] and r[at] >= r[at + 1]) or r[at] < 0.7 * height:
            break
        multiple, _ = _peak(r, at, n)
        if abs(multiple / k - refined) > 0.02 * refined:
            break
        refined = multiple / k
        k = k + 1 if k < 4 else 2 * k
    return refined


class _Window:
    """One analysis window: its taper, its autocorrelation, and the lags it can tell."""

    def __init__(self, size: int, min_hz: float) -> None:
        self.size = size
        self.taper = np.hanning(size + 2)[1:-1]
        self.n_fft = 2 * size
        own = np.fft.irfft(np.abs(np.fft.rfft(self.taper, self.n_fft)) ** 2)[: size // 2 + 2]
        self.own = own / own[0]
        self.lag_max = min(math.ceil(RATE_HZ / min_hz) + 1, size // 2)

    def period(self, line: NDArray[np.float64], previous_lag: float) -> tuple[float, float]:
        """Lag and height of the peak in the newest ``size`` samples."""
        part = line[-self.size :]
        tapered = (part - part.mean()) * self.taper
        spectrum = np.fft.rfft(tapered, self.n_fft)
        r = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)[: len(self.own)]
        if not r[0] > SILENCE * self.size:
            return 0.0, 0.0
        r /= r[0] * self.own
        lag, height = _choose(r, LAG_MIN, self.lag_max, previous_lag)
        return lag, height


LAG_MIN: Final = int(RATE_HZ / (F0_MAX_HZ * 1.03))


class PitchTracker:
    """``push`` a hop, read ``f0_hz`` (the last one found; 0 before any) and ``confidence``."""

    delay_samples: Final = SHORT + (N_TAPS - 1) // 2
    """Age at 48 kHz of the middle of the short window and of the decimator."""

    def __init__(self) -> None:
        self._taps = _half_band()
        self._tail = np.zeros(N_TAPS - 1)
        self._line = np.zeros(LONG)
        self._windows = (_Window(SHORT, SHORT_MIN_HZ), _Window(LONG, LONG_MIN_HZ))
        self.f0_hz = 0.0
        self.confidence = 0.0

    def reset(self) -> None:
        """Silence before."""
        self._tail[:] = 0.0
        self._line[:] = 0.0
        self.f0_hz = self.confidence = 0.0

    def push(self, hop: NDArray[np.float32]) -> None:
        """Take float32 [256] at 48 kHz; NaN and infinities count as silence."""
        _decimate(hop, self._taps, self._tail, self._line)
        previous = RATE_HZ / self.f0_hz if self.f0_hz > 0.0 and self.confidence > 0.0 else 0.0
        short, long = self._windows
        lag, height = short.period(self._line, previous)
        if height < (SHORT_CLARITY if 2.0 * lag <= short.lag_max else SHORT_SURE):
            long_lag, long_height = long.period(self._line, previous)
            if long_height > height or lag == 0.0:
                lag, height = long_lag, long_height
        share = (height - CLARITY_LOW) / (CLARITY_HIGH - CLARITY_LOW) if lag > 0.0 else 0.0
        self.confidence = min(max(share, 0.0), 1.0)
        if self.confidence > 0.0:
            f0_hz = RATE_HZ / lag
            # In noise a note holds still between the hops; a clear one is followed at once.
            if previous > 0.0 and abs(lag / previous - 1.0) < STEADY:
                f0_hz = self.f0_hz + max(self.confidence**2, SLOWEST) * (f0_hz - self.f0_hz)
            self.f0_hz = f0_hz
