"""Which of the 88 keys sound: activations of note templates, warm-started from hop group to hop group."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.tonal_state import (
    KEY,
    LEAST,
    OFFSET,
    POWER,
    TUNING,
    TonalState,
    TonalTables,
)
from kelly_edge.emotion.tuning import tune, tuning_index
from kelly_edge.signal.spectrum import N_KEYS, N_LOG_BINS, Bank, apply_bank, nnls, power_spectrum, whiten

Float32 = NDArray[np.float32]
# Exponent of the local mean. Chosen: between none (0) and full whitening (1) of Mauch & Dixon (2010).
WHITENING: Final = 0.6
WHITENING_FLOOR: Final = 0.05
"""Added to the local mean, in units of the running mean: what lies far below it is not lifted. Chosen by
hand."""
HALF_WIDTH: Final = 18
"""Log-frequency bins of the local mean for whitening: half an octave either side. As in Mauch & Dixon
(2010): an octave in all."""
# A share, and an activation. Chosen by hand.
WARM_START: Final = 0.7
FLAT_FIRST, FLAT_LAST = 38, 1_800
"""First and last bin where a half-octave band of the flatness begins: 111 Hz and 5.3 kHz. Chosen: from the
octave of the lowest melodies to the end of the band."""
N_UPDATES: Final = 20
"""Multiplicative updates of the activations per hop group, from a warm start. Chosen by hand; the cost
grows in proportion."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def _flatness(power: Float32) -> float:
    """Spectral flatness in half-octave bands, weighted by energy: the colour of a noise does not count."""
    flat, energy, low = 0.0, 1e-12, FLAT_FIRST
    while low < FLAT_LAST:
        high = low + low // 2
        top = min(high, power.shape[0])
        arithmetic, geometric, product = 0.0, 0.0, 1.0
        for i in range(low, top):
            value = power[i] + 1e-14
            arithmetic += value
            product *= value
            # A logarithm costs more than ten products; float64 holds many of them.
            if product < 1e-200 or product > 1e200:
                geometric += math.log(product)
                product = 1.0
        geometric += math.log(product)
        # Energy times flatness (geometric over arithmetic mean): the energy cancels.
        flat += math.exp(geometric / (top - low)) * (top - low)
        energy += arithmetic
        low = high
    return flat / energy


@njit(cache=True)  # type: ignore[untyped-decorator]
def _log_spectrum(tables: TonalTables, state: TonalState) -> None:
    """From ``state.power`` to ``state.log_spectrum``: magnitudes, tuned, relative to the last 15 s."""
    power, log_spectrum, scalars = state.power, state.log_spectrum, state.scalars
    for i in range(power.shape[0]):
        power[i] = math.sqrt(power[i])
    banks, at = tables.banks, tuning_index(state.tuning[OFFSET])
    apply_bank(power, Bank(banks.first[at], banks.size[at], banks.weights[at]), log_spectrum)
    mean_square = 0.0
    for i in range(N_LOG_BINS):
        mean_square += log_spectrum[i] * log_spectrum[i]
    mean_square /= N_LOG_BINS
    keep = tables.leaks[KEY]
    scalars[POWER] = keep * scalars[POWER] + (1.0 - keep) * mean_square
    reference = math.sqrt(scalars[POWER] / max(state.weights[KEY], 1e-3)) + 1e-6
    inverse = 1.0 / reference
    for i in range(N_LOG_BINS):
        log_spectrum[i] *= inverse


@njit(cache=True)  # type: ignore[untyped-decorator]
def hear_notes(window: Float32, tables: TonalTables, state: TonalState) -> float:
    """Update ``state.notes``; returns local spectral flatness (noise about .56, a chord under .2)."""
    power_spectrum(window, tables.plan, state.power)
    flatness = _flatness(state.power)
    _log_spectrum(tables, state)
    whiten(state.log_spectrum, HALF_WIDTH, WHITENING, WHITENING_FLOOR, state.observed)
    tune(state, tables.leaks[TUNING])
    state.previous[:] = state.notes
    for k in range(N_KEYS):
        state.notes[k] = WARM_START * state.notes[k] + LEAST
    nnls(
        state.observed, tables.templates, tables.gram, N_UPDATES, state.notes, state.projected, state.modelled
    )
    return flatness
