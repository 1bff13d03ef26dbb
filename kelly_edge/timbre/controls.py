"""The controls of a voice: what a decoder says and the synthesiser plays, once per hop.

A decoder's raw outputs become controls here, the same way in training and on the box (DDSP's scaled
sigmoid, Engel et al. 2020): amplitude and noise in 0..2, the harmonic distribution summing to 1 over the
harmonics below ``BAND_LIMIT_HZ``.
"""

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import F0_MIN_HZ, N_HARMONICS, N_NOISE_BANDS, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LOUDNESS_FLOOR_DB

Float32 = NDArray[np.float32]
BAND_LIMIT_HZ: Final = 11_500.0
"""Highest frequency a voice plays: the recordings the voices learn from reach 12 kHz. Chosen: a little
below, where their filters begin."""
BAND_FADE_HZ: Final = 1_000.0
"""Width of the fade of the harmonics below the band limit. Chosen by hand: a glide cuts no harmonic off."""
N_NOISE_TRAINED: Final = 31
"""Noise bands (of 375 Hz) below the band limit; those above are silent. Follows from the band limit."""
N_RAW: Final = 1 + N_HARMONICS + N_NOISE_TRAINED
"""Raw outputs of a decoder: amplitude, harmonics, noise bands. By definition."""
NOISE_BIAS: Final = -5.0
"""Added to the raw noise, so that an untrained decoder is nearly free of noise. Chosen: as in DDSP (Engel
et al., 2020)."""
LOG_10: Final = math.log(10.0)


@dataclass
class Controls:
    """``amplitude`` linear; ``harmonic_distribution`` [64], sums to 1 (or 0: nothing fits the band);
    ``noise_magnitudes`` [65], linear gains of bands 0..24 kHz."""

    amplitude: float = 0.0
    harmonic_distribution: Float32 = field(default_factory=lambda: np.zeros(N_HARMONICS, np.float32))
    noise_magnitudes: Float32 = field(default_factory=lambda: np.zeros(N_NOISE_BANDS, np.float32))


def decoder_inputs(f0_hz: float, loudness_db: float) -> tuple[float, float]:
    """Pitch and loudness as a decoder reads them, both about -1..1 over their ranges."""
    octaves = math.log2(max(f0_hz, F0_MIN_HZ) / 440.0)
    return octaves / 3.0, (min(max(loudness_db, LOUDNESS_FLOOR_DB), 30.0) + 30.0) / 40.0


@njit(cache=True)
def _scaled_sigmoid(x: float) -> float:
    # 2 sigmoid(x)^ln 10: about exponential below, saturating at 2.
    x = min(max(x, -60.0), 60.0)
    return 2.0 * math.exp(-LOG_10 * math.log1p(math.exp(-x))) + 1e-7


@njit(cache=True)
def _controls_from(raw: Float32, f0_hz: float, harmonics: Float32, noise: Float32) -> float:
    total = 0.0
    for k in range(harmonics.shape[0]):
        audible = (k + 1) * f0_hz < BAND_LIMIT_HZ and math.isfinite(raw[1 + k])
        level = _scaled_sigmoid(raw[1 + k]) if audible else 0.0
        harmonics[k] = level
        total += level
    for k in range(harmonics.shape[0]):
        harmonics[k] = harmonics[k] / total if total > 0.0 else 0.0
    for k in range(noise.shape[0]):
        index = 1 + harmonics.shape[0] + k
        trained = k < N_NOISE_TRAINED and math.isfinite(raw[index])
        noise[k] = _scaled_sigmoid(raw[index] + NOISE_BIAS) if trained else 0.0
    return _scaled_sigmoid(raw[0]) if math.isfinite(raw[0]) else 0.0


def fill_controls(raw: Float32, f0_hz: float, controls: Controls) -> None:
    """Raw decoder outputs float32 [``N_RAW``] at ``f0_hz`` into ``controls``."""
    controls.amplitude = _controls_from(raw, f0_hz, controls.harmonic_distribution, controls.noise_magnitudes)


assert N_NOISE_TRAINED * SAMPLE_RATE_HZ / 2 / (N_NOISE_BANDS - 1) > BAND_LIMIT_HZ
