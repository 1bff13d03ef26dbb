"""``midi``: notes on absolute deadlines. Knows every sounding note and leaves none hanging.

A note-on more than ``STALE_S`` late is dropped and counted with its note-off; the note-off of a
sounding note is never dropped. A pitch struck again is released first.
"""

import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board import Board
from firmware_py.devices.ports import Clock, MidiOut
from firmware_py.telemetry import new_counters
from kelly_edge.contract import KNOBS_DTYPE, NOTE_DTYPE

STALE_S = 0.1
LATE_S = 0.01
"""From here on a note sent counts as late."""
NOTE_OFF, NOTE_ON, CONTROL_CHANGE = 0x80, 0x90, 0xB0
ALL_NOTES_OFF = 123


class MidiStage:
    """One ``step()`` sends what is due."""

    def __init__(self, board: Board, out: MidiOut, clock: Clock) -> None:
        self._notes = board.rings["notes"]
        self._played = board.rings["played"]
        self._knobs_cell = board.cells["knobs"]
        self._telemetry = board.cells["telemetry_midi"]
        self._out = out
        self._clock = clock
        self._note = np.zeros((), NOTE_DTYPE)
        self._knobs = np.zeros((), KNOBS_DTYPE)
        self._due: list[tuple[float, int, NDArray[Any]]] = []
        self._sounding: dict[tuple[int, int], float] = {}
        self._n_received = 0
        self.counters = new_counters("midi")

    def step(self) -> None:
        """Take new notes in, then send note-offs and note-ons up to now, in order of their times."""
        now_s = self._clock.now_s()
        while self._notes.read(self._note):
            # The count breaks ties, so that notes of one chord keep their order.
            heapq.heappush(self._due, (float(self._note["due_s"]), self._n_received, self._note.copy()))
            self._n_received += 1
        if self._knobs_cell.read(self._knobs) and self._knobs["n_panics"] != self.counters["n_panics"]:
            self.counters["n_panics"] = self._knobs["n_panics"]
            self._due.clear()
            self.release_all(now_s)
        while self._due and self._due[0][0] <= now_s:
            due_s, _, note = heapq.heappop(self._due)
            self._release_until(due_s)
            self._strike(note, now_s)
        self._release_until(now_s)
        self._telemetry.write(self.counters)

    def next_due_s(self) -> float:
        """When something must be sent next, as far as is known; infinity when nothing waits."""
        due_s = self._due[0][0] if self._due else math.inf
        return min(due_s, min(self._sounding.values(), default=math.inf))

    def release_all(self, now_s: float) -> None:
        """Release exactly the sounding notes, then All Notes Off on every channel that was used."""
        channels = sorted({channel for channel, _ in self._sounding})
        for key in sorted(self._sounding):
            self._release(key, min(now_s, self._sounding[key]))
        for channel in channels:
            self._out.send(now_s, CONTROL_CHANGE | channel, ALL_NOTES_OFF, 0)
        self._telemetry.write(self.counters)

    def _strike(self, note: NDArray[Any], now_s: float) -> None:
        due_s, key = float(note["due_s"]), (int(note["channel"]), int(note["pitch"]))
        if now_s - due_s > STALE_S:
            self.counters["n_stale"] += 1
            return
        self.counters["n_late"] += now_s - due_s > LATE_S
        if key in self._sounding:
            self._release(key, due_s)
        self._out.send(due_s, NOTE_ON | key[0], key[1], int(note["velocity"]))
        self._sounding[key] = due_s + float(note["duration_s"])
        self.counters["n_note_ons"] += 1
        self._played.write(note)

    def _release_until(self, time_s: float) -> None:
        ended = sorted((end, key) for key, end in self._sounding.items() if end <= time_s)
        for end_s, key in ended:
            self._release(key, end_s)

    def _release(self, key: tuple[int, int], due_s: float) -> None:
        self._out.send(due_s, NOTE_OFF | key[0], key[1], 0)
        del self._sounding[key]
        self.counters["n_note_offs"] += 1
