"""Is it music at all? Presence of the sound times the network's judgement of its kind.

``FeatureExtractor.presence`` knows silence, noise and hum; a voice that talks sounds, is tonal and moves.
The emotion vector's ``music`` entry tells it from music. Its recent mean opens and closes a gate: a player
who begins is doubted for a moment, a player known to play music is believed through one odd second."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.vector import slice_of

MUSIC_S: Final = 1.5
"""Time constant of the mean of the log odds, weighted by presence. Chosen: somebody who begins is doubted
for about a second."""
DOUBT: Final = -1.8
"""Log odds before anything is heard. Nats. Chosen: the middle of ``CLOSED`` and ``OPEN``."""
FORGETTING_S: Final = 20.0
"""In absence the mean returns to ``DOUBT`` with this time constant. Chosen by hand: a player who pauses is
still believed."""
CLOSED, OPEN = -2.8, -0.8
"""Mean log odds between which the gate opens. Chosen where both recordings of singing are answered and no
recorded speech is (docs/decisions/0024)."""
LOGIT_LIMIT: Final = 6.0
"""Nats. Chosen: one odd second cannot outweigh several others."""
ABSENT: Final = 0.1
"""Presence below which the mean is not updated. Chosen by hand."""
_MUSIC: Final = slice_of("music").start


class MusicGate:
    """Streaming; ``update`` gives the presence of music."""

    def __init__(self) -> None:
        self._share = 1.0 - math.exp(-1.0 / (MUSIC_S * EMOTION_RATE_HZ))
        self._forget = 1.0 - math.exp(-1.0 / (FORGETTING_S * EMOTION_RATE_HZ))
        self.reset()

    def reset(self) -> None:
        """Nothing heard yet."""
        self.log_odds = DOUBT

    def update(self, emotion: NDArray[np.float32], presence: float) -> float:
        """Take one emotion vector ``[64]`` and the presence 0 .. 1 of sound; the presence 0 .. 1 of music."""
        w = min(max(presence, 0.0), 1.0) if math.isfinite(presence) else 0.0
        said = float(emotion[_MUSIC])
        said = min(max(said, -LOGIT_LIMIT), LOGIT_LIMIT) if math.isfinite(said) else DOUBT
        if w > ABSENT:
            self.log_odds += w * self._share * (said - self.log_odds)
        else:
            self.log_odds += self._forget * (DOUBT - self.log_odds)
        return w * min(max((self.log_odds - CLOSED) / (OPEN - CLOSED), 0.0), 1.0)
