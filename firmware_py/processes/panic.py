"""Panic: silence until somebody resumes, whichever process stands still.

``guardian`` alone decides (``PanicStage``), for it is small, real-time and waits for nobody: it reads the panic
button itself, the ``panic`` ring of the command line, and the counts that ``control`` puts among the knobs. What
it decided stands in the ``panic`` cell, a file that outlives every process. ``audio`` and ``midi`` obey the cell
(``PanicWatch``). A guardian that stands still hears no panic; so they are silent then too, until it is back.
"""

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board import COMMAND_DTYPE, COMMANDS, PANIC_DTYPE, Board
from firmware_py.channels import Cell
from firmware_py.devices.ports import Clock
from kelly_edge.contract import KNOBS_DTYPE

GUARDIAN_STALLED_S: Final = 0.2
"""A guardian that gave no sign for so long stands still; its steps are 10 ms apart."""
SECOND_PUSH_S: Final = 0.5
"""A hand that hits the button twice in alarm means one panic: from then on a push resumes."""
PANIC, RESUME = COMMANDS.index("panic"), COMMANDS.index("resume")


class PanicWatch:
    """What the ``panic`` cell asks of a process that sounds."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._record = np.zeros((), PANIC_DTYPE)
        self._n_beats = 0
        self._beat_s = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it is a panic, as of the last look."""
        return bool(self._record["is_on"])

    def is_silent(self, now_s: float) -> bool:
        """Whether nothing may sound at ``now_s``, seconds of any steady clock of the caller's.

        Before any guardian began there is nobody to obey.
        """
        record = self._record
        self._cell.read(record)
        n_beats = int(record["n_beats"])
        if n_beats != self._n_beats:
            self._n_beats, self._beat_s = n_beats, now_s
        return bool(record["is_on"]) or (n_beats > 0 and now_s - self._beat_s > GUARDIAN_STALLED_S)


class Hand(Protocol):
    """Where panics are asked for, besides the board."""

    def n_asked(self) -> int:
        """How often since the last call."""


class PanicStage:
    """One ``step()`` takes in what was asked and says whether the box must be silent.

    Parameters
    ----------
    button: pushes of the panic button; a second one resumes.
    controller: presses of a MIDI button learned for panic; it never resumes.
    """

    def __init__(
        self, board: Board, clock: Clock, button: Hand | None = None, controller: Hand | None = None
    ) -> None:
        self._ring = board.rings["panic"]
        self._knobs_cell = board.cells["knobs"]
        self._cell = board.cells["panic"]
        self._clock = clock
        self._button = button
        self._controller = controller
        self._command = np.zeros((), COMMAND_DTYPE)
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._record: NDArray[Any] = np.zeros((), PANIC_DTYPE)
        # Of a guardian before this one: a panic goes on, and what was asked meanwhile is obeyed.
        self._cell.read(self._record)
        self.n_panics = 0

    @property
    def is_on(self) -> bool:
        """Whether the box must be silent."""
        return bool(self._record["is_on"])

    def step(self) -> None:
        """Take in what was asked."""
        now_s, record = self._clock.now_s(), self._record
        while self._ring.read(self._command):
            if self._command["what"] in (PANIC, RESUME):
                self._set(self._command["what"] == PANIC, now_s)
        if self._knobs_cell.read(self._knobs):
            # Where both were asked within a step, silence is the safe answer.
            for name, is_on in (("n_resumes", False), ("n_panics", True)):
                if self._knobs[name] != record[name]:
                    record[name] = self._knobs[name]
                    self._set(is_on, now_s)
        if self._button is not None and self._button.n_asked():
            if not self.is_on:
                self._set(True, now_s)
            elif now_s - float(record["since_s"]) >= SECOND_PUSH_S:
                self._set(False, now_s)
        if self._controller is not None and self._controller.n_asked():
            self._set(True, now_s)
        record["n_beats"] += 1
        self._cell.write(record)

    def _set(self, is_on: bool, now_s: float) -> None:
        if is_on != self.is_on:
            self._record["is_on"], self._record["since_s"] = is_on, now_s
            self.n_panics += is_on
