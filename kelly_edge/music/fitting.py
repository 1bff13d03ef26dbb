"""Which pitch classes fit the player's music: those heard, until the key is known and within it.

A key takes seconds to show; a pitch class is heard at once. So the music opens with the pitch classes heard,
which belong to every key that may still be meant, and a key adopted later adds no class that was never
played. After a silence somebody else may play something else: ``Fitting.forget``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ, N_PITCH_CLASSES

EVERY_CLASS: Final = (1 << N_PITCH_CLASSES) - 1
"""All pitch classes. A set is a whole number: its bit ``p`` stands for pitch class ``p`` (C = 0). By
definition."""
LATELY_S: Final = 4.0
"""Time constant of the mean of the chroma heard. Chosen by hand (docs/decisions/0012)."""
BELONGS, GONE = 0.4, 0.3
"""Share of the strongest class from which a class belongs to those heard, and below which it has gone.
Overtones taken for notes seldom reach the first. Chosen by hand (docs/decisions/0012)."""
N_TO_OPEN: Final = 3
"""Classes from which the music opens: with fewer an answer is but an echo. Chosen by hand
(docs/decisions/0012)."""
OPEN_AFTER_S: Final = 1.0
"""Seconds of music heard from which the music opens with fewer classes too, as to somebody who plays two
notes. Chosen by hand (docs/decisions/0012)."""


class Fitting:
    """What fits, streaming: one ``hear`` per hop group.

    Attributes
    ----------
    classes: the set heard lately; ``EVERY_CLASS`` where no pitch is known.
    remembered: the set heard since the music opened or was last forgotten.
    is_open: whether enough was heard to play with.
    """

    def __init__(self) -> None:
        self._keep = np.exp(-1.0 / (LATELY_S * EMOTION_RATE_HZ))
        self._mean = np.zeros(N_PITCH_CLASSES)
        self.forget()

    def forget(self) -> None:
        """Nothing heard before."""
        self._mean[:] = 0.0
        self._heard_s = 0.0
        self.classes = self.remembered = EVERY_CLASS
        self.is_open = False

    def hear(self, chroma: NDArray[np.float32], presence: float) -> None:
        """One hop group: the share of each pitch class [12], and the presence 0..1 it was heard with."""
        self._mean *= self._keep
        self._mean += presence * chroma
        self._heard_s += 1.0 / EMOTION_RATE_HZ
        strongest = float(self._mean.max())
        if strongest <= 0.0:
            self.is_open = True  # Nothing is known of pitches, so nothing is foreign.
            return
        before = self.classes if self.classes != EVERY_CLASS else 0
        self.classes = sum(
            1 << p
            for p, share in enumerate(self._mean / strongest)
            if share >= (GONE if before >> p & 1 else BELONGS)
        )
        self.remembered = self.classes | (self.remembered if before else 0)
        enough = self.classes.bit_count() >= N_TO_OPEN or self._heard_s >= OPEN_AFTER_S
        self.is_open = self.is_open or enough


def classes_above(classes: int, shift: int) -> int:
    """The set ``classes`` counted from the pitch class ``shift`` instead of C."""
    return sum(1 << p for p in range(12) if classes >> (p + shift) % 12 & 1)
