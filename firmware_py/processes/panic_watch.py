"""Part of ``audio`` and ``midi``: obey the ``panic`` cell, which ``guardian`` writes (``panic``)."""

from typing import Final

import numpy as np

from firmware_py.board.channels import CellReader
from firmware_py.board.map import PANIC_DTYPE

GUARDIAN_STALLED_S: Final = 0.2
"""After this time without a sign of life the guardian counts as hung; its steps are 10 ms apart. Chosen: a
panic must silence within 0.25 s in all (docs/decisions/0013)."""


class PanicWatch:
    """What the ``panic`` cell asks of a process that sounds."""

    def __init__(self, cell: CellReader) -> None:
        self._cell = cell
        self._record = np.zeros((), PANIC_DTYPE)
        self._n_beats = 0
        self._beat_s = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it is a panic, as of the last look."""
        return bool(self._record["is_on"])

    def is_silent(self, now_s: float) -> bool:
        """Whether nothing may sound at ``now_s``, seconds of any steady clock of the caller's.

        Before any guardian began there is nobody to obey.
        """
        record = self._record
        self._cell.read(record)
        n_beats = int(record["n_beats"])
        if n_beats != self._n_beats:
            self._n_beats, self._beat_s = n_beats, now_s
        return bool(record["is_on"]) or (n_beats > 0 and now_s - self._beat_s > GUARDIAN_STALLED_S)
