"""Part of ``midi``: MIDI clock, 24 pulses per quarter note, on the committed beats.

Start goes out a moment before the first pulse of a bar, as receivers expect; Stop when no bar follows, at the
end, and when pulses were missed: the receiver is then set right by Start at the next bar line, rather than
by a burst of pulses.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import RingReader
from firmware_py.board.map import BAR_DTYPE
from firmware_py.ports import Clock
from firmware_py.ports.midi import STALE_S, START, STOP, TIMING_CLOCK

PULSES_PER_BEAT: Final = 24
"""MIDI 1.0 defines them for its timing clock."""
START_AHEAD_S: Final = 2e-3
"""The MIDI specification asks for a millisecond between Start and its first pulse. Chosen: twice that."""
STOP_AFTER_S: Final = 1.0
"""Stop this long after the last pulse that no bar followed. Chosen by hand: a pause between bars is no
stop."""


class RealTimeOut(Protocol):
    """Somewhere MIDI's one-byte real-time messages go."""

    def send_realtime(self, status: int) -> None:
        """Send one now."""


@dataclass(frozen=True)
class Beat:
    """A committed beat as the clock plays it."""

    start_s: float
    pulse_s: float
    is_line: bool
    """Whether a bar begins with it."""


class MidiClock:
    """One ``step()`` sends the pulses due; ``stop()`` ends them.

    Parameters
    ----------
    latency_s: sent earlier by this, as the notes are.
    """

    def __init__(self, bars: RingReader, out: RealTimeOut, clock: Clock, latency_s: float) -> None:
        self._bars = bars
        self._out = out
        self._clock = clock
        self._latency_s = latency_s
        self._bar = np.zeros((), BAR_DTYPE)
        self._ahead: deque[Beat] = deque()
        self._n_done = 0
        self._is_started = False
        self._stop_s = math.inf
        self.n_pulses = 0
        self.n_skipped = 0

    def step(self, is_silent: bool = False) -> None:
        """Take new bars in and send the messages that are due; ``is_silent`` stops the receiver until it no
        longer is."""
        while self._bars.read(self._bar):
            bar = self._bar
            pulse_s = float(bar["beat_s"]) / PULSES_PER_BEAT
            start_s, is_line = float(bar["start_s"]) - self._latency_s, int(bar["beat"]) == 0
            if self._is_started or self._ahead or is_line:
                self._ahead.append(Beat(start_s, pulse_s, is_line))
        now_s = self._clock.now_s()
        if is_silent:
            # A sequencer that follows our pulses would play on; it starts again with a whole bar.
            self.stop()
            while self._ahead and self._ahead[0].start_s <= now_s + START_AHEAD_S:
                self._ahead.popleft()
            self._pass_to_line()
            return
        while (due_s := self.next_due_s()) <= now_s:
            if not self._ahead:
                self.stop()
            elif now_s - due_s > STALE_S:
                self.n_skipped += PULSES_PER_BEAT - self._n_done
                self._next_beat()
                self.n_skipped += PULSES_PER_BEAT * self._pass_to_line()
                self.stop()
            elif not self._is_started:
                self._is_started = True
                self._out.send_realtime(START)
            else:
                self._out.send_realtime(TIMING_CLOCK)
                self.n_pulses += 1
                self._n_done += 1
                if self._n_done == PULSES_PER_BEAT:
                    self._stop_s = due_s + STOP_AFTER_S
                    self._next_beat()

    def next_due_s(self) -> float:
        """When something must be sent next; infinity when nothing waits."""
        if not self._ahead:
            return self._stop_s
        bar = self._ahead[0]
        return bar.start_s + self._n_done * bar.pulse_s if self._is_started else bar.start_s - START_AHEAD_S

    def stop(self) -> None:
        """Tell the receiver to stop, where it runs; the next bar starts it again."""
        self._stop_s = math.inf
        if self._n_done:
            self._next_beat()
        self._pass_to_line()
        if self._is_started:
            self._is_started = False
            self._out.send_realtime(STOP)

    def _pass_to_line(self) -> int:
        """Leave out the beats before the next bar line: how many."""
        n_before = len(self._ahead)
        while self._ahead and not self._ahead[0].is_line:
            self._ahead.popleft()
        return n_before - len(self._ahead)

    def _next_beat(self) -> None:
        self._ahead.popleft()
        self._n_done = 0


class NoteStage(Protocol):
    """What plays notes at their times: ``MidiStage``, or with a clock ``ClockedMidi``."""

    counters: NDArray[Any]

    @property
    def is_silent(self) -> bool:
        """Whether nothing may sound, as of the last step."""

    def step(self) -> None:
        """Send what is due."""

    def next_due_s(self) -> float:
        """When something must be sent next."""

    def release_all(self, now_s: float) -> None:
        """Release what sounds."""


class ClockedMidi:
    """The notes' stage and the clock as one."""

    def __init__(self, notes: NoteStage, ticker: MidiClock) -> None:
        self.counters = notes.counters
        self._notes = notes
        self._ticker = ticker

    @property
    def is_silent(self) -> bool:
        """Whether nothing may sound, as of the last step."""
        return self._notes.is_silent

    def step(self) -> None:
        """Notes first: an ear hears them, a machine follows the pulses."""
        counters, ticker = self.counters, self._ticker
        self._notes.step()
        ticker.step(self._notes.is_silent)
        # Published with the notes' own at the next step.
        counters["n_pulses"], counters["n_pulses_skipped"] = ticker.n_pulses, ticker.n_skipped

    def next_due_s(self) -> float:
        """When something must be sent next."""
        return min(self._notes.next_due_s(), self._ticker.next_due_s())

    def release_all(self, now_s: float) -> None:
        """Release what sounds, and stop the clock."""
        self._notes.release_all(now_s)
        self._ticker.stop()
