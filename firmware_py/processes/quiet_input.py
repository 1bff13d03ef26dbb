"""Part of ``control``: says that the microphone is too quiet to be heard as music, or delivers nothing.

A room in which nobody plays is quiet too: the line is written after a minute at first, then ever more rarely.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from firmware_py.board.map import Ends
from firmware_py.ports import Clock
from kelly_edge.contract import HEARD_DTYPE
from kelly_edge.emotion.features import SOUNDING_DB
from kelly_edge.units import SILENCE_DB

# Chosen by hand: after how long a quiet microphone is told of, and the longest pause before it is told again.
QUIET_FOR_S: Final = 60.0
LONGEST_PAUSE_S: Final = 3_600.0
DIGITAL_SILENCE_DB: Final = SILENCE_DB + 1.0
"""Below the level of any card with an open input: a 24-bit converter's own noise is above it. Chosen for
that reason."""


class QuietInput:
    """One ``step()`` looks at the newest hop group heard.

    Parameters
    ----------
    warn: told one line where all of ``QUIET_FOR_S`` was too quiet; again after twice as long
        each time, up to ``LONGEST_PAUSE_S``.
    """

    def __init__(self, ends: Ends, warn: Callable[[str], None], clock: Clock) -> None:
        self._cell = ends.cell_to_read("heard")
        self._warn = warn
        self._clock = clock
        self._heard = np.zeros((), HEARD_DTYPE)
        self._loudest_db = -math.inf
        self._pause_s = QUIET_FOR_S
        self._due_s = clock.now_s() + QUIET_FOR_S

    def step(self) -> None:
        """Look at the newest hop group, and warn where it is time to."""
        if self._cell.read(self._heard):
            self._loudest_db = max(self._loudest_db, float(self._heard["level_db"]))
        now_s = self._clock.now_s()
        if self._loudest_db >= SOUNDING_DB:
            self._pause_s = QUIET_FOR_S
            self._begin(now_s)
        elif now_s >= self._due_s:
            # Without any hop groups the fault is not the microphone's; the watch and the doctor report it.
            if self._loudest_db > -math.inf:
                self._warn(self._line())
                self._pause_s = min(2.0 * self._pause_s, LONGEST_PAUSE_S)
            self._begin(now_s)

    def _begin(self, now_s: float) -> None:
        self._loudest_db = -math.inf
        self._due_s = now_s + self._pause_s

    def _line(self) -> str:
        if self._loudest_db <= DIGITAL_SILENCE_DB:
            return "audio: the card delivers digital silence; is the microphone muted or unplugged?"
        return (
            f"audio: too quiet to be heard as music ({self._loudest_db:.0f} dBFS at its loudest; "
            f"{SOUNDING_DB:.0f} is needed); if somebody plays, raise the gain of the microphone"
        )
