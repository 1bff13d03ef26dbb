"""Whether the person listened to has stopped, or only pauses.

The level heard is compared with the recent maximum, since a quiet room is not silence. A pause
shorter than ``PAUSE_S`` is part of the music; a longer one is its end, and the box finishes by ``FINISH_S``
after it began.
"""

import math
from typing import Final

SILENT_DB: Final = -62.0
"""Level below which nothing sounds, however quiet it was before. In dBFS; chosen by hand."""
FALL_DB: Final = 30.0
"""Decibels below the recent maximum at which nothing is played: the remaining sound decays. Chosen by
hand."""
FORGET_DB_PER_S: Final = 1.0
"""Chosen by hand: a player who goes on softly is heard again within half a minute."""
# Chosen (docs/decisions/0021): a breath within music is shorter, an ending that waits longer sounds lost.
PAUSE_S: Final = 1.5
FINISH_S: Final = 3.0


class Silence:
    """How long nothing has been played.

    Attributes
    ----------
    since_s: when the silence began; infinity while somebody plays. is_end: whether it is more than a pause.
    """

    def __init__(self) -> None:
        self.since_s = math.inf
        self.is_end = False
        self._loudest_db = SILENT_DB
        self._last_s = 0.0

    @property
    def finish_s(self) -> float:
        """Time by which accompanying music has ended."""
        return self.since_s + FINISH_S

    def hear(self, level_db: float, now_s: float) -> None:
        """One hop group: its level in dBFS."""
        self._loudest_db -= FORGET_DB_PER_S * min(max(now_s - self._last_s, 0.0), 1.0)
        self._loudest_db = max(self._loudest_db, level_db, SILENT_DB)
        self._last_s = now_s
        if level_db > max(SILENT_DB, self._loudest_db - FALL_DB):
            self.since_s, self.is_end = math.inf, False
            return
        self.since_s = min(self.since_s, now_s)
        self.is_end = now_s - self.since_s >= PAUSE_S
