"""Valence and arousal of the box's music, told from its notes alone: a plain estimate.

Of the properties of music, mode tells listeners valence best; tempo, density and loudness tell arousal best
(Gomez & Danuser, Emotion 7(2), 2007; Gabrielsson & Lindström 2010; Eerola, Friberg & Bresin 2013). The
weights are round numbers in that order, fitted to nothing. The box's own ears are not asked, so that the
report does not judge the music by the model that steered it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.report.parties import CHORD_S, LONGEST_WEIGHT_S, Parties, smooth
from firmware_py.report.pitch_classes import best_keys
from kelly_edge.contract import N_PITCH_CLASSES

Float64 = NDArray[np.float64]
WINDOW_S: Final = 15.0
"""Chosen: as ``parties.KEY_WINDOW_S``."""
MIDDLE_HZ, MIDDLE_VELOCITY, MIDDLE_PITCH = 3.0, 64.0, 60.0
"""Middle values, neither calm nor excited, neither low nor high: onsets per second, velocity, MIDI note.
Chosen by hand, fitted to nothing."""
LEAST_NOTES: Final = 4.0
"""Notes in a window from which a mood is told. Chosen by hand."""


def played_mood(parties: Parties) -> Float64:
    """Valence and arousal [n, 2] on the grid, -1..1; not numbers where the box hardly plays."""
    return mood_of_notes(parties.notes, len(parties.time_s), parties.step_s)


def mood_of_notes(notes: Float64, n: int, step_s: float) -> Float64:
    """Valence and arousal [n, 2] every ``step_s`` seconds from 0, as ``played_mood``.

    Parameters
    ----------
    notes: onset (seconds), duration, pitch, velocity [n_notes, 4 or more], in order.
    """
    n_window = max(1, round(WINDOW_S / step_s))
    onset, duration, pitch, velocity = notes[:, :4].T
    at = np.clip((onset / step_s).astype(int), 0, n - 1)

    def window(values: Float64) -> Float64:
        """Sum around each second."""
        sums: Float64 = smooth(np.bincount(at, values, n).astype(float), n_window) * n_window
        return sums

    count = window(np.ones(len(onset)))
    is_first = np.r_[True, np.diff(onset) > CHORD_S].astype(float) if len(onset) else np.zeros(0)
    weight = np.clip(duration, 0.05, LONGEST_WEIGHT_S)
    chroma = np.stack(
        [window(weight * (pitch.astype(int) % N_PITCH_CLASSES == c)) for c in range(N_PITCH_CLASSES)], 1
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        density = np.log2(window(is_first) / (n_window * step_s) / MIDDLE_HZ)
        loudness = (window(velocity) / count - MIDDLE_VELOCITY) / 32.0
        height = (window(pitch) / count - MIDDLE_PITCH) / 12.0
    major, minor = _modes(chroma)
    valence = np.tanh(4.0 * (major - minor) + 0.25 * height + 0.1 * density)
    arousal = np.tanh(0.8 * density + 0.5 * loudness)
    mood: Float64 = np.stack([valence, arousal], 1)
    mood[(count < LEAST_NOTES) | ~np.isfinite(mood).all(1)] = np.nan
    return mood


def _modes(chroma: Float64) -> tuple[Float64, Float64]:
    """Correlation with the best major and the best minor key's profile."""
    return best_keys(chroma, modes=(1,))[0], best_keys(chroma, modes=(0,))[0]
