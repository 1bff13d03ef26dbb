"""Forecast of the chord at a later time: the belief heard, its delay compensated, then ``ChordMemory``'s.

Without a beat heard, beats of ``DEFAULT_BEAT_S`` are counted: a loop played at a steady tempo is found in
them too.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from kelly_edge.harmony.chords import N_STATES, Floats
from kelly_edge.harmony.hearing import TRANSITIONS
from kelly_edge.harmony.memory import ChordMemory, changes_at

HEARING_DELAY_S: Final = 0.15
"""Age of the sound a belief is about: mostly half the window of the spectrum. Follows from the window of
341 ms, half of which is 0.17 s; chosen a little shorter, for the last notes weigh most."""
DEFAULT_BEAT_S: Final = 0.5
"""Chosen: 120 beats per minute, MIDI's default tempo."""
N_BEATS_AHEAD: Final = 32
"""Beats that are foretold; beyond them the last one holds. Chosen: eight bars, longer than any bar is
composed ahead."""


class ChordForecast:
    """Streaming: ``hear`` per hop group, ``at`` whenever a chord to come is asked for."""

    def __init__(self) -> None:
        self._memory = ChordMemory()
        self.forget()

    def forget(self) -> None:
        """Forget everything heard: somebody else may play next."""
        self._memory.forget()
        self._transitions = TRANSITIONS[-1]
        self._beat_s = DEFAULT_BEAT_S
        self._end_s = -math.inf
        self._place, self._n_beats = -1, 4

    def hear(
        self,
        time_s: float,
        belief: Floats,
        collection: int,
        beat_s: float = 0.0,
        beat_phase: float = 0.0,
        place: int = -1,
        n_beats: int = 4,
    ) -> None:
        """One hop group heard at ``time_s``, with the belief [25] and the row of ``TRANSITIONS`` of its key.

        Parameters
        ----------
        beat_s: length of a beat; 0 where no beat is believed.
        beat_phase: 0..1, how much of the beat of ``time_s`` is over.
        place, n_beats: which beat of its bar it is (0 first, -1 unknown), and how many the bar has.
        """
        self._transitions = TRANSITIONS[collection]
        heard_s = time_s - HEARING_DELAY_S
        if not math.isfinite(self._end_s):
            self._end_s = heard_s + DEFAULT_BEAT_S
        if beat_s > 0.0:
            # The end of the beat listened to is the line heard that is nearest to it.
            next_s = time_s + (1.0 - beat_phase) * beat_s
            n_between = round((next_s - self._end_s) / beat_s)
            self._beat_s, self._end_s = beat_s, next_s - n_between * beat_s
            self._n_beats = max(n_beats, 1)
            # ``next_s`` begins beat place + 1, so the beat that ends at ``_end_s`` is ``place - n_between``.
            self._place = (place - n_between) % self._n_beats if place >= 0 else -1
        else:
            self._place = -1
        while heard_s >= self._end_s:
            self._memory.end_beat(self._transitions, self._changes(0), self._changes(1))
            self._end_s += self._beat_s
            self._place = (self._place + 1) % self._n_beats if self._place >= 0 else -1
        self._memory.hear(belief)

    def _changes(self, n_later: int) -> float:
        """Probability of a change at the beat ``n_later`` after the one listened to."""
        place = (self._place + n_later) % self._n_beats if self._place >= 0 else -1
        return changes_at(place, self._n_beats)

    def at(self, times_s: Sequence[float]) -> Floats:
        """Beliefs about the chords at each of ``times_s``: [n, 25]."""
        beats = [
            min(max(math.floor((time_s - self._end_s) / self._beat_s) + 1, 0), N_BEATS_AHEAD)
            if math.isfinite(self._end_s)
            else 0
            for time_s in times_s
        ]
        n_ahead = max(beats, default=0)
        changes = np.array([self._changes(n + 1) for n in range(n_ahead)], np.float32)
        ahead = np.empty((n_ahead + 1, N_STATES), np.float32)
        ahead[0] = self._memory.now
        if n_ahead:
            ahead[1:] = self._memory.foretell(self._transitions, changes)
        return ahead[beats]
