"""A real MIDI keyboard at the inputs: its notes reach the board at once, and it may be unplugged."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import PATIENCE_S, wait_until

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.board.map import memory_board  # noqa: E402
from firmware_py.devices.files.clock import StreamClock  # noqa: E402
from firmware_py.devices.midi.inputs import MidiInputs  # noqa: E402
from firmware_py.processes.keyboard import Keyboard  # noqa: E402
from firmware_py.rehearsal.server import DummyServer  # noqa: E402
from kelly_edge.contract import KEY_DTYPE  # noqa: E402


class Ears:
    """Who listens to the keyboards at the inputs; nobody steps it."""

    def __init__(self, pattern: str) -> None:
        self.board, self.told = memory_board(), list[str]()
        keyboard = Keyboard(self.board.ends("control"), StreamClock(0.0))
        self.inputs = MidiInputs((pattern,), self.told.append, keys=keyboard)
        self._key: Any = np.zeros((), KEY_DTYPE)
        self.rows: list[tuple[int, int]] = []
        self.times_s: list[float] = []
        self.wait_for(1)
        self.rows.clear()

    def wait_for(self, n: int) -> None:
        def came() -> bool:
            while self.board.rings["keys"].read(self._key):
                self.rows.append((int(self._key["pitch"]), int(self._key["velocity"])))
                self.times_s.append(float(self._key["time_s"]))
            return len(self.rows) >= n

        wait_until(came, PATIENCE_S)


def test_a_keyboard_is_heard_at_once_and_unplugged_it_lets_go_of_every_key(server: DummyServer) -> None:
    if rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api():
        pytest.skip("this python-rtmidi has no JACK")
    ears = Ears("jack:*keys*")
    keyboard = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, "keys")
    keyboard.open_virtual_port("out")
    wait_until(lambda: bool(ears.inputs.scan() or ears.inputs.names), PATIENCE_S)
    before_s = time.monotonic()

    def play_until_heard(key: tuple[int, int], *messages: list[int]) -> None:
        """JACK may lose what is sent before both ends are connected, or while a busy machine catches up."""

        def is_heard() -> bool:
            for message in messages:
                keyboard.send_message(message)
            time.sleep(0.05)
            ears.inputs.scan()
            ears.wait_for(0)
            return key in ears.rows

        wait_until(is_heard, PATIENCE_S)

    play_until_heard((60, 80), [0x90, 60, 80])
    play_until_heard((64, 70), [0xB0, 64, 127], [0x90, 64, 70], [0x80, 60, 0], [0x90, 67, 0])
    assert (60, 0) not in ears.rows
    assert before_s < ears.times_s[-1] <= time.monotonic()
    told, ears.rows = list(ears.told), []
    keyboard.close_port()
    keyboard.delete()
    ears.inputs.scan()
    ears.wait_for(2)
    assert ears.rows == [(60, 0), (64, 0)]
    assert len(ears.told) == len(told) + 1 and "is gone" in ears.told[-1]
    ears.inputs.close()


def test_a_raw_keyboard_has_a_thread_of_its_own(tmp_path: Path) -> None:
    pipe = tmp_path / "midi"
    os.mkfifo(pipe)
    ears = Ears(f"raw:{pipe}")
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    # Running status; controllers hear it too, in their time.
    os.write(fd, bytes((0x90, 60, 80, 64, 70, 0xF8, 60, 0)))
    ears.wait_for(3)
    assert ears.rows == [(60, 80), (64, 70), (60, 0)]
    assert len(list(ears.inputs.receive())) == 3
    os.close(fd)
    ears.inputs.close()
