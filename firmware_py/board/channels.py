"""Rings carry streams of records, cells hold the latest value: the only ways processes meet.

A ring has one reader, records of one dtype and shape, and a writer that never blocks: full means drop and
count. A cell holds the latest value for any number of readers. The ends of both are Protocols here; the
in-memory ones serve the offline and test wirings, where one loop steps every stage in turn, and those of
``pipes`` meet the same contract between processes.
"""

from collections import deque
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class RingWriter(Protocol):
    """The end of a ring where records go in."""

    n_dropped: int
    """Records that found the ring full; whoever writes may begin to count again."""

    def write(self, record: NDArray[Any]) -> bool:
        """Append a copy of ``record``; False (and counted) when the ring is full."""

    def n_waiting(self) -> int:
        """Records not yet read."""


class RingReader(Protocol):
    """The end of a ring where records come out."""

    def read(self, out: NDArray[Any]) -> bool:
        """Move the oldest record into ``out``; False when the ring is empty."""

    def n_waiting(self) -> int:
        """Records not yet read."""


class Ring(RingWriter, RingReader, Protocol):
    """A bounded queue of records, both ends of it."""


class CellWriter(Protocol):
    """The end of a cell that sets its value."""

    def write(self, record: NDArray[Any]) -> None:
        """Replace the value by a copy of ``record``."""


class CellReader(Protocol):
    """The end of a cell that looks at its value."""

    def read(self, out: NDArray[Any]) -> bool:
        """Copy the value into ``out``; False when nothing was ever written."""


class Cell(CellWriter, CellReader, Protocol):
    """The latest value of a record, both ends of it."""


class MemoryRing:
    """A ring within one process."""

    def __init__(self, capacity: int) -> None:
        self._records: deque[NDArray[Any]] = deque()
        self._capacity = capacity
        self.n_dropped = 0

    def write(self, record: NDArray[Any]) -> bool:
        """See ``Ring``."""
        if len(self._records) >= self._capacity:
            self.n_dropped += 1
            return False
        self._records.append(record.copy())
        return True

    def read(self, out: NDArray[Any]) -> bool:
        """See ``Ring``."""
        if not self._records:
            return False
        out[...] = self._records.popleft()
        return True

    def n_waiting(self) -> int:
        """See ``Ring``."""
        return len(self._records)


class MemoryCell:
    """A cell within one process."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._value = np.zeros((), dtype)
        self._written = False

    def write(self, record: NDArray[Any]) -> None:
        """See ``Cell``."""
        self._value[...] = record
        self._written = True

    def read(self, out: NDArray[Any]) -> bool:
        """See ``Cell``."""
        if self._written:
            out[...] = self._value
        return self._written
