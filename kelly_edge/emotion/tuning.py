"""The tuning of what is heard: followed, so that A at 432 Hz is called A."""

import math
from typing import Final

from numba import njit

from kelly_edge.emotion.tonal_state import COSINE, N_TUNINGS, OFFSET, SINE, TUNING_STEP, TonalState
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS, N_LOG_BINS

TUNING_LOWEST: Final = 3 * (45 - LOWEST_KEY)
"""First log-frequency bin that tunes: A2. Below, a bin of the FFT is as wide as a third of a semitone.
Chosen for that reason."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def tuning_index(tuning: float) -> int:
    """Which bank is nearest to a tuning in semitones."""
    return min(max(math.floor(tuning / TUNING_STEP + N_TUNINGS // 2 + 0.5), 0), N_TUNINGS - 1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def tune(state: TonalState, keep: float) -> None:
    """Follow the tuning: the phase of the whitened spectrum at a period of one semitone (Mauch & Dixon 2010).

    The spectrum was taken with the bank of the tuning so far, so that the phase is what is left to correct.
    """
    observed, tuning = state.observed, state.tuning
    below, on, above = 0.0, 0.0, 0.0
    for i in range(TUNING_LOWEST, N_LOG_BINS - 2, 3):
        below += observed[i]
        on += observed[i + 1]
        above += observed[i + 2]
    cosine, sine = on - 0.5 * (below + above), 0.8660254 * (above - below)
    # The phase left is turned back by the tuning of the bank, so that sums of different banks agree.
    bank = TUNING_STEP * (tuning_index(tuning[OFFSET]) - N_TUNINGS // 2)
    c, s = math.cos(2.0 * math.pi * bank), math.sin(2.0 * math.pi * bank)
    tuning[COSINE] = keep * tuning[COSINE] + (1.0 - keep) * (cosine * c - sine * s)
    tuning[SINE] = keep * tuning[SINE] + (1.0 - keep) * (cosine * s + sine * c)
    wanted = math.atan2(tuning[SINE], tuning[COSINE]) / (2.0 * math.pi)
    # The nearest of the tunings a semitone apart, unless that leaves the banks: then the keys are renamed.
    wanted += math.floor(tuning[OFFSET] - wanted + 0.5)
    furthest = TUNING_STEP * (N_TUNINGS // 2)
    if wanted > furthest:
        _rename(state, 1)
        wanted -= 1.0
    elif wanted < -furthest:
        _rename(state, -1)
        wanted += 1.0
    tuning[OFFSET] = wanted


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rename(state: TonalState, semitones: int) -> None:
    """Every key and pitch class remembered is called ``semitones`` (1 or -1) higher from now on."""
    keys = state.notes.copy()
    for k in range(N_KEYS):
        state.notes[k] = keys[min(max(k - semitones, 0), N_KEYS - 1)]
    chroma, bass, triads = state.chroma.copy(), state.bass.copy(), state.triads.copy()
    for p in range(12):
        source = (p - semitones) % 12
        for s in range(3):
            state.chroma[s, p] = chroma[s, source]
        state.bass[p] = bass[source]
        for q in range(2):
            state.triads[12 * q + p] = triads[12 * q + source]
