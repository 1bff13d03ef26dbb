"""What minutes of music in one place say of where its arousal lies.

A room or a microphone may shift every arousal heard in it by the same amount, and so may a calm afternoon:
from the readings alone the two cannot be told apart. The offset is therefore an estimate that shrinks: its
prior mean is zero, once ``room`` has corrected what it knows of; its spread is what was left over between
rooms in training; and a session's own mood, which no number of pieces averages away, is allowed more than
that. So an hour of calm music moves the offset by a bounded share of itself and stays calm.
"""

import math
from dataclasses import dataclass
from typing import Final

from kelly_edge.contract import EMOTION_RATE_HZ

PLACE_SD: Final = 0.25
"""Standard deviation of arousal's offset between rooms, in half log odds, after the room's correction.
Chosen: about what was measured between rooms of training."""
SESSION_SD: Final = 0.35
"""Of the mean mood of a session, in half log odds: one may be calm from its beginning to its end. Chosen by
hand."""
PIECE_SD: Final = 1.0
"""Of the mood of a minute of music about its session's mean, in half log odds. Chosen by hand."""
LIMIT: Final = 0.3
"""The offset is never larger, in half log odds: the largest left over in a room of training. Measured
there."""
FULL: Final = 1.5
"""Half log odds beyond which a moment counts as this much: it is energetic, or calm, for sure. Chosen by
hand."""
MEMORY_MIN: Final = 45.0
"""Time constant of what is remembered, in minutes of music. Chosen: the length of a session."""
MINUTES_PER_GROUP: Final = 1.0 / (60.0 * EMOTION_RATE_HZ)
"""By definition of the hop group."""


@dataclass(frozen=True)
class PlaceMemory:
    """What was heard in this place: minutes of music, at most ``MEMORY_MIN``, and their mean arousal, in half
    log odds before the offset."""

    minutes: float = 0.0
    arousal: float = 0.0

    @property
    def is_sane(self) -> bool:
        """Whether it may have come from a ``Place``."""
        return (
            math.isfinite(self.minutes)
            and 0.0 <= self.minutes <= MEMORY_MIN * (1.0 + 1e-6)
            and math.isfinite(self.arousal)
            and abs(self.arousal) <= FULL
        )

    @property
    def offset(self) -> float:
        """What to add to arousal, in half log odds: the posterior mean, within ``LIMIT``."""
        if self.minutes <= 0.0:
            return 0.0
        unlike = SESSION_SD**2 + PIECE_SD**2 / self.minutes
        share = PLACE_SD**2 / (PLACE_SD**2 + unlike)
        return min(max(-share * self.arousal, -LIMIT), LIMIT)


class Place:
    """Streaming: ``push`` each hop group's arousal, then read ``offset``.

    Parameters
    ----------
    memory: what is known of the place from an earlier session.
    learns: otherwise the offset is zero.
    """

    def __init__(self, memory: PlaceMemory | None = None, learns: bool = True) -> None:
        self.memory = memory or PlaceMemory()
        self.learns = learns

    @property
    def offset(self) -> float:
        """What to add to arousal, in half log odds."""
        return self.memory.offset if self.learns else 0.0

    def reset(self) -> None:
        """Another place, of which nothing is known."""
        self.memory = PlaceMemory()

    def push(self, arousal: float, presence: float) -> None:
        """Take the arousal of a hop group in half log odds, before the offset, and the presence of music."""
        if not (self.learns and math.isfinite(arousal) and math.isfinite(presence)):
            return
        before, new = self.memory, min(max(presence, 0.0), 1.0) * MINUTES_PER_GROUP
        kept = before.minutes * math.exp(-new / MEMORY_MIN)
        minutes = min(kept + new, MEMORY_MIN)
        if minutes <= 0.0:
            return
        bounded = min(max(arousal, -FULL), FULL)
        share = new / minutes
        self.memory = PlaceMemory(minutes, before.arousal + share * (bounded - before.arousal))
