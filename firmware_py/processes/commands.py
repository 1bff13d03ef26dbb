"""Part of ``control``: what the command line asks of the running box. (Panics go to ``guardian``.)"""

from collections.abc import Callable

import numpy as np

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, LONGEST_MARK, MARK_DTYPE, Ends
from firmware_py.ports import Clock, Knobs
from kelly_edge.contract import PROGRAMMES
from kelly_edge.shared.printed import printed

SESSION, STOP, PLACE = (COMMANDS.index(word) for word in ("session", "stop", "place"))


def _nobody_named(name: str, note: str) -> None:
    pass


class CommandStage:
    """One ``step()`` obeys the requests made since the last one and ignores anything else.

    Parameters
    ----------
    name_next: told name and note of a session that is about to begin.
    n_programmes: how many the knob chooses among.
    """

    def __init__(
        self,
        ends: Ends,
        knobs: Knobs,
        clock: Clock,
        name_next: Callable[[str, str], None] = _nobody_named,
        n_programmes: int = len(PROGRAMMES),
    ) -> None:
        self._name_next = name_next
        self._n_programmes = n_programmes
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
                self._begin(self._clock.now_s())
            elif self._command["what"] == STOP:
                self._knobs.end_session(self._clock.now_s())
            elif self._command["what"] == PLACE:
                self._knobs.forget_place(self._clock.now_s())
        while self._marks.read(self._mark):
            text = self._mark["text"].item().decode(errors="replace")
            self._knobs.mark(self._clock.now_s(), printed(text, LONGEST_MARK))

    def _begin(self, now_s: float) -> None:
        command, programme = self._command, int(self._command["programme"])
        self._name_next(*(command[n].item().decode("utf-8", "replace") for n in ("name", "note")))
        if 0 <= programme < self._n_programmes:
            self._knobs.turn(now_s, programme=programme)
        self._knobs.begin_session(now_s)
