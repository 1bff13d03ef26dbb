"""What a second of the player's playing sounded like, for the session log.

Part of ``control``. The mood heard is logged by its changes; level, register and pitch classes never stand
still, so their means over a second are logged while somebody plays, and nothing else.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES, PRESENT
from kelly_edge.emotion.vector import slice_of

EVERY_S: Final = 1.0
"""Chosen: the report's finest grid."""
# MIDI 1.0: note of middle C; semitones of an octave.
MIDDLE_C, OCTAVE = 60.0, 12.0
_REGISTER: Final = slice_of("register").start


class PlayerSound:
    """Takes hop groups; gives an entry for each second of which half was played."""

    def __init__(self) -> None:
        self._chroma = np.zeros(N_PITCH_CLASSES)
        self._start()

    def _start(self, time_s: float = -math.inf) -> None:
        self._since_s = time_s
        self._n_heard = self._n_played = 0
        self._power = self._register = 0.0
        self._chroma[:] = 0.0

    def hear(self, heard: NDArray[Any]) -> dict[str, Any] | None:
        """Take a hop group, a 0-d HEARD_DTYPE array; the entry of the second that it ends, or None.

        ``level_db`` is dBFS, ``register`` the mean pitch as a MIDI note, ``chroma`` the share of each pitch
        class in percent, C first.
        """
        time_s = float(heard["time_s"])
        if not 0.0 <= time_s - self._since_s < 2.0 * EVERY_S:
            self._start(time_s)
        self._n_heard += 1
        level_db, register = float(heard["level_db"]), float(heard["emotion"][_REGISTER])
        if heard["presence"] >= PRESENT and math.isfinite(level_db) and math.isfinite(register):
            self._n_played += 1
            self._power += 10.0 ** (level_db / 10.0)
            self._register += register
            self._chroma += heard["chroma"]
        if time_s - self._since_s < EVERY_S:
            return None
        entry = self._entry(time_s) if 2 * self._n_played >= self._n_heard else None
        self._start(time_s)
        return entry

    def _entry(self, time_s: float) -> dict[str, Any]:
        n = self._n_played
        return {
            "kind": "sound",
            "time_s": round(time_s, 2),
            "level_db": round(10.0 * math.log10(max(self._power / n, 1e-12)), 1),
            "register": round(MIDDLE_C + OCTAVE * self._register / n, 1),
            "chroma": [round(100.0 * float(share) / n) for share in self._chroma],
        }
