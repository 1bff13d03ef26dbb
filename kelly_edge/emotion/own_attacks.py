"""Whose attacks are heard where the box hears itself, and how loud the player is.

Of the box's own notes it is known when they begin, and less well how loud they are. So its attacks do not
lift the player's level: that rises with the player's attacks alone, which are those at other moments, or
louder than the box's notes can be, and falls as the sound does. Where the player has not attacked for long,
nobody plays.
"""

import math
from collections import deque
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES, N_MEL
from kelly_edge.signal.framing import DELAY_SAMPLES
from kelly_edge.units import SILENCE_DB

Float32 = NDArray[np.float32]
RISE: Final = 2.0
"""Attacks are rises of the frames of so many times the usual one. Chosen by hand: near ``rhythm``'s."""
LEAST_RISE: Final = 0.06
"""And of so many nepers at least. Chosen by hand: as ``rhythm`` has onsets."""
RISE_S: Final = 4.0
"""Time constant of the usual rise. Chosen: a bar or two."""
SOONER_S, LATER_S = 0.03, 0.09
"""A frame that ends so much before or after one of the box's notes began may rise by it. Chosen: a frame's
window is 43 ms, and the delay may be a little wrong."""
PLAYERS: Final = 16.0
"""An attack together with one of the box's is the player's where the power, once both are whole, is at least
so many times what is expected. Chosen on song 194: 12 dB; with 9 dB loud notes of the box were theirs."""
ALONE_S: Final = 1.2
"""So long after the player's last attack the box that sounds is alone. Chosen: two beats of a slow song; who
holds a note for longer is heard again when the box pauses."""
GONE_S: Final = 3.0
"""So long after that attack the player is gone. Chosen: as ``presence.FINISH_S``, longer than any pause."""
MOST: Final = 64
"""Notes of the box that may still be attacked. Chosen: more than it plays in a second."""
BEHIND_S: Final = DELAY_SAMPLES / 48_000
"""Age of the newest sample in the frames. Follows from ``signal.framing``."""


@njit(cache=True)  # type: ignore[untyped-decorator]
def rises_of(frames: Float32, last: Float32) -> Float32:
    """Mean rise [8] of the bands from one frame [27] to the next; ``last`` was before, and is moved on."""
    n_frames, n_bands = frames.shape
    rises = np.zeros(n_frames, np.float32)
    for i in range(n_frames):
        for b in range(n_bands):
            rises[i] += max(frames[i, b] - last[b], np.float32(0.0)) / n_bands
            last[b] = frames[i, b]
    return rises


class PlayersAttacks:
    """Streaming: one ``hear`` per hop group.

    Attributes
    ----------
    attack_s: when the player last attacked. level_db: of the player, dBFS.
    is_alone: whether the box sounds and nobody else has attacked for long; is_deserted: for very long.
    """

    def __init__(self) -> None:
        self._last = np.zeros(N_MEL, np.float32)
        self._usual = 0.0
        self._keep = math.exp(-N_FRAMES / (RISE_S * FRAME_RATE_HZ))
        self._own_s: deque[float] = deque(maxlen=MOST)
        self.attack_s = -math.inf
        self._is_doubtful = False
        self.level_db, self.is_alone, self.is_deserted = SILENCE_DB, False, False

    def begin(self, time_s: float) -> None:
        """A note of the box begins to be heard."""
        self._own_s.append(time_s)

    def hear(self, now_s: float, frames: Float32, level_db: float, rings: bool, over: float) -> None:
        """The hop group that ends at ``now_s``.

        Parameters
        ----------
        frames: log mel [8, 27] as heard. rings: whether the box sounds. over: power heard over that
            expected of the box.
        """
        rises = rises_of(frames, self._last)
        is_attack = rises > RISE * self._usual + LEAST_RISE
        self._usual += (1.0 - self._keep) * (float(rises.mean()) - self._usual)
        ends_s = now_s - BEHIND_S - np.arange(N_FRAMES - 1, -1, -1) / FRAME_RATE_HZ
        own_s = np.array(self._own_s)
        since_s = ends_s[:, None] - own_s[None]
        is_own = ((since_s > -SOONER_S) & (since_s < LATER_S)).any(1)
        attacks = bool((is_attack & ~is_own).any()) or (self._is_doubtful and over > PLAYERS)
        self._is_doubtful = bool((is_attack & is_own).any())
        if attacks:
            self.attack_s = now_s
        self.is_alone = rings and now_s - self.attack_s > ALONE_S
        self.is_deserted = rings and now_s - self.attack_s > GONE_S
        if self.is_alone:
            self.level_db = SILENCE_DB
        elif attacks or not rings:
            self.level_db = level_db
        else:
            self.level_db = min(self.level_db, level_db)
