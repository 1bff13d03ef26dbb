"""Panic: silence until somebody resumes, whichever process stands still.

``guardian`` alone decides (``PanicStage``), for it is small, real-time and waits for nobody: it reads the
panic button itself, the ``panic`` ring of the command line, and the counts that ``control`` puts among the
knobs. What it decided stands in the ``panic`` cell, a file that outlives every process. ``audio`` and
``midi`` obey the cell (``panic_watch``). A guardian that stands still hears no panic; so they are silent then
too, until it is back.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import COMMANDS, PANIC_DTYPE, PRESS_DTYPE, Ends
from firmware_py.ports import Clock
from firmware_py.ports.learned import Learned
from firmware_py.ports.midi import CONTROL_CHANGE, KIND, MESSAGE_BYTES, PEDALS, SCAN_EVERY_S
from firmware_py.processes.controller_values import At, Receivers
from firmware_py.processes.controllers import Edges, Inputs
from kelly_edge.contract import KNOBS_DTYPE
from kelly_edge.errors import KellyError

SECOND_PUSH_S: Final = 0.5
"""A hand that hits the button twice in alarm means one panic: from then on a push resumes. Chosen by hand."""
PANIC, RESUME = COMMANDS.index("panic"), COMMANDS.index("resume")


class Hand(Protocol):
    """Where panics are asked for, besides the board."""

    def n_asked(self) -> int:
        """How often since the last call."""


class PanicStage:
    """One ``step()`` reads the requests and decides whether the box must be silent.

    Parameters
    ----------
    button: pushes of the panic button; a second one resumes.
    controller: presses of a MIDI button learned for panic; it never resumes.
    """

    def __init__(
        self, ends: Ends, clock: Clock, button: Hand | None = None, controller: Hand | None = None
    ) -> None:
        self._ring = ends.ring_to_read("panic")
        self._knobs_cell = ends.cell_to_read("knobs")
        self._cell = ends.cell_to_write("panic")
        self._clock = clock
        self._button = button
        self._controller = controller
        self._command = np.zeros((), PRESS_DTYPE)
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._record: NDArray[Any] = np.zeros((), PANIC_DTYPE)
        # Left by an earlier guardian: its panic goes on, and requests made meanwhile are obeyed.
        ends.cell_to_read("panic").read(self._record)
        self.n_panics = 0

    @property
    def is_on(self) -> bool:
        """Whether the box must be silent."""
        return bool(self._record["is_on"])

    def step(self) -> None:
        """Read the requests."""
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


PANIC_CONTROL: Final = "panic"
"""The control whose buttons are heard."""


class PanicController:
    """The MIDI buttons learned for panic, heard by ``guardian`` itself: ``control`` may stand still.

    Parameters
    ----------
    changed: gives the learned controls where they are new, else None; may raise a ``KellyError``.
    hears_keyboard: a piano's pedals are music.
    """

    def __init__(
        self,
        inputs: Inputs,
        changed: Callable[[], Sequence[Learned] | None],
        now_s: Callable[[], float],
        hears_keyboard: bool = False,
    ) -> None:
        self._hears_keyboard = hears_keyboard
        self._inputs = inputs
        self._changed = changed
        self._now_s = now_s
        self._scan_s = now_s()
        self._receivers = Receivers()
        self._edges = Edges()

    def n_asked(self) -> int:
        """Presses and releases since the last call."""
        now_s = self._now_s()
        if now_s >= self._scan_s:
            self._scan_s = now_s + SCAN_EVERY_S
            self._inputs.scan()
            self._learn()
        n_asked = 0
        for port, message in self._inputs.receive():
            if self._hears_keyboard and message[1:2] and message[1] in PEDALS:
                continue
            if len(message) == MESSAGE_BYTES and message[0] & KIND == CONTROL_CHANGE:
                taken = self._receivers.take(port, message, now_s)
                if taken is not None and taken[0] == PANIC_CONTROL and isinstance(taken[1], At):
                    n_asked += self._edges.is_edge(port, taken[1].as_7_bit)
        return n_asked

    def _learn(self) -> None:
        # What is wrong with the map is control's to say.
        with contextlib.suppress(KellyError):
            learned = self._changed()
            if learned is not None:
                self._receivers.learn(learned)
