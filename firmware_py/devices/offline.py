"""Devices of the offline and test wirings: a recording as the sound card, lists as the rest."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import NOTE_DTYPE


class RecordingCard:
    """Captures from ``samples`` (float32 [n], 48 kHz), then silence; keeps what is played."""

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

    def notes(self) -> NDArray[Any]:
        """The note-ons and -offs paired: NOTE_DTYPE [n] in order of onset."""
        sounding: dict[tuple[int, int], tuple[float, int]] = {}
        rows = []
        for due_s, status, pitch, velocity in self.messages:
            key = (status & 0x0F, pitch)
            if status & 0xF0 == 0x90:
                sounding[key] = (due_s, velocity)
            elif status & 0xF0 == 0x80 and key in sounding:
                onset_s, struck = sounding.pop(key)
                rows.append((onset_s, onset_s, due_s - onset_s, pitch, struck, key[0], 0, 0))
        rows.sort()
        return np.array(rows, NOTE_DTYPE)


@dataclass
class ListJournal:
    """Keeps the entries in a list."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        self.entries.append(entry)
