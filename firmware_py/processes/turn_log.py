"""Part of ``control``: the composer's turns into the session log, from which they can be replayed."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import LOGGING_DTYPE, MAX_LOGGING, TURN_DTYPE, Ends
from firmware_py.board.turns import beginning, pack_turns
from firmware_py.ports import Journal
from kelly_edge.contract import Rung

PER_ENTRY: Final = 12
"""Turns an entry holds where something happens in them: one second, which is what a power cut may cost.
Chosen: fewer compress worse."""
MOST_PER_ENTRY: Final = 120
"""Where nothing does: ten seconds. Chosen by hand."""
NEWS: Final = ("heard", "is_heard", "n_draws", "n_notes")
"""Turns that are the same in these tell nothing new: bars of rest are composed on and on."""
DIGITS: Final = 6
"""Of times, after the point. Chosen: microseconds, as in the other entries."""


class TurnLog:
    """One ``step()`` takes the turns made since the last one; ``close()`` logs those that wait.

    Where logs begin and end, ``begin()`` and ``end()`` say so. Turns that were taken stay on the board for a
    while: ``control`` may end before they are on the disk, and the next one logs them (``go_on``).
    """

    def __init__(self, ends: Ends, journal: Journal) -> None:
        self._ring = ends.ring_to_read("turns")
        self._journal = journal
        self._cell = ends.cell_to_write("logging")
        self._kept = np.zeros((), LOGGING_DTYPE)
        ends.cell_to_read("logging").read(self._kept)
        self._turn = np.zeros((), TURN_DTYPE)
        self._waiting: list[NDArray[Any]] = []
        self._last: NDArray[Any] | None = None
        self._next: NDArray[Any] | None = None
        self._is_news = False
        self._knobs = b""
        self._is_resting = False

    def step(self) -> None:
        """Log."""
        if self._next is not None:
            first, self._next = self._next, None
            self._take(first)
        while self._ring.read(self._turn):
            self._keep()
            self._take(self._turn.copy())

    def close(self) -> None:
        """Log what waits."""
        self.step()
        self._flush()

    def begin(self) -> None:
        """A log begins: what waits is from before it, and what was said before is said again."""
        self._waiting.clear()
        self._last = None
        self._is_resting = False
        self._knobs = b""
        self._kept["n"] = 0
        if self._next is not None:
            self._turn[...] = self._next
            self._keep()
        else:
            self._cell.write(self._kept)

    def go_on(self, after: int) -> None:
        """The log of a process that ended goes on; it holds turns up to number ``after``, and those that were
        taken besides come first."""
        turns, n = self._kept["turns"], int(self._kept["n"])
        for i in range(max(0, n - MAX_LOGGING), n):
            if int(turns["number"][i % MAX_LOGGING]) > after:
                self._take(turns[i % MAX_LOGGING, ...].copy())

    def end(self) -> None:
        """The log ends: turns from where the music begins anew on are not its own, and wait for the next."""
        while self._next is None and self._ring.read(self._turn):
            if self._turn["begins"]:
                self._next = self._turn.copy()
            else:
                self._take(self._turn.copy())
        self._flush()

    def _keep(self) -> None:
        """Leave the turn just read on the board."""
        kept = self._kept
        kept["turns"][int(kept["n"]) % MAX_LOGGING] = self._turn
        kept["n"] = int(kept["n"]) + 1
        self._cell.write(kept)

    def _take(self, turn: NDArray[Any]) -> None:
        last = self._last
        if last is None or (
            turn["begins"] or turn["number"] != last["number"] + 1 or turn["knobs"] != last["knobs"]
        ):
            self._flush()
            self._is_news = True
        if turn["begins"]:
            self._knobs = b""
            self._journal.record(beginning(turn))
        self._is_news = self._is_news or last is None or any(turn[name] != last[name] for name in NEWS)
        self._waiting.append(turn)
        self._last = turn
        if len(self._waiting) >= (PER_ENTRY if self._is_news else MOST_PER_ENTRY):
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        knobs = self._waiting[0]["knobs"].tobytes()
        self._journal.record(pack_turns(self._waiting, knobs != self._knobs))
        self._knobs = knobs
        for turn in self._waiting:
            if turn["has_bar"]:
                self._log_bar(turn)
        self._waiting.clear()
        self._is_news = False

    def _log_bar(self, turn: NDArray[Any]) -> None:
        """Bar lines, for the tempo map; of a rest the first one, for nothing changes in it."""
        bar = turn["bar"]
        is_rest = int(turn["bar_rung"]) == Rung.REST
        if not (is_rest and self._is_resting):
            self._journal.record(
                {
                    "kind": "bar",
                    "time_s": round(float(bar["start_s"]), DIGITS),
                    "beat_s": round(float(bar["beat_s"]), DIGITS),
                    "n_beats": int(bar["n_beats"]),
                    "number": int(bar["number"]),
                    "tonic": int(bar["tonic"]),
                    "mode": int(bar["mode"]),
                }
            )
        self._is_resting = is_rest
