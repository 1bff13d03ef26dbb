"""Part of ``control``: what the command line asks of the running box. (Panics go to ``guardian``.)"""

from collections.abc import Callable

import numpy as np

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, LONGEST_MARK, MARK_DTYPE, TURNED, Ends
from firmware_py.ports import Clock, Knobs
from kelly_edge.contract import KNOB_RANGES, PROGRAMMES, WHOLE_KNOBS
from kelly_edge.shared.printed import printed

SESSION, STOP, PLACE, TURN = (COMMANDS.index(word) for word in ("session", "stop", "place", "turn"))


def _nobody_named(name: str, note: str) -> None:
    pass


class CommandStage:
    """One ``step()`` obeys the requests made since the last one and ignores anything else.

    Parameters
    ----------
    name_next: told name and note of a session that is about to begin.
    n_programmes, n_voices: how many those knobs choose among.
    """

    def __init__(
        self,
        ends: Ends,
        knobs: Knobs,
        clock: Clock,
        name_next: Callable[[str, str], None] = _nobody_named,
        n_programmes: int = len(PROGRAMMES),
        n_voices: int = 1,
    ) -> None:
        self._name_next = name_next
        self._n_programmes = n_programmes
        self._highest = {"programme": n_programmes - 1, "voice": n_voices - 1}
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
            elif self._command["what"] == TURN:
                self._turn(self._clock.now_s())
        while self._marks.read(self._mark):
            text = self._mark["text"].item().decode(errors="replace")
            self._knobs.mark(self._clock.now_s(), printed(text, LONGEST_MARK))

    def _begin(self, now_s: float) -> None:
        command, programme = self._command, int(self._command["programme"])
        self._name_next(*(command[n].item().decode("utf-8", "replace") for n in ("name", "note")))
        if 0 <= programme < self._n_programmes:
            self._knobs.turn(now_s, programme=programme)
        self._knobs.begin_session(now_s)

    def _turn(self, now_s: float) -> None:
        """A knob that there is, within its range; a value beyond it, or none, turns nothing."""
        knob, value = int(self._command["knob"]), float(self._command["value"])
        if not 0 <= knob < len(TURNED):
            return
        name = TURNED[knob]
        low, high = KNOB_RANGES.get(name, (0.0, 0.0))
        high = self._highest.get(name, high)
        # Not a number is within no range.
        if low <= value <= high:
            self._knobs.turn(now_s, **{name: float(round(value)) if is_whole(name) else value})


def is_whole(name: str) -> bool:
    """Whether the knob ``name`` moves by whole numbers."""
    return name == "programme" or name in WHOLE_KNOBS
