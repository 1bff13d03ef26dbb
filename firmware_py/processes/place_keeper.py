"""Part of ``control``: keeps what ``dsp`` learned of the place, for the next session."""

from collections.abc import Callable
from typing import Final

import numpy as np

from firmware_py.board.map import Ends
from firmware_py.ports import Clock
from kelly_edge.contract import HEARD_DTYPE
from kelly_edge.emotion.place import PlaceMemory
from kelly_edge.errors import OutputError

KEEP_EVERY_S: Final = 60.0
"""A power cut costs at most a minute of learning; a card is spared a write where nothing was learned. Chosen
for that reason."""
FORGOTTEN_MIN: Final = 1e-3
"""Minutes by which the memory falls only where somebody had it forgotten. Chosen by hand."""


class PlaceKeeper:
    """One ``step()`` stores the memory where it is time to and it has changed; ``close()`` stores it at once.

    Parameters
    ----------
    store: keeps a memory; raises ``OutputError`` where it cannot.
    before: the memory that is stored already.
    warn: told once that the memory cannot be stored.
    """

    def __init__(
        self,
        ends: Ends,
        store: Callable[[PlaceMemory], None],
        before: PlaceMemory,
        warn: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._cell = ends.cell_to_read("heard")
        self._store = store
        self._stored = before
        self._warn = warn
        self._clock = clock
        self._heard = np.zeros((), HEARD_DTYPE)
        self._due_s = clock.now_s() + KEEP_EVERY_S
        self._has_warned = False

    def step(self) -> None:
        """Look; store where it is time to. A place that was forgotten is forgotten on the card at once."""
        memory = self._memory()
        if memory is None:
            return
        now_s = self._clock.now_s()
        if now_s >= self._due_s or memory.minutes < self._stored.minutes - FORGOTTEN_MIN:
            self._due_s = now_s + KEEP_EVERY_S
            self._keep(memory)

    def close(self) -> None:
        """Store what was learned since."""
        memory = self._memory()
        if memory is not None:
            self._keep(memory)

    def _memory(self) -> PlaceMemory | None:
        if not self._cell.read(self._heard):
            return None
        memory = PlaceMemory(float(self._heard["place_minutes"]), float(self._heard["place_arousal"]))
        return memory if memory.is_sane else None

    def _keep(self, memory: PlaceMemory) -> None:
        if memory == self._stored:
            return
        try:
            self._store(memory)
            self._stored = memory
        except OutputError as error:
            if not self._has_warned:
                self._has_warned = True
                self._warn(f"what was learned of the place is not kept: {error}")
