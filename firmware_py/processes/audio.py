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
        self.counters = new_counters("audio")
        # dsp needs a whole hop before it answers: start with that much silence in the ring.
        for _ in range(HOP_SIZE // period):
            self._playback.write(self._block)

    def step(self) -> None:
        """One period; waits in the card's read, nowhere else."""
        block, counters = self._block, self.counters
        self._card.read(block)
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
