"""A box of control and guardian alone, in a real run directory: it steps beside a test, and answers."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from firmware_py.board.map import CELLS, file_board
from firmware_py.board.telemetry import Times
from firmware_py.commands.page.wires import Wires
from firmware_py.devices.files.clock import shared_clock
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.run_dir import make_run_dir
from firmware_py.processes.panic import PanicStage
from firmware_py.wiring.control import open_control

OWN = ("session.begin=hand", "panel.chip=none", "midi.inputs=[]")


class SmallBox:
    """``control`` and ``guardian`` of a box, and a player who is heard."""

    def __init__(self, folder: Path) -> None:
        self.run_dir, self.state = folder / "run", folder / "state"
        places = (f"runtime.run_dir={self.run_dir}", f"runtime.state_dir={self.state}")
        self.words = [*places, *OWN]
        self.settings = load_settings(None, self.words)
        self.wires = Wires(None, self.words, self.settings)
        make_run_dir(str(self.run_dir))
        self.clock = shared_clock(self.run_dir)
        self.board = file_board(self.run_dir, self.settings.audio.period)
        self._parts = open_control(self.settings, self.board.ends("control"), self.clock)
        self._guardian = PanicStage(self.board.ends("guardian"), self.clock)
        self._heard = np.zeros((), CELLS["heard"].dtype)
        self._heard["valence"], self._heard["arousal"], self._heard["confidence"] = -0.25, 0.5, 0.75
        self._target = np.zeros((), CELLS["target"].dtype)
        self._times = Times(0.1)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._heard["time_s"] = self.clock.now_s()
            self._heard["group"] = int(self._heard["group"]) + 1
            self.board.cells["heard"].write(self._heard)
            self.board.cells["target"].write(self._target)
            self._times.add(1e-3)
            self.board.cells["times_control"].write(self._times.record)
            self._parts.step()
            self._guardian.step()
            time.sleep(0.005)

    def read(self, name: str) -> Any:
        """A cell."""
        record = np.zeros((), CELLS[name].dtype)
        self.board.cells[name].read(record)
        return record

    def until(self, is_so: Any, within_s: float = 60.0) -> None:
        """Wait until it is so."""
        end_s = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < end_s, "not so in time"
            time.sleep(0.005)

    def close(self) -> None:
        """Done."""
        self._is_over.set()
        self._thread.join()
        self._parts.close()


def state_of(box: SmallBox) -> tuple[Any, ...]:
    """What a hand can change: knobs, session and panic."""
    knobs = {name: float(box.read("knobs")[name]) for name in CELLS["knobs"].dtype.names or ()}
    session = box.read("session")
    return knobs, bool(session["is_on"]), int(session["number"]), bool(box.read("panic")["is_on"])
