"""``audio``: the card's periods to and from the rings. Imports numpy and the limiter, no model code.

Sound goes on when anything else dies: an empty playback ring plays silence, and as many late blocks
are discarded when they come, so that time stays aligned (as in anira). Nothing needs to be remembered for
that: the blocks in both rings together are those the path to dsp and back holds, and more than a hop and the
newest period is late. Until dsp gives its first answer nothing counts as late or lost.

A panic fades what leaves the box, behind the limiter: whatever dsp does, it is silent within ``FADE_S``.
"""

import numpy as np

from firmware_py.board.map import Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.ports import SoundCard
from firmware_py.processes.panic_watch import PanicWatch
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.fade import Fade
from kelly_edge.signal.limiter import Limiter


class AudioStage:
    """One ``step()`` a period: capture → ring; ring → limiter → fade → card."""

    def __init__(self, ends: Ends, card: SoundCard, limiter: Limiter, period: int) -> None:
        self._ends = ends
        self._capture = ends.ring_to_write("capture")
        self._playback = ends.ring_to_read("playback")
        self._telemetry = ends.cell_to_write("telemetry_audio")
        self._card = card
        self._limiter = limiter
        self._panic = PanicWatch(ends.cell_to_read("panic"))
        # One that is started again during a panic lets nothing out.
        self._fade = Fade(is_closed=self._panic.is_silent(0.0))
        self._period_s = period / SAMPLE_RATE_HZ
        self._block = np.zeros(period, np.float32)
        self.counters = new_counters("audio")
        # What an audio process before this one left there is late.
        while self._playback.read(self._block):
            continue
        self._block[:] = 0.0
        # dsp needs a whole hop before it answers: start with that much silence in the ring.
        self._n_silent = HOP_SIZE // period
        self._n_held = HOP_SIZE // period + 1
        primed = ends.ring_to_write("playback")
        for _ in range(self._n_silent):
            primed.write(self._block)
        self._is_answered = False

    def step(self) -> None:
        """One period; waits in the card's read, nowhere else."""
        block, counters = self._block, self.counters
        self._card.read(block)
        self._capture.write(block)
        if not self._is_answered:
            # What dsp was not there to take is not lost.
            self._capture.n_dropped = 0
        n_late = self._capture.n_waiting() + self._playback.n_waiting() - self._n_held
        while n_late > 0 and self._playback.read(block):
            n_late -= 1
            counters["n_discarded_blocks"] += 1
        if self._playback.read(block):
            self._is_answered = self._is_answered or self._n_silent == 0
            self._n_silent = max(0, self._n_silent - 1)
        else:
            block[:] = 0.0
            counters["n_late_blocks"] += self._is_answered
        self._limiter.process(block)
        counters["n_periods"] += 1
        self._fade.process(block, self._panic.is_silent(int(counters["n_periods"]) * self._period_s))
        self._card.write(block)
        counters["n_absent_periods"] += not self._card.is_there
        counters["n_capture_xruns"] = self._card.n_capture_xruns
        counters["n_playback_xruns"] = self._card.n_playback_xruns
        self._ends.count_drops(counters)
        self._telemetry.write(counters)
