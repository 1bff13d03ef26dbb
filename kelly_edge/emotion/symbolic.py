"""What notes say, as numbers: six targets (mode, tempo, density and so on) and 16 descriptors.

Training has them as targets for whole clips; where a keyboard is heard they are what the mood is read from.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.key_profiles import MAJOR, MINOR

Floats = NDArray[np.float64]
TARGETS: Final = ("mode", "tempo", "density", "polyphony", "register", "velocity")
N_DESCRIPTORS: Final = 16
"""Chroma by degree of the tonic (12), pitch spread, chord gap, held share, spread of the notes' levels. By
definition, the sum of these."""
CHORD_S: Final = 0.035
"""Notes nearer than this are one onset. Chosen: as ``composer.performance.TOGETHER_S``."""
LONGEST_S: Final = 2.0
"""A longer note counts as this much in the chroma. Chosen by hand."""
ONSET_RATE_HZ: Final = 50.0
"""Grid on which onsets are correlated. Chosen: steps of 20 ms, below what a listener hears as uneven."""
SLOWEST_BPM, FASTEST_BPM = 80, 160
"""The octave that tempi are folded into. Chosen by hand: about where people tap."""


def _profiles() -> Floats:
    """The 24 key profiles, 12 majors then 12 minors by tonic, of zero mean and unit norm: [24, 12]."""
    rows = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    rows = rows - rows.mean(1, keepdims=True)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


_PROFILES: Final = _profiles()


def tempo_octaves(onsets: Floats) -> float:
    """log2 of the tempo over 120, folded into 80 .. 160: the best lag of the onsets' autocorrelation."""
    rate = ONSET_RATE_HZ
    train = np.bincount((onsets * rate).round().astype(int))
    smooth = np.convolve(train - train.mean(), [0.5, 1.0, 0.5], "same")
    lags = np.arange(round(60 * rate / FASTEST_BPM), round(60 * rate / SLOWEST_BPM) + 1)
    # A beat also repeats at two and four beats; a lag that does is a tempo.
    score = [
        sum(float(smooth[: -lag * m] @ smooth[lag * m :]) for m in (1, 2, 4) if lag * m < smooth.size)
        for lag in lags
    ]
    return float(np.log2(60 * rate / lags[int(np.argmax(score))] / 120.0))


def describe_notes(notes: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``TARGETS`` [6] (mode 1 major, 0 minor) and descriptors [16] of notes [n, 4], n from 1: onset in
    seconds, duration in seconds, pitch and velocity, by onset."""
    onset, duration, pitch, velocity = notes.T
    chroma = np.bincount(pitch.astype(int) % 12, np.minimum(duration, LONGEST_S), 12)
    key = int(np.argmax(_PROFILES @ chroma))
    first = np.r_[True, np.diff(onset) > CHORD_S]
    n_onsets, length = first.sum(), max(onset[-1] - onset[0], 1.0)
    targets = [
        1.0 if key < 12 else 0.0,
        tempo_octaves(onset - onset[0]),
        np.log2(max(n_onsets / length, 0.1) / 2.0),
        np.log2(len(notes) / n_onsets / 2.0),
        (pitch.mean() - 60.0) / 12.0,
        (velocity.mean() - 64.0) / 32.0,
    ]
    degrees = np.roll(chroma, -(key % 12)) / chroma.sum()
    gaps = np.diff(onset[first]) if n_onsets > 2 else np.ones(2)
    rest = [
        pitch.std() / 12.0 - 1.0,
        np.log2(np.median(gaps) + 0.02) + 2.0,
        np.log2(np.median(duration) + 0.02) + 1.0,
        # In dB, as General MIDI has them: it falls as the touch grows heavier, and gain does not change it.
        (40.0 * np.log10(np.maximum(velocity, 1.0))).std() / 1.5 - 2.5,
    ]
    return np.array(targets, np.float32), np.concatenate([(degrees - 0.083) / 0.07, rest]).astype(np.float32)
