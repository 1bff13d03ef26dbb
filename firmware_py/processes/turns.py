"""Part of ``composer``: what each of its turns read and made, whole, for the session log and its replay."""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import CUT_SHORT, MAX_DRAWS, NO_RUNG, TURN_DTYPE, Ends
from firmware_py.processes.composing import Composing, fill_record
from kelly_edge.music.draws import Draws


class Turns:
    """Fills a record of ``TURN_DTYPE`` in the course of a turn, and sends it to ``control`` at its end.

    Notes leave before that end. So what a turn read is kept on the board before it makes anything. Where a
    composer ended within a turn the next one sends that turn, and a replay knows where its notes are from.
    """

    def __init__(self, ends: Ends) -> None:
        self._ring = ends.ring_to_write("turns")
        self._cell = ends.cell_to_write("turn")
        self._turn = np.zeros((), TURN_DTYPE)
        self._number = self._n_notes = self._notes_crc = 0
        if ends.cell_to_read("turn").read(self._turn):
            if self._turn["rung"] == CUT_SHORT:
                self._ring.write(self._turn)
            # One is left out, which tells another process from another beginning of the music.
            self._number = int(self._turn["number"]) + 2
            self._turn["begins"] = False

    def begin(self, before: Composing, start_s: float) -> None:
        """The music begins anew with the next turn."""
        turn = self._turn
        turn["begins"] = True
        fill_record(turn["before"], before)
        turn["has_sessions"] = before.n_sessions is not None
        turn["start_s"] = start_s
        self._n_notes = self._notes_crc = 0

    def open(
        self,
        group: int,
        time_s: float,
        attended: NDArray[Any] | None,
        knobs: NDArray[Any],
        clock: NDArray[Any] | None = None,
    ) -> None:
        """A turn begins; ``attended`` and ``clock`` are None where nothing was heard."""
        turn = self._turn
        turn["is_heard"] = attended is not None
        turn["group"], turn["time_s"] = group, time_s
        turn["heard"] = np.zeros((), turn["heard"].dtype) if attended is None else attended
        turn["clock"] = np.zeros((), turn["clock"].dtype) if clock is None else clock
        turn["knobs"] = knobs
        turn["number"] = self._number
        turn["rung"], turn["n_draws"], turn["n_notes"], turn["notes_crc"] = CUT_SHORT, 0, 0, 0
        turn["has_bar"] = False

    def time(self, now_s: float, ends_s: float) -> None:
        """When the turn is, and when the music shall have ended."""
        self._turn["now_s"], self._turn["ends_s"] = now_s, ends_s
        self._cell.write(self._turn)
        self._turn["rung"] = NO_RUNG

    def compose(self, rung: int) -> None:
        """A bar is composed on ``rung``."""
        self._turn["rung"] = rung

    def add_note(self, note: NDArray[Any]) -> None:
        """A note leaves, or is taken back: a 0-d NOTE_DTYPE array."""
        self._n_notes += bool(note["velocity"])
        self._notes_crc = zlib.crc32(note.tobytes(), self._notes_crc)

    def add_bar(self, bar: NDArray[Any], rung: int) -> None:
        """A bar line is committed: a 0-d BAR_DTYPE array of its first beat, and how the bar was made."""
        self._turn["has_bar"] = True
        self._turn["bar"], self._turn["bar_rung"] = bar, rung

    def close(self, draws: Draws) -> None:
        """The turn is over."""
        turn, n_draws = self._turn, len(draws.tokens)
        turn["n_notes"], turn["notes_crc"] = self._n_notes, self._notes_crc
        turn["n_draws"] = n_draws
        turn["draws"][: min(n_draws, MAX_DRAWS)] = draws.tokens[:MAX_DRAWS]
        draws.clear()
        self._ring.write(turn)
        self._cell.write(turn)
        turn["begins"] = False
        self._number += 1
        self._n_notes = self._notes_crc = 0
