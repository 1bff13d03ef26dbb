"""From hops at 48 kHz to a sliding analysis window at 12 kHz.

Everything the emotion features need lies below 5.4 kHz (the highest piano key is at 4.2 kHz), so the
spectra are taken at a quarter of the instrument's rate: a fourth of the work, and deaf to what codecs,
cheap microphones and sound fonts do above. The low-pass is a linear-phase Kaiser FIR, run polyphase:
flat to 5 kHz, below -70 dB from 7 kHz. What lies below 30 Hz (rumble, DC) is taken away (``highpass``).
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.highpass import N_BIQUADS, high_pass, high_pass_sections

# Chosen: a whole number that leaves 6 kHz, above the 5.4 kHz that the features reach.
FACTOR: Final = 4
ANALYSIS_RATE_HZ: Final = SAMPLE_RATE_HZ // FACTOR
N_TAPS: Final = 104
"""A multiple of ``2 * FACTOR``: ``decimate`` takes as many taps per pass. Chosen with ``KAISER_BETA`` by
Kaiser's formula (1974): flat to 5 kHz, -70 dB from 7 kHz."""
# Half of the analysis rate, and Kaiser's (1974) parameter for -70 dB.
CUTOFF_HZ: Final = 6_000.0
KAISER_BETA: Final = 6.8
HISTORY: Final = N_TAPS // FACTOR
"""Samples a phase of the filter looks back, at ``ANALYSIS_RATE_HZ``."""
DELAY_SAMPLES: Final = (N_TAPS - 1) / 2 - (FACTOR - 1) / 2
"""Group delay of the decimator at 48 kHz, from the middle of each four samples. Follows from the filter's
symmetry."""


def lowpass_taps() -> NDArray[np.float32]:
    """The FIR, ``[N_TAPS]``, unity gain at 0 Hz (Kaiser window method)."""
    n = np.arange(N_TAPS) - (N_TAPS - 1) / 2
    ideal = np.sinc(2.0 * CUTOFF_HZ / SAMPLE_RATE_HZ * n)
    taps = ideal * np.kaiser(N_TAPS, KAISER_BETA)
    return np.asarray(taps / taps.sum(), np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def decimate(
    hop: NDArray[np.float32],
    taps: NDArray[np.float32],
    phases: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Low-pass and keep every fourth sample of ``hop``.

    ``phases`` ``[FACTOR, HISTORY + n]`` is the state: the recent past, one row per phase. NaN and
    infinities count as silence, and samples beyond +-8 as +-8.
    """
    n = out.shape[0]
    history = phases.shape[1] - n
    for p in range(FACTOR):
        for j in range(history):
            phases[p, j] = phases[p, j + n]
        for j in range(n):
            x = hop[FACTOR * j + p]
            if not math.isfinite(x):
                x = np.float32(0.0)
            x = min(max(x, np.float32(-8.0)), np.float32(8.0))
            phases[p, history + j] = x
    out[:] = 0.0
    # Taps outside, samples inside: independent sums, which vectorise without reordering additions. Two
    # taps of each phase a pass: a sum is loaded and stored eight times less often.
    for k in range(0, taps.shape[0], 2 * FACTOR):
        at = history - k // FACTOR
        r0, r1, r2, r3 = phases[3, at:], phases[2, at:], phases[1, at:], phases[0, at:]
        s0, s1, s2, s3 = phases[3, at - 1 :], phases[2, at - 1 :], phases[1, at - 1 :], phases[0, at - 1 :]
        a0, a1, a2, a3 = taps[k], taps[k + 1], taps[k + 2], taps[k + 3]
        b0, b1, b2, b3 = taps[k + 4], taps[k + 5], taps[k + 6], taps[k + 7]
        for j in range(n):
            total = out[j] + a0 * r0[j] + a1 * r1[j] + a2 * r2[j] + a3 * r3[j]
            out[j] = total + b0 * s0[j] + b1 * s1[j] + b2 * s2[j] + b3 * s3[j]


class HopGroups:
    """Collects hops into a sliding window ``[window_size]`` at ``ANALYSIS_RATE_HZ``.

    Parameters
    ----------
    window_size: samples kept at 12 kHz; the newest is last.
    n_hops: hops in a group; ``push`` returns True when a group is complete.

    Attributes
    ----------
    window: the newest samples. level_power: mean square of the last group, from 30 Hz to 6 kHz.
    """

    def __init__(self, window_size: int, n_hops: int) -> None:
        self._n_hops = n_hops
        self._n_out = HOP_SIZE // FACTOR
        self._taps = lowpass_taps()
        self._phases = np.zeros((FACTOR, HISTORY + self._n_out), np.float32)
        self._group = np.zeros((n_hops, self._n_out), np.float32)
        self.window = np.zeros(window_size, np.float32)
        self._sections = high_pass_sections(ANALYSIS_RATE_HZ)
        self._high_pass_state = np.zeros((N_BIQUADS, 2))
        self.level_power = 0.0
        self._filled = 0

    def push(self, hop: NDArray[np.float32]) -> bool:
        """Take one hop, float32 ``[256]``; True when ``window`` has moved on by a whole group."""
        decimate(hop, self._taps, self._phases, self._group[self._filled])
        self._filled += 1
        if self._filled < self._n_hops:
            return False
        group = self._group.reshape(-1)
        high_pass(group, self._sections, self._high_pass_state)
        self.window[: -group.size] = self.window[group.size :]
        self.window[-group.size :] = group
        self.level_power = float(np.dot(group, group)) / group.size
        self._filled = 0
        return True

    def reset(self) -> None:
        """Silence before the stream."""
        self._phases[:] = 0.0
        self.window[:] = 0.0
        self._high_pass_state[:] = 0.0
        self.level_power = 0.0
        self._filled = 0
