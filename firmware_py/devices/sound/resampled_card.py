"""A sound card at another rate than the instrument's, as a ``SoundCard`` at the instrument's.

Each period the card gives is resampled and handed on in blocks; the answer is resampled back and
played a period at a time, one for each that was captured. A period of silence at the beginning is all it
takes, for good, to have one ready: the delay is the same in every run (``kelly_edge.latency``).
"""

import time
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.signal.resampling import Resampler

SPACING: Final = 0.75
"""A card's period may hold two blocks' worth: the second one is held back by this share of a block, so
that ``dsp`` has time to answer the first. Chosen by hand: a quarter of a block remains
(docs/decisions/0004)."""


class Card(Protocol):
    """A card at its own rate."""

    @property
    def is_there(self) -> bool:
        """As of ``SoundCard``."""

    @property
    def n_capture_xruns(self) -> int:
        """Number of times that captured sound was lost."""

    @property
    def n_playback_xruns(self) -> int:
        """Times that there was nothing to play."""

    def wait(self) -> None:
        """Until the next period is there."""

    def read(self, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with the period."""

    def write(self, block: NDArray[np.float32]) -> None:
        """Play a period."""

    def close(self) -> None:
        """Let go of the card."""


class Queue:
    """Samples in a row, up to ``capacity``."""

    def __init__(self, capacity: int) -> None:
        self._samples = np.zeros(capacity, np.float32)
        self.n_held = 0

    def put(self, samples: NDArray[np.float32]) -> None:
        """Append."""
        self._samples[self.n_held : self.n_held + len(samples)] = samples
        self.n_held += len(samples)

    def take(self, out: NDArray[np.float32]) -> None:
        """Fill ``out`` with the oldest."""
        n, held = len(out), self._samples
        out[:] = held[:n]
        held[: self.n_held - n] = held[n : self.n_held]
        self.n_held -= n


class ResampledCard:
    """``card`` at ``rate_hz`` in periods of ``period`` frames, as blocks of ``period`` samples at 48 kHz."""

    def __init__(self, card: Card, rate_hz: int, period: int) -> None:
        self._card = card
        self._period = period
        self._spacing_s = SPACING * period / SAMPLE_RATE_HZ
        self._up = Resampler(rate_hz, SAMPLE_RATE_HZ, period)
        self._down = Resampler(SAMPLE_RATE_HZ, rate_hz, period)
        self._heard = Queue(4 * period)
        self._to_play = Queue(4 * period)
        self._frames = np.zeros(period, np.float32)
        self._to_play.put(self._frames)
        self._owes_a_period = False
        self._is_ready = False
        self._handed_s = 0.0

    @property
    def is_there(self) -> bool:
        """Whether the card is."""
        return self._card.is_there

    @property
    def n_capture_xruns(self) -> int:
        """The card's."""
        return self._card.n_capture_xruns

    @property
    def n_playback_xruns(self) -> int:
        """The card's."""
        return self._card.n_playback_xruns

    def wait(self) -> None:
        """Until the next block is there."""
        card, frames = self._card, self._frames
        while self._heard.n_held < self._period:
            card.wait()
            card.read(frames)
            self._owes_a_period = True
            self._heard.put(self._up.process(frames))
        early_s = self._handed_s + self._spacing_s - time.monotonic()
        if early_s > 0.0:
            time.sleep(early_s)
        self._handed_s = time.monotonic()
        self._is_ready = True

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        if not self._is_ready:
            self.wait()
        self._is_ready = False
        self._heard.take(out)

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        self._to_play.put(self._down.process(block))
        if self._owes_a_period and self._to_play.n_held >= self._period:
            self._owes_a_period = False
            self._to_play.take(self._frames)
            self._card.write(self._frames)

    def close(self) -> None:
        """Let go of the card."""
        self._card.close()
