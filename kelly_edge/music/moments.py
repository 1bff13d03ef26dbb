"""What the network has read, and every bar line one may go back to.

Every bar line is a snapshot (a reference to the window, a row count, the contexts of the next row, the form
so far), so going back to any of the last bar lines kept computes nothing.

When the window is full the newest whole bars that fill half of it are read into a new one, so the network
always sees rows at places it was trained on and play goes on without end. There are ``N_WINDOWS`` of them for
good, so memory is constant.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import BAR, N_FAMILIES, N_STEPS, TYPE, UNKNOWN, GridNote, Rows
from kelly_edge.music.expression import N_PITCHES
from kelly_edge.music.form import Score
from kelly_edge.music.sampling import ComposerNetwork, Floats, KvCache

N_SNAPSHOTS: Final = 64
"""Bar lines one may rewind to, at most: the longest look-ahead with the longest latency (8.75 s), of rests of
one beat at the fastest tempo (300 bpm), has 44. Chosen: half as many again."""
N_WINDOWS: Final = 8
"""Each serves at least one bar of the most notes, so that a look-ahead of such bars may be rewound. Chosen
for that reason."""


@dataclass
class Window:
    """Rows the network has read, with its keys and values."""

    rows: Rows
    """[context, 11]; the first ``n`` of a snapshot count."""
    cache: KvCache


@dataclass(frozen=True)
class Moment:
    """Everything that composing from a bar line depends on."""

    number: int
    window: Window
    n_rows: int
    contexts: Floats
    """[n_heads, head_width] of the next row."""
    tempo: int = UNKNOWN
    """Tempo token of the last bar."""
    recent: tuple[tuple[GridNote, ...], ...] = ()
    """Notes of the last bars that had any, newest last, at most three."""
    ends: tuple[int, ...] = (0,) * N_PITCHES
    """Steps after the bar line at which the last note of each pitch token ends."""
    pitches: tuple[int, ...] = ()
    """Pitch tokens of the last notes composed, as many as a run has intervals (``known_runs``)."""
    melody: int = UNKNOWN
    """Pitch token of the melody's last note."""
    score: Score | None = None
    """The form that is played; None where none has begun, as after a rest."""


def a_bar_later(ends: Sequence[int]) -> tuple[int, ...]:
    """``Moment.ends`` counted from the next bar line."""
    return tuple(max(0, end - N_STEPS) for end in ends)


class Reading:
    """The network reads rows into a window, after those of a moment.

    Attributes
    ----------
    contexts: [n_heads, head_width] of the next row, changed in place.
    """

    def __init__(self, network: ComposerNetwork, window: Window, n_rows: int, contexts: Floats) -> None:
        self.window, self.n_rows, self.contexts = window, n_rows, contexts
        self._network = network

    def read(self, row: Rows) -> None:
        """``row`` [11] is the next one of the music."""
        self.window.rows[self.n_rows] = row
        self._network.step(row, self.window.cache, self.n_rows, self.contexts)
        self.n_rows += 1


class Moments:
    """The bar lines kept, and the windows they refer to.

    Attributes
    ----------
    now: the bar line from which the next bar is composed.
    """

    def __init__(self, network: ComposerNetwork) -> None:
        self._network = network
        self._windows = [self._new_window() for _ in range(N_WINDOWS)]
        self.begin()

    def begin(self) -> None:
        """Forget every bar line: bar 0 comes next, as at first."""
        self.now = Moment(0, self._windows[0], 0, self._network.tables.start.copy())
        self._snapshots: deque[Moment] = deque([self.now], maxlen=N_SNAPSHOTS)

    def append(self, after: Moment) -> None:
        """The next bar line."""
        self.now = after
        self._snapshots.append(after)

    def rewind(self, bar_number: int) -> None:
        """Go back to the bar line before bar ``bar_number``.

        Raises
        ------
        ValueError: the bar line is in the future or no longer kept (``N_SNAPSHOTS``, ``N_WINDOWS``).
        """
        if bar_number == self.now.number:
            return
        kept = [moment for moment in self._snapshots if moment.number <= bar_number]
        if not kept or kept[-1].number != bar_number:
            raise ValueError(f"rewind: no snapshot of bar {bar_number}; the next bar is {self.now.number}")
        self.now = kept[-1]
        self._snapshots = deque(kept, maxlen=N_SNAPSHOTS)

    def room(self, n_more: int, n_kept: int) -> Reading:
        """The window if ``n_more`` rows fit, else a new one with whole bars of at most ``n_kept`` rows."""
        now = self.now
        contexts = now.contexts.copy()
        if now.n_rows + n_more <= self._network.context:
            return Reading(self._network, now.window, now.n_rows, contexts)
        rows = now.window.rows[: now.n_rows]
        lines = np.flatnonzero(rows[:, TYPE] == BAR)
        lines = lines[lines >= now.n_rows - n_kept]
        reading = Reading(self._network, self._spare_window(), 0, contexts)
        np.copyto(contexts, self._network.tables.start)
        for row in rows[lines[0] if len(lines) else now.n_rows :]:
            reading.read(row)
        return reading

    def _new_window(self) -> Window:
        window = Window(np.zeros((self._network.context, N_FAMILIES), np.int16), self._network.new_cache())
        for array in (window.rows, window.cache.keys, window.cache.values):
            array.fill(0)  # its pages are taken now, not while it plays
        return window

    def _spare_window(self) -> Window:
        """One that no bar line needs; where all are needed the oldest bar lines are forgotten."""
        while True:
            needed = {id(moment.window) for moment in self._snapshots}
            for window in self._windows:
                if id(window) not in needed:
                    return window
            self._snapshots.popleft()
