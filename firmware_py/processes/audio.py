"""``audio``: the card's periods to and from the rings. Imports numpy and the limiter, no model code.

Sound goes on when anything else dies: an empty playback ring plays silence, and as many late blocks
are discarded when they come, so that time stays aligned (as in anira).
"""

import numpy as np

from firmware_py.board import Board
from firmware_py.devices.ports import SoundCard
from firmware_py.telemetry import new_counters
from kelly_edge.contract import HOP_SIZE
from kelly_edge.signal.limiter import Limiter

LATE_HOPS, ON_TIME_HOPS = 4, 32


class AudioStage:
    """One ``step()`` a period: capture → ring; ring → limiter → card."""

    def __init__(self, board: Board, card: SoundCard, limiter: Limiter, period: int) -> None:
        self._capture = board.rings["capture"]
        self._playback = board.rings["playback"]
        self._telemetry = board.cells["telemetry_audio"]
        self._card = card
        self._limiter = limiter
        self._block = np.zeros(period, np.float32)
        self._n_owed = 0
        self._n_late_in_a_row = 0
        self._n_on_time = 0
        self.counters = new_counters("audio")
        self._periods_per_hop = HOP_SIZE // period
        # What an audio process before this one left there is late.
        while self._playback.read(self._block):
            continue
        self._block[:] = 0.0
        # dsp needs a whole hop before it answers: start with that much silence in the ring.
        for _ in range(self._periods_per_hop):
            self._playback.write(self._block)

    def step(self) -> None:
        """One period; waits in the card's read, nowhere else."""
        block, counters = self._block, self.counters
        self._card.read(block)
        if self._capture.n_waiting() or self._n_on_time > ON_TIME_HOPS * self._periods_per_hop:
            self._n_late_in_a_row = 0
        self._capture.write(block)
        while self._n_owed and self._playback.read(block):
            self._n_owed -= 1
            counters["n_discarded_blocks"] += 1
        self._n_on_time += 1
        if not self._playback.read(block):
            block[:] = 0.0
            self._owe()
            counters["n_late_blocks"] += 1
        self._limiter.process(block)
        self._card.write(block)
        counters["n_periods"] += 1
        counters["n_capture_xruns"] = self._card.n_capture_xruns
        counters["n_playback_xruns"] = self._card.n_playback_xruns
        self._telemetry.write(counters)

    def _owe(self) -> None:
        """One more late block to discard when it comes.

        What a killed dsp had taken, or a full ring refused, never comes. Seen by blocks that go on being
        late while dsp takes all it is given: then start afresh, owing nothing.
        """
        self._n_owed += 1
        self._n_on_time = 0
        self._n_late_in_a_row += 1
        if self._n_late_in_a_row > LATE_HOPS * self._periods_per_hop:
            self._n_owed = self._n_late_in_a_row = 0
