"""How player and box move together: correlation of each measure, and who goes first by how much.

In the words of Bruscia's Improvisation Assessment Profiles (1987): how alike they are (integration), how much
each changes (variability), and who goes first (autonomy: leader, partner, follower).
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.parties import Parties

Float64 = NDArray[np.float64]
LONGEST_LAG_S: Final = 60.0
"""Chosen by hand: a later answer is none."""
LEAST_SHARE: Final = 0.5
"""Of the most that two have in common at any lag: where they have less, the lag is not believed. Chosen by
hand."""
CLEAR_R, CLEAR_Z = 0.5, 5.0
"""From which correlation, and how many standard deviations from none, two are said to move together. The
best of many lags is taken, for several measures: two deviations would be found by chance. Chosen on
simulated sessions, whose truth is known (tests/report/test_sentences.py)."""
LEAST_POINTS: Final = 12.0
"""Independent moments (Bartlett 1946) that a correlation needs. Chosen on simulated sessions."""
CLEAR_LAG: Final = 3.0
"""Standard deviations between the best lag and those left out. Chosen on simulated sessions."""
SLOW_S: Final = 30.0
"""How long a person's wavering lasts: two moments so far apart are two witnesses of a lag. Chosen by hand."""
SAME_TIME_S: Final = 3.0
"""Ears and windows are not more exact: a shorter lag is none. Chosen: half of ``parties.WINDOW_S``."""


@dataclass(frozen=True)
class Measure:
    """A measure of both: its name in ``Party``, its title, its unit, and the smallest change in that unit
    that counts."""

    name: str
    title: str
    unit: str
    step: float


MEASURES: Final = (
    Measure("level_db", "Dynamics", "dB around each one's middle", 3.0),
    Measure("register", "Register", "mean pitch, MIDI note (60 = C4)", 3.0),
    Measure("density_hz", "Density", "onsets per second", 0.75),
    Measure("tempo_bpm", "Pulse", "beats per minute", 6.0),
    Measure("tonality", "Tonality", "clarity of the key, correlation", 0.1),
    Measure("dissonance", "Dissonance", "0 fifths alone to 1 semitones alone", 0.05),
)


@dataclass(frozen=True)
class Together:
    """How alike two are: correlation ``r`` at the best lag; ``lag_s`` > 0 where the player comes later.

    Not numbers where too little is known. ``is_clear``: more than chance.
    """

    r: float
    lag_s: float
    is_clear: bool
    variability: tuple[float, float]
    """Standard deviations of the player's and of the box's."""


def together(player: Float64, box: Float64, step_s: float) -> Together:
    """Compare two arrays [n] on a grid of ``step_s``, with gaps."""
    spread = tuple(float(np.nanstd(v)) if np.isfinite(v).any() else math.nan for v in (player, box))
    variability = (spread[0], spread[1])
    n_lags = max(1, round(LONGEST_LAG_S / step_s))
    best = best_lag(player, box, n_lags, n_lags, step_s)
    if best is None:
        return Together(math.nan, math.nan, False, variability)
    points = best.n_points / _inertia(player, box, n_lags)
    z = math.atanh(min(best.r, 0.9999)) * math.sqrt(max(points - 3.0, 0.0))
    is_clear = best.r >= CLEAR_R and z >= CLEAR_Z and points >= LEAST_POINTS
    return Together(best.r, best.lag_s, is_clear, variability)


class BestLag(NamedTuple):
    """The best correlation, the player's lag there and at most (seconds), and the number of points
    compared."""

    r: float
    lag_s: float
    latest_s: float
    n_points: float


def best_lag(player: Float64, box: Float64, n_before: int, n_after: int, step_s: float) -> BestLag | None:
    """Of lags from ``-n_before`` to ``n_after`` points; None where too little is known."""
    lags, r, common = _correlations(player, box, max(n_before, n_after))
    usable = np.isfinite(r) & (lags >= -n_before) & (lags <= n_after)
    usable &= common >= max(LEAST_POINTS, LEAST_SHARE * common.max(initial=0.0))
    if not usable.any():
        return None
    best = int(np.argmax(np.where(usable, r, -2.0)))
    # What is left unexplained at a lag grows by this at most within CLEAR_LAG standard deviations.
    growth = 1.0 + CLEAR_LAG**2 * SLOW_S / (common[best] * step_s)
    as_good = usable & (r > 0.0) & (1.0 - r**2 <= growth * max(1.0 - r[best] ** 2, 1e-6))
    latest = float(lags[np.flatnonzero(as_good)[-1]]) if as_good.any() else float(lags[best])
    return BestLag(float(r[best]), float(lags[best]) * step_s, latest * step_s, float(common[best]))


def _correlations(player: Float64, box: Float64, n_lags: int) -> tuple[Float64, Float64, Float64]:
    """Lags (steps by which the player comes later), Pearson's r at each, and how many points both have."""
    n = len(player)
    n_lags = min(n_lags, n - 1)
    size = 1 << (2 * n - 1).bit_length()
    known = [np.isfinite(v) for v in (player, box)]
    # Large means would cost digits.
    centred = [
        np.where(k, v - (np.nanmean(v) if k.any() else 0.0), 0.0)
        for k, v in zip(known, (player, box), strict=True)
    ]
    masks, values, squares = (
        [np.fft.rfft(v, size) for v in vs]
        for vs in ([k.astype(float) for k in known], centred, [c * c for c in centred])
    )

    def summed(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> Float64:
        """Sum over t of a[t + lag] b[t]."""
        sums: Float64 = np.fft.irfft(a * np.conj(b), size)
        return np.concatenate([sums[size - n_lags :], sums[: n_lags + 1]])

    count = np.maximum(summed(masks[0], masks[1]), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_p, mean_b = summed(values[0], masks[1]) / count, summed(masks[0], values[1]) / count
        var_p = summed(squares[0], masks[1]) / count - mean_p**2
        var_b = summed(masks[0], squares[1]) / count - mean_b**2
        covariance = summed(values[0], values[1]) / count - mean_p * mean_b
        r = covariance / np.sqrt(np.where((var_p > 1e-9) & (var_b > 1e-9), var_p * var_b, np.nan))
    return np.arange(-n_lags, n_lags + 1).astype(float), np.where(count > 2.5, r, np.nan), np.round(count)


def _inertia(player: Float64, box: Float64, n_lags: int) -> float:
    """How many points weigh as one: slow curves agree by chance more easily (Bartlett 1946)."""
    own = [np.nan_to_num(_correlations(v, v, n_lags)[1][n_lags:]) for v in (player, box)]
    n = min(len(own[0]), len(own[1]))
    products = own[0][1:n] * own[1][1:n]
    return max(1.0, float(1.0 + 2.0 * np.sum(np.maximum(products, 0.0))))


def all_together(parties: Parties) -> dict[str, Together]:
    """``together`` of each of ``MEASURES``, by name."""
    return {
        m.name: together(getattr(parties.player, m.name), getattr(parties.box, m.name), parties.step_s)
        for m in MEASURES
    }
