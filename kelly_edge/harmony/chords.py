"""The chords one can tell by ear in a room: twelve major and twelve minor triads, and none of them.

A chord is a number, ``2 * root + quality``: its root is a pitch class (C = 0), its quality 0 major or 1
minor; ``NO_CHORD`` (-1) is none. A *belief* about chords is a float array [25]: a probability for each, and
last for none. Sevenths, sixths and suspensions count as the triad on their root.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import N_CHORDS, N_PITCH_CLASSES

Floats = NDArray[np.float32]
MAJOR, MINOR = 0, 1
"""Qualities of a chord. Not the modes of ``contract.HEARD_DTYPE``, where major is 1. Our own format."""
N_QUALITIES: Final = 2
"""Chosen: of pop songs' chords, sevenths and suspensions sound as one of these two (docs/decisions/0022)."""
NO_CHORD: Final = -1
"""Our own format, as "unknown" elsewhere."""
N_STATES: Final = N_CHORDS + 1
"""Of a belief: the chords and, last, none. By definition."""
TRIADS: Final = ((0, 4, 7), (0, 3, 7))
"""Pitch classes above the root, by quality. Definition of the major and minor triad."""


def chord_of(root: int, quality: int) -> int:
    """Number of a chord; ``root`` is any pitch."""
    return N_QUALITIES * (root % N_PITCH_CLASSES) + quality


def root_of(chord: int) -> int:
    """Pitch class of a chord's root."""
    return chord // N_QUALITIES


def quality_of(chord: int) -> int:
    """``MAJOR`` or ``MINOR``."""
    return chord % N_QUALITIES


def classes_of(chord: int) -> int:
    """Pitch classes of a chord as a set (``music.fitting``); empty for ``NO_CHORD``."""
    if chord < 0:
        return 0
    return sum(1 << (root_of(chord) + step) % N_PITCH_CLASSES for step in TRIADS[quality_of(chord)])


def transposed(chord: int, semitones: int) -> int:
    """A chord moved up; ``NO_CHORD`` stays none."""
    return chord if chord < 0 else chord_of(root_of(chord) + semitones, quality_of(chord))


MEMBERS: Final = np.array(
    [[float(classes_of(chord) >> p & 1) for p in range(N_PITCH_CLASSES)] for chord in range(N_CHORDS)]
    + [[0.0] * N_PITCH_CLASSES],
    np.float32,
)
"""Whether a pitch class belongs to a chord: [25, 12]; nothing belongs to none."""
