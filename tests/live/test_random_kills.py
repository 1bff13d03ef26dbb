"""A thousand times ``midi`` dies or stands still at a random moment: no note is left to its receiver."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.board.channels import Cell
from firmware_py.board.map import SOUNDING_DTYPE, Board, memory_board
from firmware_py.devices.midi.outputs import MidiPorts
from firmware_py.devices.midi.watched import WatchedMidi
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.midi import MidiStage
from firmware_py.wiring.guardian import silence_outputs
from kelly_edge.contract import KNOBS_DTYPE, NOTE_DTYPE

N_TRIALS = 1_000
N_STOPS = 300
STEP_S = 0.005
LONGEST_S = 3.0


class Killed(BaseException):
    """SIGKILL, in a process that goes on to test what is left."""


class Fuse:
    """Burns after so many acts that another process can see."""

    def __init__(self, n_acts: int) -> None:
        self.n_left = n_acts

    def act(self) -> None:
        self.n_left -= 1
        if self.n_left < 0:
            raise Killed


class FusedCell:
    """A cell whose writer may die before it wrote, or after."""

    def __init__(self, cell: Cell, fuse: Fuse) -> None:
        self._cell, self._fuse = cell, fuse

    def write(self, record: np.ndarray) -> None:
        self._fuse.act()
        self._cell.write(record)

    def read(self, out: np.ndarray) -> bool:
        return self._cell.read(out)


class Instrument:
    """The receiver at the end of the pipe: what sounds in it, by what was read so far."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.output = f"raw:{path}"
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._data = b""
        self.sounding: set[tuple[int, int]] = set()
        self.n_note_ons = 0

    def listen(self) -> None:
        try:
            while data := os.read(self._fd, 4_096):
                self._data += data
        except BlockingIOError:
            pass
        while len(self._data) >= 3:
            status, pitch = self._data[0], self._data[1]
            self._data = self._data[3:]
            key = (status & 0x0F, pitch)
            if status & 0xF0 == 0x90:
                self.sounding.add(key)
                self.n_note_ons += 1
            elif status & 0xF0 == 0x80:
                self.sounding.discard(key)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def instrument(tmp_path: Path) -> Iterator[Instrument]:
    one = Instrument(tmp_path / "midi")
    yield one
    one.close()


def send_notes(board: Board, chance: random.Random) -> None:
    note = np.zeros((), NOTE_DTYPE)
    for _ in range(chance.randrange(1, 40)):
        note["onset_s"] = note["due_s"] = chance.uniform(0.0, LONGEST_S)
        note["duration_s"] = chance.uniform(0.02, 2.0)
        # Few pitches: many are struck while they sound.
        note["pitch"], note["velocity"] = chance.randrange(60, 66), 80
        note["channel"] = chance.randrange(2)
        board.rings["notes"].write(note)


class Trial:
    """One life of ``midi`` with its real stage, outputs and cell."""

    def __init__(self, instrument: Instrument, chance: random.Random, fuse: Fuse, patch: Any) -> None:
        self.board, self.clock = memory_board(), VirtualClock()
        send_notes(self.board, chance)
        self.ports = MidiPorts((instrument.output,), lambda text: None)
        cell = FusedCell(self.board.cells["sounding"], fuse)
        self.out = WatchedMidi(self.ports, cell, self.clock, np.zeros((), SOUNDING_DTYPE))
        self.stage = MidiStage(self.board.ends("midi"), self.out, self.clock)
        self._instrument, self._chance, self._patch, self._fuse = instrument, chance, patch, fuse

    def play(self, receives: bool) -> None:
        """Until the music ends or the fuse burns; a receiver that does not listen lets everything wait."""
        write = os.write

        def fused_write(fd: int, data: bytes) -> int:
            self._fuse.act()
            if not receives and self._chance.random() < 0.5:
                raise BlockingIOError
            return write(fd, data)

        with self._patch.context() as patch:
            patch.setattr("firmware_py.devices.midi.outputs.os.write", fused_write)
            while self.clock.time_s < LONGEST_S + 2.5:
                self.clock.time_s += STEP_S * self._chance.choice((1, 1, 1, 1, 30))
                self.stage.step()
                self.ports.flush()
                self.out.settle()


@pytest.mark.parametrize("receives", [True, False])
def test_no_note_is_left_when_midi_is_killed_anywhere(
    instrument: Instrument, monkeypatch: pytest.MonkeyPatch, receives: bool
) -> None:
    n_killed = n_with_notes = 0
    for seed in range(N_TRIALS // 2):
        chance = random.Random(2 * seed + receives)
        trial = Trial(instrument, chance, Fuse(chance.randrange(2, 80)), monkeypatch)
        try:
            trial.play(receives)
        except Killed:
            n_killed += 1
        trial.ports.close()  # The kernel's part of a kill.
        instrument.listen()
        n_with_notes += bool(instrument.sounding)
        silence_outputs(trial.board.ends("guardian"), (instrument.output,), lambda text: None)
        instrument.listen()
        assert not instrument.sounding, f"trial {seed}"
    print(f"{n_killed} of {N_TRIALS // 2} were killed, {n_with_notes} with notes sounding")
    assert n_killed > N_TRIALS // 4
    assert n_with_notes > N_TRIALS // 8


def test_no_note_is_left_when_the_guardian_steps_in_and_midi_goes_on(
    instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP and SIGCONT: two writers to one instrument, and the first does not know of the second."""
    n_stopped = 0
    for seed in range(N_STOPS):
        chance = random.Random(seed)
        trial = Trial(instrument, chance, Fuse(1 << 30), monkeypatch)
        stop_s, gone_s = chance.uniform(0.0, LONGEST_S), chance.uniform(0.1, 2.0)
        panic_s = chance.uniform(0.0, 2 * LONGEST_S)
        while trial.clock.time_s < LONGEST_S + 2.5:
            if stop_s < trial.clock.time_s:
                stop_s = LONGEST_S + 9.0
                silence_outputs(trial.board.ends("guardian"), (instrument.output,), lambda text: None)
                instrument.listen()
                assert not instrument.sounding, f"trial {seed}: the guardian left notes"
                n_stopped += 1
                trial.clock.time_s += gone_s
            if panic_s < trial.clock.time_s:
                panic_s = 99.0
                knobs = np.zeros((), KNOBS_DTYPE)
                knobs["n_panics"] = 1
                trial.board.cells["knobs"].write(knobs)
            trial.clock.time_s += STEP_S
            trial.stage.step()
            trial.out.settle()
        trial.ports.close()
        instrument.listen()
        assert not instrument.sounding, f"trial {seed}"
    assert n_stopped > 0.9 * N_STOPS
