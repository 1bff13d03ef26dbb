"""Part of ``control``: the composer's turns into the session log, from which they can be replayed."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import TURN_DTYPE, Ends
from firmware_py.board.turns import beginning, pack_turns
from firmware_py.ports import Journal
from kelly_edge.contract import Rung

PER_ENTRY: Final = 12
"""Turns an entry holds where something happens in them: one second, which is what a power cut may cost."""
MOST_PER_ENTRY: Final = 120
"""Where nothing does: ten seconds."""
NEWS: Final = ("heard", "is_heard", "n_draws", "n_notes")
"""Turns that are the same in these tell nothing new: bars of rest are composed on and on."""
DIGITS: Final = 6


class TurnLog:
    """One ``step()`` takes the turns made since the last one; ``close()`` logs those that wait."""

    def __init__(self, ends: Ends, journal: Journal) -> None:
        self._ring = ends.ring_to_read("turns")
        self._journal = journal
        self._turn = np.zeros((), TURN_DTYPE)
        self._waiting: list[NDArray[Any]] = []
        self._is_news = False
        self._knobs = b""
        self._is_resting = False

    def step(self) -> None:
        """Log."""
        while self._ring.read(self._turn):
            self._take(self._turn.copy())

    def close(self) -> None:
        """Log what waits."""
        self.step()
        self._flush()

    def begin(self) -> None:
        """Another log begins: what waits belongs to the one before, and what was said there is said again."""
        self._flush()
        self._knobs = b""

    def _take(self, turn: NDArray[Any]) -> None:
        last = self._waiting[-1] if self._waiting else None
        if last is not None and (
            turn["begins"] or turn["number"] != last["number"] + 1 or turn["knobs"] != last["knobs"]
        ):
            self._flush()
            last = None
        if turn["begins"]:
            self._knobs = b""
            self._journal.record(beginning(turn))
        self._is_news = self._is_news or last is None or any(turn[name] != last[name] for name in NEWS)
        self._waiting.append(turn)
        if len(self._waiting) >= (PER_ENTRY if self._is_news else MOST_PER_ENTRY):
            self._flush()
        if turn["has_bar"]:
            self._log_bar(turn)

    def _flush(self) -> None:
        if not self._waiting:
            return
        knobs = self._waiting[0]["knobs"].tobytes()
        self._journal.record(pack_turns(self._waiting, knobs != self._knobs))
        self._knobs = knobs
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
