"""Part of ``control``: the beat of an Ableton Link session goes onto the board, for the composer.

It goes where MIDI clock heard goes (``clock_in``), and is followed alike. While nobody else is in the session
the box plays by ear, and offers the session its own tempo, so that whoever joins begins at it.
"""

from typing import Final, Protocol

import numpy as np

from firmware_py.board.map import CLOCK_DTYPE, TARGET_DTYPE, Ends
from firmware_py.ports import Clock
from kelly_edge.rhythm.midi_clock import N_BEATS

ANOTHER_BPM: Final = 0.5
"""A tempo this far from the last one is offered anew. Chosen: nobody hears less."""


class Session(Protocol):
    """Where Link's beat is known."""

    def beat(self) -> tuple[float, float] | None:
        """Beats since the bar line, now, and seconds from beat to beat; None where nobody else is there."""

    def propose(self, bpm: float) -> None:
        """The tempo of whoever joins us."""


class LinkStage:
    """One ``step()`` puts the session's beat on the board."""

    def __init__(self, session: Session, ends: Ends, clock: Clock) -> None:
        self._session = session
        self._cell = ends.cell_to_write("clock")
        self._target_cell = ends.cell_to_read("target")
        self._clock = clock
        self._record = np.zeros((), CLOCK_DTYPE)
        self._target = np.zeros((), TARGET_DTYPE)
        self._proposed_bpm = 0.0

    def step(self) -> None:
        """One turn."""
        beat, record = self._session.beat(), self._record
        record["is_running"] = beat is not None
        if beat is None:
            self._propose()
        else:
            now_s = self._clock.now_s()
            since_line, beat_s = beat
            record["line_s"], record["beat_s"], record["n_beats"] = (
                now_s - since_line * beat_s,
                beat_s,
                N_BEATS,
            )
            record["pulse_s"] = now_s
        self._cell.write(record)

    def _propose(self) -> None:
        if not self._target_cell.read(self._target):
            return
        bpm = float(self._target["played_tempo_bpm"])
        if bpm > 0.0 and abs(bpm - self._proposed_bpm) >= ANOTHER_BPM:
            self._proposed_bpm = bpm
            self._session.propose(bpm)
