"""Part of ``composer``: the music ends because a hand ended the session, or because the programme rests."""

from typing import Final

from kelly_edge.contract import Rung
from kelly_edge.music.scheduler import CommittedBeat

ENDING_BARS: Final = 2
"""Chosen: the dominant and the tonic."""


class Farewell:
    """How far the music has come on its way to an end: two bars to a long chord, then silence.

    ``ask`` says in every hop group whether it must end; ``composed``, ``committed`` and ``rewind`` follow
    what becomes of the bars.
    """

    def __init__(self) -> None:
        self._is_asked = False
        self._is_over = False
        self._last_bar: int | None = None

    def ask(self, must_end: bool, is_resting: bool) -> bool:
        """Whether the music rests; ``is_resting`` says whether it would without being asked to end."""
        if not must_end:
            self._is_asked, self._is_over, self._last_bar = False, False, None
            return is_resting
        self._is_asked = True
        # What rests when it is asked has nothing to end.
        self._is_over = self._is_over or is_resting
        return self._is_over

    def composed(self, bar: int) -> None:
        """A bar with this number was composed."""
        if self._is_asked and self._last_bar is None:
            self._last_bar = bar + ENDING_BARS - 1

    def rewind(self, bar: int) -> None:
        """The bars from this number on are taken back."""
        if self._last_bar is not None and bar <= self._last_bar - (ENDING_BARS - 1):
            self._last_bar = None

    def committed(self, beat: CommittedBeat) -> None:
        """A beat is committed; with the last of the last bar the end has come."""
        if self._last_bar is not None and beat.bar.rung != Rung.REST:
            is_last = beat.bar.number == self._last_bar and beat.index == beat.n_beats - 1
            self._is_over = self._is_over or is_last or beat.bar.number > self._last_bar
