"""Part of ``control``: MIDI clock at the inputs becomes a beat on the board, for the composer.

The first port whose clock runs is followed until it stops or is gone.
"""

from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np

from firmware_py.board.channels import CellWriter
from firmware_py.board.map import CLOCK_DTYPE
from firmware_py.ports import Clock
from firmware_py.ports.midi import CONTINUE, SONG_POSITION, START, STOP, TIMING_CLOCK
from kelly_edge.rhythm.midi_clock import N_BEATS, ClockFollower

POSITION_BYTES: Final = 3
"""MIDI 1.0: a status and two data bytes."""


class Ticks(Protocol):
    """Where MIDI clock is heard."""

    def ticks(self) -> Iterator[tuple[str, bytes, float]]:
        """The messages of MIDI clock since the last call: port, message, and seconds since it came."""


class ClockInStage:
    """One ``step()`` takes in what came, and puts the beat on the board."""

    def __init__(self, inputs: Ticks, cell: CellWriter, clock: Clock) -> None:
        self._inputs = inputs
        self._cell = cell
        self._clock = clock
        self._followers: dict[str, ClockFollower] = {}
        self._followed = ""
        self._record = np.zeros((), CLOCK_DTYPE)

    def step(self) -> None:
        """One turn."""
        now_s = self._clock.now_s()
        for port, message, age_s in self._inputs.ticks():
            self._take(self._followers.setdefault(port, ClockFollower()), message, now_s - age_s)
        beats = {port: follower.beat(now_s) for port, follower in self._followers.items()}
        if beats.get(self._followed) is None:
            self._followed = next((port for port, beat in beats.items() if beat is not None), "")
        record, beat = self._record, beats.get(self._followed)
        record["is_running"] = beat is not None
        if beat is not None:
            record["line_s"], record["beat_s"], record["n_beats"] = beat.line_s, beat.beat_s, N_BEATS
            record["pulse_s"] = beat.pulse_s
        self._cell.write(record)

    @staticmethod
    def _take(follower: ClockFollower, message: bytes, time_s: float) -> None:
        status = message[0]
        if status == TIMING_CLOCK:
            follower.pulse(time_s)
        elif status == START:
            follower.start()
        elif status == CONTINUE:
            follower.go_on()
        elif status == STOP:
            follower.stop()
        elif status == SONG_POSITION and len(message) == POSITION_BYTES:
            follower.locate(message[1] | message[2] << 7)
