"""Measures of pitch classes: how clear a key is, which one it is, and how much they clash."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.emotion.key_profiles import MAJOR, MINOR
from kelly_edge.units import PITCH_CLASS_NAMES

Float64 = NDArray[np.float64]
CONSONANCE: Final = (-1.428, -0.582, 0.594, 0.386, 1.240, -0.453)
"""Of a semitone (or major seventh), a tone, a minor and a major third, a fourth and a tritone: Huron's index
(Music Perception 11:3, 1994)."""


def key_name(key: int) -> str:
    """The key's name: 0..11 major, 12..23 minor."""
    return f"{PITCH_CLASS_NAMES[key % N_PITCH_CLASSES]} {'major' if key < N_PITCH_CLASSES else 'minor'}"


def best_keys(chroma: Float64, modes: tuple[int, ...] = (1, 0)) -> tuple[Float64, Float64]:
    """Correlation with the best key's profile, and that key, for each row [n, 12]; no numbers where silent.

    Parameters
    ----------
    modes: that are looked at, 1 major, 0 minor.
    """
    profiles = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    profiles = profiles - profiles.mean(1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    centred = chroma - chroma.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = centred @ profiles.T / norm[:, None]
    is_known = norm > 0.0
    scores = np.where(is_known[:, None], scores, -1.0)
    scores[:, [1 - key // N_PITCH_CLASSES not in modes for key in range(2 * N_PITCH_CLASSES)]] = -2.0
    best = np.argmax(scores, 1)
    clarity = np.where(is_known, scores[np.arange(len(scores)), best], np.nan)
    return clarity, np.where(is_known, best, np.nan)


def dissonance(chroma: Float64) -> Float64:
    """For each row [n, 12]: 0 fourths and fifths alone .. 1 semitones alone, over all pairs of pitch classes,
    weighted by their shares. Not a number where there is no pair."""
    weight, clash = np.zeros(len(chroma)), np.zeros(len(chroma))
    least, most = min(CONSONANCE), max(CONSONANCE)
    for interval in range(1, N_PITCH_CLASSES):
        together = np.sum(chroma * np.roll(chroma, interval, axis=1), axis=1)
        consonance = CONSONANCE[min(interval, N_PITCH_CLASSES - interval) - 1]
        weight += together
        clash += together * (most - consonance) / (most - least)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 1e-9, clash / weight, np.nan)
