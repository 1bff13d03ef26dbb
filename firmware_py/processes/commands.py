"""Part of ``control``: what the command line asks of the running box. (Panics go to ``guardian``.)"""

import numpy as np

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, Ends
from firmware_py.ports import Clock, Knobs

SESSION, PLACE = COMMANDS.index("session"), COMMANDS.index("place")


class CommandStage:
    """One ``step()`` obeys the requests made since the last one and ignores anything else."""

    def __init__(self, ends: Ends, knobs: Knobs, clock: Clock) -> None:
        self._ring = ends.ring_to_read("commands")
        self._knobs = knobs
        self._clock = clock
        self._command = np.zeros((), COMMAND_DTYPE)

    def step(self) -> None:
        """Obey."""
        while self._ring.read(self._command):
            if self._command["what"] == SESSION:
                self._knobs.begin_session(self._clock.now_s())
            elif self._command["what"] == PLACE:
                self._knobs.forget_place(self._clock.now_s())
