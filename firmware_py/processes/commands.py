"""Part of ``control``: what the command line asks of the running box. (Panics go to ``guardian``.)"""

from typing import Final

import numpy as np

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, LONGEST_MARK, MARK_DTYPE, Ends
from firmware_py.ports import Clock, Knobs
from kelly_edge.shared.printed import printed

SESSION: Final = COMMANDS.index("session")


class CommandStage:
    """One ``step()`` obeys the requests made since the last one and ignores anything else."""

    def __init__(self, ends: Ends, knobs: Knobs, clock: Clock) -> None:
        self._ring = ends.ring_to_read("commands")
        self._marks = ends.ring_to_read("marks")
        self._mark = np.zeros((), MARK_DTYPE)
        self._knobs = knobs
        self._clock = clock
        self._command = np.zeros((), COMMAND_DTYPE)

    def step(self) -> None:
        """Obey."""
        while self._ring.read(self._command):
            if self._command["what"] == SESSION:
                self._knobs.begin_session(self._clock.now_s())
        while self._marks.read(self._mark):
            text = self._mark["text"].item().decode(errors="replace")
            self._knobs.mark(self._clock.now_s(), printed(text, LONGEST_MARK))
