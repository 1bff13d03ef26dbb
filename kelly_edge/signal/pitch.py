"""A streaming pitch tracker: f0 and a confidence, 41 to 2,093 Hz.

Autocorrelation divided by that of the Hann window (Boersma 1993), at 24 kHz, on windows ending now, each
asked where the shorter one is not sure: a quick one (21 ms) for clear notes from 380 Hz, a short one (43 ms),
and a long one (85 ms) for low notes and for noise. The first peak that comes near the highest is taken, one
near the last f0 sooner, the more so the more noise there is; its lag is refined on its multiples, so that
high notes are as fine as low ones. The confidence is the height of the peak: the share of the power that is
periodic, which noise of any level leaves low. What is periodic outside of the range would be found at a
multiple or a part of its period: a peak as high before the range, or a higher one behind it, tells; so does a
partial below the range, of which what was found is a harmonic. A note that was let go has no confidence
either, however periodic its tail is (``release``).
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import F0_MAX_HZ, F0_MIN_HZ, HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.highpass import N_BIQUADS, high_pass, high_pass_sections
from kelly_edge.signal.release import is_released, release_state, reset
from kelly_edge.signal.spectrum import FftPlan, correlation, fft_plan, power_spectrum

Float32 = NDArray[np.float32]

# Chosen: half the instrument's rate suffices up to the 5 kHz of ``BAND_HZ``; 31 taps keep aliases out of
# them.
RATE_HZ: Final = SAMPLE_RATE_HZ // 2
N_TAPS: Final = 31
# Windows in samples of 24 kHz, and lowest f0 asked of the two shorter ones. Chosen: some periods of the
# lowest note fit into each.
LONG, SHORT, QUICK = 2_048, 1_024, 512
SHORT_MIN_HZ: Final = 110.0
QUICK_MIN_HZ: Final = 190.0
BAND_HZ: Final = (2_500.0, 5_000.0)
"""Power is heard whole up to the first and not beyond the second: above lies little of a note, much noise.
Chosen by hand."""
NEAR_HIGHEST: Final = 0.92
"""Share of the highest peak from which an earlier (higher-pitched) one is taken. Chosen by hand (Boersma
1993 prefers high candidates by an octave cost)."""
PEAK_TOP: Final = 0.8
"""Share of a peak's height above which its neighbours define its middle. Chosen by hand."""
CONTINUITY, CONTINUITY_IN_NOISE = 0.04, 0.3
"""Bonus of a peak near the f0 of the hop before, and what is added to it for the share of noise: a clear
note may leap an octave, in noise it is rather the peak that does. In heights of peaks; chosen by hand."""
SHORT_CLARITY: Final = 0.75
"""Height from which the short window is believed. Chosen by hand."""
SHORT_SURE: Final = 0.9
"""The same where it cannot tell the octave below: a low note's loud second harmonic looks like one there.
Chosen by hand."""
QUICK_CLARITY, QUICK_ENOUGH = 0.95, 0.85
"""Height from which the quick window is believed, and below which it no longer is: to go back and forth
between windows of different ages would shake a glide. Where it cannot tell the octave below it never
is. Chosen by hand."""
STEADY: Final = 0.06
"""Relative step of the lag (a semitone) up to which noise is smoothed, by at least ``SLOWEST`` a hop.
Chosen: a larger step is a new note."""
SLOWEST: Final = 0.25
"""Share of the way per hop. Chosen by hand."""
CLIP: Final = 16.0
"""Samples beyond are held there: full scale is 1. Chosen: a float recording may exceed full scale; beyond
24 dB something is broken."""
SILENCE: Final = 1e-10
"""Mean square below which nothing is heard. Full scale squared: -100 dBFS. Chosen: below what 16-bit
recordings hold."""
CLARITY_LOW, CLARITY_HIGH = 0.25, 0.75
"""Peak heights at confidence 0 and 1. Chosen by hand."""
CLEAR: Final = (CLARITY_LOW + CLARITY_HIGH) / 2.0
"""Peak height from which a pitch may be another note's: confidence .5, by definition."""
EDGE: Final = 2.0 ** (50.0 / 1_200.0)
"""A quarter-tone beyond either end still counts as the range: vibrato and mistuned instruments go there.
Chosen by hand."""
LONG_MIN_HZ: Final = F0_MIN_HZ / EDGE
SHORTEST: Final = RATE_HZ / (F0_MAX_HZ * EDGE)
"""The period of the highest note, in samples."""
LAG_MIN: Final = int(SHORTEST)
LOWEST_HZ: Final = 27.0
"""Down to here (A0, a piano's lowest) the period of what is too low is looked for: the long window holds
two. Further down noise makes peaks of its own. Pitch of equal temperament, a little below A0's 27.5 Hz."""
BELOW: Final = 0.4
"""A peak below this share of the highest one behind the range is a part of a longer period. No more is asked:
the notes of a chord have a long period together too, and a voice goes on following its lowest.
Chosen by hand."""
TWICE: Final = 1.05
"""What a peak below the range must have above the one found, to be asked for its fundamental. Chosen by
hand."""
FUNDAMENTAL: Final = 0.01
"""Power of a partial below the range, as a share of that of the note found, from which the note is a harmonic
of it. Chosen between two figures: the window leaks a thousandth that far, and a chord with a long period has
less there."""
HARMONICS: Final = (2, 3, 4)
"""What may be taken for a note below the range. Chosen: higher harmonics are
rarely the strongest."""
FADED: Final = 0.1
"""Share of the power of the long window below which the quick one holds what is left between two pulses.
Chosen by hand."""
IN_BAND: Final = 1e-4
"""Share of the power that must lie in the band: filters and windows let through less of a tone above.
Chosen: -40 dB, what the filters' skirts let through."""


