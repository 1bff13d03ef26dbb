"""Part of ``control``: the lamp says how the box is, from the counters of its processes.

white   a process has not begun yet, or, for a moment, a knob turned to its next page, or a session began or
        ended; as many flashes as the place of a programme that was chosen: one for the first
magenta a panic: silent until somebody resumes
green   it listens          blue   it composes: notes have just been played
yellow  the card missed a period a moment ago
red     a process stands still, or safe mode

Green and blue blink while a session is on: every five seconds as often as the number of the phase it is in.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from firmware_py.board.map import PANIC_DTYPE, SESSION_DTYPE, TARGET_DTYPE, Ends
from firmware_py.board.telemetry import COUNTERS, TIMES_DTYPE, new_counters
from firmware_py.ports import Clock
from kelly_edge.contract import KNOBS_DTYPE

RED, GREEN, BLUE = (True, False, False), (False, True, False), (False, False, True)
COLOURS: Final[Mapping[str, tuple[bool, bool, bool]]] = {
    "starting": (True, True, True),
    "page": (True, True, True),
    "panic": (True, False, True),
    "listening": GREEN,
    "composing": BLUE,
    "xrun": (True, True, False),
    "fault": RED,
    "dark": (False, False, False),
}
"""State of the box → red, green, blue."""
# Chosen by hand: how long the lamp shows that notes leave, an xrun, a voice's page; after how long without a
# step a process stands still.
COMPOSING_S: Final = 3.0
XRUN_S: Final = 2.0
PAGE_S: Final = 0.2
BLINK_EVERY_S: Final = 5.0
BLINK_S: Final = 0.4
"""A flash or a blink, half of it as long as a page's."""
MOST_BLINKS: Final = 9
"""Phases that blinks can tell apart. Chosen by hand: more are not counted by eye."""
STANDS_STILL_S: Final = 5.0
"""A process without a step for this long stands still. Chosen by hand."""
WATCHED: Final = tuple(process for process in COUNTERS if process != "control")


@dataclass
class Pulse:
    """A process's step count, and when it last changed; -1 before it began."""

    n_steps: int = -1
    beat_s: float = 0.0


class LampStage:
    """One ``step()`` looks at the board and shows what matters most.

    Parameters
    ----------
    show: lights red, green, blue.
    offered: the programmes to choose among, as the knob counts them.
    """

    def __init__(
        self,
        ends: Ends,
        show: Callable[[bool, bool, bool], None],
        clock: Clock,
        offered: Sequence[int] = (),
    ) -> None:
        self._offered = list(offered)
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._session = np.zeros((), SESSION_DTYPE)
        self._target = np.zeros((), TARGET_DTYPE)
        self._programme = -1
        self._chosen_s, self._n_flashes = -math.inf, 0
        self._ends = ends
        self._show = show
        self._clock = clock
        self._pulses = {process: Pulse() for process in WATCHED}
        self._times = np.zeros((), TIMES_DTYPE)
        self._panic = np.zeros((), PANIC_DTYPE)
        self._audio, self._midi = new_counters("audio"), new_counters("midi")
        self._n_xruns, self._n_notes = self._counted()
        self._until_s = {"composing": 0.0, "xrun": 0.0, "page": 0.0}
        self._colour: tuple[bool, bool, bool] | None = None
        self.state = ""

    def flash(self) -> None:
        """A knob turned to another page, or a session began or ended."""
        self._until_s["page"] = self._clock.now_s() + PAGE_S

    def step(self) -> None:
        """Look, and show."""
        now_s = self._clock.now_s()
        self._look_at_sound(now_s)
        self._look_at_programme(now_s)
        self.state = self._most_important(now_s)
        if self.state in ("listening", "composing") and self._blinks(now_s):
            self.state = "dark"
        colour = COLOURS[self.state]
        if colour != self._colour:
            self._colour = colour
            self._show(*colour)

    def _counted(self) -> tuple[int, int]:
        """Xruns and notes so far."""
        self._ends.cell_to_read("telemetry_audio").read(self._audio)
        self._ends.cell_to_read("telemetry_midi").read(self._midi)
        n_xruns = int(self._audio["n_capture_xruns"]) + int(self._audio["n_playback_xruns"])
        return n_xruns, int(self._midi["n_note_ons"])

    def _look_at_sound(self, now_s: float) -> None:
        n_xruns, n_notes = self._counted()
        # A process started again counts from 0.
        if n_xruns > self._n_xruns:
            self._until_s["xrun"] = now_s + XRUN_S
        if n_notes > self._n_notes:
            self._until_s["composing"] = now_s + COMPOSING_S
        self._n_xruns, self._n_notes = n_xruns, n_notes

    def _look_at_programme(self, now_s: float) -> None:
        if self._ends.cell_to_read("knobs").read(self._knobs):
            before, self._programme = self._programme, int(self._knobs["programme"])
            if before not in (-1, self._programme) and self._programme in self._offered:
                self._chosen_s, self._n_flashes = now_s, self._offered.index(self._programme) + 1

    def _blinks(self, now_s: float) -> bool:
        """Whether it is dark within one of the blinks that tell the phase of a session."""
        if not (self._ends.cell_to_read("session").read(self._session) and self._session["is_on"]):
            return False
        self._ends.cell_to_read("target").read(self._target)
        since_s = (now_s - float(self._session["begun_s"])) % BLINK_EVERY_S
        n_blinks = min(int(self._target["phase"]) + 1, MOST_BLINKS)
        return since_s < n_blinks * BLINK_S and since_s % BLINK_S < BLINK_S / 2.0

    def _most_important(self, now_s: float) -> str:
        if now_s < self._until_s["page"]:
            return "page"
        chosen_s = now_s - self._chosen_s
        if chosen_s < self._n_flashes * BLINK_S:
            return "page" if chosen_s % BLINK_S < BLINK_S / 2.0 else "dark"
        for process, pulse in self._pulses.items():
            if self._ends.cell_to_read(f"times_{process}").read(self._times):
                n_steps = int(self._times["n_times"])
                if n_steps != pulse.n_steps:
                    pulse.n_steps, pulse.beat_s = n_steps, now_s
        self._ends.cell_to_read("panic").read(self._panic)
        if self._panic["is_on"]:
            return "panic"
        begun = [pulse for pulse in self._pulses.values() if pulse.n_steps >= 0]
        if any(now_s - pulse.beat_s > STANDS_STILL_S for pulse in begun):
            return "fault"
        if len(begun) < len(self._pulses):
            return "starting"
        return next((state for state in ("xrun", "composing") if now_s < self._until_s[state]), "listening")
