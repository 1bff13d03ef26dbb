"""Where and how thickly the notes lie, how many begin, and how unevenly they are struck."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.running_means import NUMBER, count_level, level_spread
from kelly_edge.emotion.tonal_state import BASS_TOP, CHORD, FAST, KEY, ONSETS, SWELLS, TonalState
from kelly_edge.signal.spectrum import BINS_PER_SEMITONE, LOWEST_KEY, N_KEYS

Float32 = NDArray[np.float32]
TREBLE_BOTTOM: Final = 76 - LOWEST_KEY
"""Keys from E5 are the treble. Chosen: two octaves higher."""
GATE: Final = 0.15
"""Share of the strongest activation, and activation, above which a key sounds. Chosen by hand."""
SWELL, ONSET = 1.3, 2.0
"""Growth of an activation from group to group at which a key swells, and at which it begins. Ratios;
chosen by hand."""
FEWEST: Final = 0.1
"""Notes a group added before the logarithm of a rate: 1.2 per second. Chosen by hand: a note more or less in
near silence says little."""
STEPS, LAST_LEVEL = range(3, 5)
"""Slots of ``TonalState.struck`` behind those of its moments: sum of the steps between levels, last level."""

REGISTER: Final = (
    ("pitch_mean", 1),
    ("pitch_spread", 1),
    ("lowest", 1),
    ("highest", 1),
    ("polyphony", 1),
    ("bass_share", 1),
    ("treble_share", 1),
    ("note_rate", 1),
    ("swell_rate", 1),
    ("note_level_spread_db", 1),
    ("note_level_step_db", 1),
)
"""What ``_register`` writes, in order: name and number of values, as in ``features.FEATURES``."""
(PITCH_MEAN, PITCH_SPREAD, LOWEST, HIGHEST, POLYPHONY, BASS_SHARE, TREBLE_SHARE) = range(7)
NOTE_RATE, SWELL_RATE, LEVEL_SPREAD, LEVEL_STEP = range(7, 11)


@njit(cache=True)  # type: ignore[untyped-decorator]
def where_notes_lie(state: TonalState, leaks: Float32, out: Float32) -> None:
    """Eleven values on where and how thickly the notes lie, how many begin and how unevenly they are struck.

    The level of a note that begins is that of the spectrum at its fundamental. Their spread tells touch
    whatever the gain, as the curve from key velocity to level is steep where one plays softly; and how
    thickly one plays, for overtones taken for notes belong to it.
    """
    notes, struck, scalars, keep = state.notes, state.struck, state.scalars, leaks[FAST]
    total, square, centre, peak = 1e-6, 1e-9, 0.0, 1e-6
    for k in range(N_KEYS):
        a = notes[k]
        total += a
        square += a * a
        centre += a * k
        peak = max(peak, a)
    centre /= total
    spread, bass, treble, lowest, highest, onsets, swells = 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0
    gate = max(GATE * peak, GATE)
    for i in range(LAST_LEVEL):
        struck[i] *= leaks[KEY]
    for k in range(N_KEYS):
        a = notes[k]
        spread += a * (k - centre) ** 2
        if k <= BASS_TOP:
            bass += a
        if k >= TREBLE_BOTTOM:
            treble += a
        if a > gate:
            if lowest < 0.0:
                lowest = k
            highest = k
            if a > SWELL * state.previous[k]:
                swells += 1.0
            if a > ONSET * state.previous[k]:
                onsets += 1.0
                first = BINS_PER_SEMITONE * k
                level = 20.0 * math.log10(state.log_spectrum[first : first + BINS_PER_SEMITONE].max() + 1e-3)
                struck[STEPS] += abs(level - struck[LAST_LEVEL]) if struck[NUMBER] > 0.0 else 0.0
                count_level(struck, level)
                struck[LAST_LEVEL] = level
    if lowest < 0.0:
        lowest = centre
        highest = centre
    scalars[ONSETS] = leaks[CHORD] * scalars[ONSETS] + (1.0 - leaks[CHORD]) * onsets
    now = (
        centre,
        math.sqrt(spread / total),
        lowest,
        highest,
        total * total / square,
        bass / total,
        treble / total,
    )
    for i in range(len(now)):
        state.register[i] = keep * state.register[i] + (1.0 - keep) * now[i]
        out[i] = state.register[i] / state.weights[FAST]
    out[NOTE_RATE] = math.log2(scalars[ONSETS] / state.weights[CHORD] + FEWEST)
    scalars[SWELLS] = leaks[KEY] * scalars[SWELLS] + (1.0 - leaks[KEY]) * swells
    out[SWELL_RATE] = math.log2(scalars[SWELLS] / state.weights[KEY] + FEWEST)
    out[LEVEL_SPREAD] = level_spread(struck)
    out[LEVEL_STEP] = struck[STEPS] / max(struck[NUMBER], 1e-6)