def _half_band() -> NDArray[np.float64]:
    n = np.arange(N_TAPS) - (N_TAPS - 1) / 2
    # Cutoff as a share of the sample rate's half, chosen a little below a half: no alias reaches ``BAND_HZ``.
    taps = np.sinc(0.47 * n) * np.blackman(N_TAPS + 2)[1:-1]
    return np.asarray(taps / taps.sum())


@njit(cache=True)
def _decimate(
    hop: NDArray[np.float32],
    taps: NDArray[np.float64],
    tail: NDArray[np.float64],
    out: NDArray[np.float64],
    power: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Low-pass and halve ``hop`` into the end of ``out``; ``tail`` is the input carried over.

    Its sum of squares goes to the end of ``power``, one for each hop of ``out``; returns the mean square
    before the filter over the quick, the short and the long window.
    """
    n, n_tail, m = hop.shape[0], tail.shape[0], hop.shape[0] // 2
    # Even and odd samples apart: with taps outside, the sums are independent and vectorise in their order.
    even, odd = np.empty(m + n_tail // 2), np.empty(m + n_tail // 2)
    for i in range(n_tail // 2):
        even[i], odd[i] = tail[2 * i], tail[2 * i + 1]
    square = 0.0
    for i in range(n):
        x = float(hop[i])
        x = min(max(x, -CLIP), CLIP) if math.isfinite(x) else 0.0
        if i % 2:
            odd[(n_tail + i) // 2] = x
        else:
            even[(n_tail + i) // 2] = x
        square += x * x
    power[:-1] = power[1:]
    power[-1] = square
    out[:-m] = out[m:]
    newest = out[out.shape[0] - m :]
    newest[:] = 0.0
    for k in range(taps.shape[0]):
        phase = even[(k + 1) // 2 :] if k % 2 else odd[k // 2 :]
        for i in range(m):
            newest[i] += taps[k] * phase[i]
    for i in range(n_tail // 2):
        tail[2 * i], tail[2 * i + 1] = even[m + i], odd[m + i]
    return (
        power[-QUICK // m :].sum() / (2 * QUICK),
        power[-SHORT // m :].sum() / (2 * SHORT),
        power.sum() / (2 * LONG),
    )


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
def _sine_height(r: NDArray[np.float64], at: int) -> float:
    """Height of the cosine through the three points around ``at``, whose period is a few samples.

    A parabola is too flat there.
    """
    step = math.acos(min(max(0.5 * (r[at - 1] + r[at + 1]) / r[at], -1.0), 1.0))
    if step == 0.0:
        return float(r[at])
    return math.hypot(r[at], 0.5 * (r[at + 1] - r[at - 1]) / math.sin(step))


@njit(cache=True)
def _choose(r: NDArray[np.float64], lag_min: int, lag_max: int, previous_lag: float) -> tuple[float, float]:
    """Lag (samples, refined) and height of the period's peak; (0, 0) without one.

    (0, height) where the period is too long for the range: no shorter window knows better.

    Candidates are the highest points between an upward and a downward zero crossing (McLeod & Wyvill 2005).
    The lags of ``r`` behind ``lag_max`` are those of periods too long: what is higher there is the period.
    """
    n = r.shape[0]
    highest = 0.0
    for lag in range(lag_min, lag_max):
        if r[lag] > r[lag - 1] and r[lag] >= r[lag + 1]:
            highest = max(highest, r[lag])
    if highest <= 0.0:
        return 0.0, 0.0
    beyond = 0.0
    for lag in range(lag_max, n - 1):
        if r[lag] > r[lag - 1] and r[lag] >= r[lag + 1]:
            beyond = max(beyond, r[lag])
    bonus = CONTINUITY + CONTINUITY_IN_NOISE * max(1.0 - highest, 0.0)
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
        if best + 1 >= n or not (r[best] > r[best - 1] and r[best] >= r[best + 1]):
            continue
        if best < lag_min:
            if _sine_height(r, best) >= NEAR_HIGHEST * min(highest, 1.0):
                return 0.0, 0.0  # its period is too short; the peaks in the range are its multiples
            continue
        position, height = _peak(r, best, n)
        # Near: within a semitone.
        favour = bonus if previous_lag > 0.0 and abs(position / previous_lag - 1.0) < 0.06 else 0.0
        # Between two samples a sharp peak of so short a period is higher than at either.
        near = max(r[best], height) if best <= lag_min + 1 else r[best]
        if near + favour >= NEAR_HIGHEST * highest:
            if r[best] < BELOW * min(beyond, 1.0):
                return 0.0, min(beyond, 1.0)
            refined = _refine(r, position, r[best], lag_max)
            return (refined, height) if refined >= SHORTEST else (0.0, 0.0)
    return 0.0, 0.0


@njit(cache=True)
def _refine(r: NDArray[np.float64], position: float, height: float, lag_max: int) -> float:
    """The period from its multiples: each lag found is divided by its number, as long as they agree."""
    n = r.shape[0]
    # Chosen by hand: a multiple lies within a tenth of the period of its place, is nearly as high as the
    # first peak, and moves the estimate by 2 % at most.
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


class WindowTables(NamedTuple):
    """Constants of an analysis window: its taper, the lags it can tell, and its transform (``FftPlan``)."""

    lag_max: int  # longest period in the range
    looks_below: bool  # whether longer ones are looked for
    taper: Float32  # [size]
    weights: Float32  # [n_bins] share of a bin's power that is heard; above there is nothing
    inverse: NDArray[np.float64]  # [n_lags] one over the taper's own autocorrelation, 1 at lag 0
    cos: Float32
    sin: Float32
    twist_cos: Float32
    twist_sin: Float32


def _window_tables(size: int, min_hz: float, below_hz: float = 0.0) -> WindowTables:
    """Of ``size`` samples, notes from ``min_hz`` and, where it is given, what lies down to ``below_hz``."""
    lag_max = min(math.ceil(RATE_HZ / min_hz) + 1, size // 2)
    taper = np.hanning(size + 2)[1:-1]
    # A peak's slopes lie beyond it; what is padded by as much is not folded back.
    n_lags = min(lag_max + lag_max // 8, size // 2) + 2
    if below_hz:
        n_lags = min(math.ceil(RATE_HZ / below_hz), size // 2) + 2
    n_fft = 1 << (size + n_lags - 1).bit_length()
    own = np.fft.irfft(np.abs(np.fft.rfft(taper, n_fft)) ** 2, n_fft)[:n_lags]
    n_bins = 2 * math.ceil(n_fft * BAND_HZ[1] / RATE_HZ / 2.0)
    weights = np.interp(np.fft.rfftfreq(n_fft, 1.0 / RATE_HZ)[:n_bins], BAND_HZ, (1.0, 0.0))
    plan = fft_plan(n_fft)
    return WindowTables(
        lag_max,
        below_hz > 0.0,
        taper.astype(np.float32),
        weights.astype(np.float32),
        own[0] / own,
        plan.cos,
        plan.sin,
        plan.twist_cos,
        plan.twist_sin,
    )


# Known when the functions below are compiled: a hop hands over none of these arrays, which would cost more
# than the quick window itself.
TAPS: Final = _half_band()
SECTIONS: Final = high_pass_sections(RATE_HZ)
QUICK_WINDOW: Final = _window_tables(QUICK, QUICK_MIN_HZ)
SHORT_WINDOW: Final = _window_tables(SHORT, SHORT_MIN_HZ)
LONG_WINDOW: Final = _window_tables(LONG, LONG_MIN_HZ, LOWEST_HZ)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _period(
    tables: WindowTables, line: NDArray[np.float64], power: float, previous_lag: float
) -> tuple[float, float]:
    """Lag and height of the peak in the newest samples of ``line``, whose mean square was ``power``.

    See ``_choose`` where there is none, or none in the range.
    """
    size, n_bins, n_lags = tables.taper.shape[0], tables.weights.shape[0], tables.inverse.shape[0]
    scratch = np.empty((4, tables.cos.shape[0] // 2), np.float32)
    plan = FftPlan(tables.taper, tables.cos, tables.sin, tables.twist_cos, tables.twist_sin, scratch)
    part = line[line.shape[0] - size :]
    mean = 0.0
    for i in range(size):
        mean += part[i]
    mean /= size
    frame = np.empty(size, np.float32)
    for i in range(size):
        frame[i] = part[i] - mean
    spectrum, heard = np.empty(n_bins, np.float32), np.empty(n_bins, np.float32)
    power_spectrum(frame, plan, spectrum)
    for k in range(n_bins):
        heard[k] = tables.weights[k] * spectrum[k]
    short, r = np.empty(n_lags, np.float32), np.empty(n_lags)
    correlation(heard, plan, short)
    if not short[0] > size * max(SILENCE, IN_BAND * power):
        return 0.0, 0.0
    scale = 1.0 / short[0]
    for k in range(n_lags):
        r[k] = short[k] * scale * tables.inverse[k]
    lag, height = _choose(r, LAG_MIN, tables.lag_max, previous_lag)
    if lag > 0.0 and tables.looks_below and _is_harmonic(lag, tables.lag_max, r, spectrum, scratch.shape[1]):
        return 0.0, 1.0
    return lag, height


@njit(cache=True)  # type: ignore[untyped-decorator]
def _is_harmonic(lag: float, lag_max: int, r: NDArray[np.float64], power: Float32, half: int) -> bool:
    """Whether the note of period ``lag`` is one of a note below the range; ``half`` of the transform."""
    n_fft = 2 * half
    for k in HARMONICS:
        at = round(k * lag)
        if at <= lag_max or at >= r.shape[0] or r[at] < TWICE * r[round(lag)]:
            continue
        if power[round(n_fft / (k * lag))] > FUNDAMENTAL * power[round(n_fft / lag)]:
            return True
    return False


QUICK_FROM_HZ: Final = 2.0 * QUICK_MIN_HZ
"""From here the quick window tells a note from its octave below. By definition."""


def _age(window: int) -> int:
    """Samples at 48 kHz from the middle of a window to now, through the decimator."""
    return window - 1 + (N_TAPS - 1) // 2


@njit(cache=True)  # type: ignore[untyped-decorator]
def _hear(
    hop: Float32,
    tail: NDArray[np.float64],
    line: NDArray[np.float64],
    power: NDArray[np.float64],
    high_passed: NDArray[np.float64],
    energies: NDArray[np.float64],
    release: NDArray[np.float64],
    previous_lag: float,
    age: int,
) -> tuple[float, float, int, bool]:
    """Take a hop, at 48 kHz; lag, height of its peak, size of the window that was believed, and whether the
    note was let go.

    ``age`` is that of the hop before. The arrays are the tracker's and are moved on.
    """
    quick, short, long = _decimate(hop, TAPS, tail, line, power)
    newest = line[line.shape[0] - hop.shape[0] // 2 :]
    high_pass(newest, SECTIONS, high_passed)
    lag, height, window = _believed(line, quick, short, long, previous_lag, age)
    clear = lag if height >= CLEAR else 0.0
    return lag, height, window, is_released(energies, release, newest, clear, QUICK / 2)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _believed(
    line: NDArray[np.float64], quick: float, short: float, long: float, previous_lag: float, age: int
) -> tuple[float, float, int]:
    """Lag, height and window of ``_hear``, from the mean squares of the three windows."""
    lag, height = 0.0, 0.0
    if quick > FADED * long:
        lag, height = _period(QUICK_WINDOW, line, quick, previous_lag)
    believed = QUICK_ENOUGH if age == QUICK else QUICK_CLARITY
    if lag > 0.0 and 2.0 * lag <= QUICK_WINDOW.lag_max and height >= believed:
        return lag, height, QUICK
    lag, height = _period(SHORT_WINDOW, line, short, previous_lag)
    if lag > 0.0 and height >= (SHORT_CLARITY if 2.0 * lag <= SHORT_WINDOW.lag_max else SHORT_SURE):
        return lag, height, SHORT
    long_lag, long_height = _period(LONG_WINDOW, line, long, previous_lag)
    if long_height > height or lag == 0.0:
        return long_lag, long_height, LONG
    return lag, height, SHORT


class PitchTracker:
    """``push`` a hop, read ``f0_hz`` (the last one found; 0 before any) and ``confidence`` (0 in a tail).

    ``age_samples`` is how old the middle of what ``f0_hz`` was measured on is. The high-pass adds .05 ms at
    500 Hz, .45 ms at 200 Hz and more below.
    """

    delay_samples: Final = _age(SHORT)
    """``age_samples`` of a clear note of any pitch from 110 Hz at the most."""
    quick_delay_samples: Final = _age(QUICK)
    """``age_samples`` of a clear note from ``QUICK_FROM_HZ``."""

    def __init__(self) -> None:
        self._tail = np.zeros(N_TAPS - 1)
        self._line = np.zeros(LONG)
        self._power = np.zeros(LONG // (HOP_SIZE // 2))
        self._high_passed = np.zeros((N_BIQUADS, 2))
        self._release = release_state()
        self.reset()

    def reset(self) -> None:
        """Silence before."""
        self._tail[:] = 0.0
        self._line[:] = 0.0
        self._power[:] = 0.0
        self._high_passed[:] = 0.0
        reset(self._release)
        self._believed = SHORT
        self.age_samples = self.delay_samples
        self.f0_hz = self.confidence = self._clarity = 0.0

    def push(self, hop: NDArray[np.float32]) -> None:
        """Take float32 [256] at 48 kHz; NaN and infinities count as silence."""
        previous = RATE_HZ / self.f0_hz if self.f0_hz > 0.0 and self._clarity > 0.0 else 0.0
        lag, height, self._believed, released = _hear(
            hop,
            self._tail,
            self._line,
            self._power,
            self._high_passed,
            *self._release,
            previous,
            self._believed,
        )
        self.age_samples = _age(self._believed)
        share = (height - CLARITY_LOW) / (CLARITY_HIGH - CLARITY_LOW) if lag > 0.0 else 0.0
        self._clarity = min(max(share, 0.0), 1.0)
        # A tail's pitch is followed, so that the next note is told from it; but no note is sounding.
        self.confidence = 0.0 if released else self._clarity
        if self._clarity > 0.0:
            f0_hz = RATE_HZ / lag
            # In noise a note holds still between the hops; a clear one is followed at once.
            if previous > 0.0 and abs(lag / previous - 1.0) < STEADY:
                f0_hz = self.f0_hz + max(self._clarity**2, SLOWEST) * (f0_hz - self.f0_hz)
            self.f0_hz = f0_hz
