"""Devices of the offline and test wirings: a recording as the sound card, lists as the rest."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware_py.ports.midi import CHANNEL, KIND, NOTE_OFF, NOTE_ON
from kelly_edge.contract import NOTE_DTYPE


class RecordingCard:
    """Captures from ``samples`` (float32 [n], 48 kHz), then silence; keeps the sound played."""

    def __init__(self, samples: NDArray[np.float32], n_periods: int, period: int) -> None:
        self.is_there = True
        self.n_capture_xruns = 0
        self.n_playback_xruns = 0
        self.played = np.zeros(n_periods * period, np.float32)
        self._samples = samples
        self._read = 0
        self._written = 0

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        part = self._samples[self._read : self._read + len(out)]
        out[: len(part)] = part
        out[len(part) :] = 0.0
        self._read += len(out)

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        self.played[self._written : self._written + len(block)] = block
        self._written += len(block)


class Sound(Protocol):
    """A sound that is given block by block: float32 mono at 48 kHz, ``n_samples`` in all."""

    @property
    def n_samples(self) -> int:
        """How many samples all blocks have."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """The blocks, of any length each."""


class StreamedCard:
    """Captures from ``blocks``, then silence; the sound played goes to ``play``. Holds one block of each."""

    def __init__(
        self, blocks: Iterator[NDArray[np.float32]], play: Callable[[NDArray[np.float32]], None]
    ) -> None:
        self.is_there = True
        self.n_capture_xruns = 0
        self.n_playback_xruns = 0
        self._blocks = blocks
        self._play = play
        self._block = np.zeros(0, np.float32)

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        n = 0
        while n < len(out):
            if not len(self._block):
                block = next(self._blocks, None)
                if block is None:
                    break
                self._block = block
            part = self._block[: len(out) - n]
            out[n : n + len(part)] = part
            n += len(part)
            self._block = self._block[len(part) :]
        out[n:] = 0.0

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        self._play(block)


@dataclass
class VirtualClock:
    """Time that passes only when the loop says so."""

    time_s: float = 0.0

    def now_s(self) -> float:
        """See ``Clock``."""
        return self.time_s


@dataclass
class RecordingMidi:
    """Keeps the messages sent, with their due times."""

    messages: list[tuple[float, int, int, int]] = field(default_factory=list)
    is_behind: bool = False

    def send(self, due_s: float, status: int, data1: int, data2: int) -> None:
        """See ``MidiOut``."""
        self.messages.append((due_s, status, data1, data2))

    def notes(self, latency_s: float = 0.0) -> NDArray[Any]:
        """The note-ons and -offs paired: NOTE_DTYPE [n] in order of onset.

        A note sounds ``latency_s`` after its message, on an instrument that answers so late.
        """
        sounding: dict[tuple[int, int], tuple[float, int]] = {}
        rows = []
        for due_s, status, pitch, velocity in self.messages:
            key = (status & CHANNEL, pitch)
            if status & KIND == NOTE_ON:
                sounding[key] = (due_s, velocity)
            elif status & KIND == NOTE_OFF and key in sounding:
                onset_s, struck = sounding.pop(key)
                rows.append((onset_s + latency_s, onset_s, due_s - onset_s, pitch, struck, key[0], 0, 0))
        rows.sort()
        return np.array(rows, NOTE_DTYPE)


@dataclass
class ListJournal:
    """Keeps the entries in a list."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        self.entries.append(entry)
