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

IDLE_HOPS = 4


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
        self._n_idle = 0
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
        self._forgive_lost_blocks()
        self._capture.write(block)
        while self._n_owed and self._playback.read(block):
            self._n_owed -= 1
            counters["n_discarded_blocks"] += 1
        if not self._playback.read(block):
            block[:] = 0.0
            self._n_owed += 1
            counters["n_late_blocks"] += 1
        self._limiter.process(block)
        self._card.write(block)
        counters["n_periods"] += 1
        counters["n_capture_xruns"] = self._card.n_capture_xruns
        counters["n_playback_xruns"] = self._card.n_playback_xruns
        self._telemetry.write(counters)

    def _forgive_lost_blocks(self) -> None:
        """What a killed dsp had taken, or a full ring refused, is never answered: owe it no longer.

        Seen by a capture ring that was empty for some hops while blocks were still owed.
        """
        self._n_idle = 0 if self._n_owed == 0 or self._capture.n_waiting() else self._n_idle + 1
        if self._n_idle > IDLE_HOPS * self._periods_per_hop:
            self._n_owed = 0
            self._n_idle = 0
