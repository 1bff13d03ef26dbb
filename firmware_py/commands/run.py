"""``kelly-edge run``: the processes of the box as children of one that starts them again and cleans up.

On the box systemd does this. When the run directory is lost under them (``run_dir``) all are started again,
in a new one; what hands had set, and a panic, go on there.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.channels import CellReader
from firmware_py.board.map import CELLS, Board, file_board
from firmware_py.board.pipes import PipeRing
from firmware_py.board.telemetry import TIMES_DTYPE
from firmware_py.commands import page, wireless
from firmware_py.commands.common import settings_of
from firmware_py.devices.box_packages import need_packages
from firmware_py.devices.files.clock import shared_clock
from firmware_py.devices.files.run_dir import HeldRunDir, RunDirWatch
from firmware_py.devices.session.log import warn
from firmware_py.devices.session.store import sessions_folder
from firmware_py.settings import Settings
from firmware_py.wiring.live import BUILDERS, EXIT_LOST, SUPERVISOR
from firmware_py.wiring.loop import Stop
from firmware_py.wiring.realtime import hurry
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import EXIT_FAULT

# Chosen by hand: a dead process is noticed at once; whoever does not stop within three seconds hangs; a
# process that dies at each start is tried less and less often.
LOOK_EVERY_S: Final = 0.02
STOP_WITHIN_S: Final = 3.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 10.0
"""A process that ran for at least this time is started again at once. Chosen by hand."""
LIVE_MODULES: Final = ("rtmidi", "alsaaudio")
"""Packages of the extra ``box`` that every live box needs."""
BESIDE: Final = {"page": page.is_wanted, "wireless": wireless.is_wanted}
"""Processes where the settings ask for them; the box plays on without."""
KEPT: Final = ("knobs", "panic", "session")
"""Cells that are carried over into a new run directory."""


@dataclass
class Child:
    """A process of the box; ``popen`` is None between its death and its next start."""

    name: str
    popen: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    start_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Supervisor:
    """Runs the box until it is asked to stop.

    Parameters
    ----------
    command: name of a process and run directory to the command that runs it.
    """

    def __init__(self, settings: Settings, command: Callable[[str, str], Sequence[str]]) -> None:
        self._settings = settings
        self._command = command
        self._stop = Stop()
        self._children = [Child(name) for name in BUILDERS]
        self._children += [Child(name) for name, is_wanted in BESIDE.items() if is_wanted(settings)]
        self._exit_code = 0
        self._kept = {name: np.zeros((), CELLS[name].dtype) for name in KEPT}
        self._is_lost = False
        self._begun_s = time.monotonic()

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or a fault only a person can mend; returns the exit code.

        Raises
        ------
        OutputError: the run directory cannot be had.
        DeviceError: a package that every live box needs is not installed.
        """
        need_packages(LIVE_MODULES)
        if self._settings.midi.follow_link:
            need_packages(("link",), "link")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop.ask)
        hurry(os.getpid())
        while not self._stop.is_asked:
            self._run_in_a_folder()
        return self._exit_code

    def _run_in_a_folder(self) -> None:
        """Until it is asked to stop, or the run directory is lost."""
        self._begun_s, self._is_lost, is_ready = time.monotonic(), False, False
        held = HeldRunDir(self._settings.runtime.run_dir)
        self._run_dir = held.path
        try:
            board = self._lay_out(held)
            watch = RunDirWatch(held.path)
        except KellyError:
            held.close()
            raise
        try:
            while not self._stop.is_asked:
                for child in list(self._children):
                    self._look_after(child)
                if not is_ready and all_step(board.cells):
                    is_ready = True
                    self._tell_ready()
                if self._is_lost or not watch.is_whole():
                    warn(f"{held.path} was removed or replaced while the box ran; all of it starts again")
                    break
                time.sleep(LOOK_EVERY_S)
        finally:
            for child in reversed(self._children):
                self._end(child)
            watch.close()
            held.close()
        for name, record in self._kept.items():
            board.cells[name].read(record)
        # A session that goes on does so in a log of its own: the stream's time and the music begin anew.
        self._kept["session"]["log"] = b""

    def _lay_out(self, held: HeldRunDir) -> Board:
        """Clock, rings and cells, before anybody needs them: a fault with them is told once."""
        shared_clock(held.path)
        board = file_board(held.path, self._settings.audio.period)
        for ring in board.rings.values():
            if isinstance(ring, PipeRing):
                ring.close()
        for name, record in self._kept.items():
            if record != np.zeros((), record.dtype):
                board.cells[name].write(record)
        return board

    def _tell_ready(self) -> None:
        took_s = time.monotonic() - self._begun_s
        if self._settings.session.log:
            control = next(child for child in self._children if child.name == "control")
            folder = sessions_folder(os.environ, self._settings.runtime.state_dir)
            pid = control.popen.pid if control.popen is not None else 0
            log = next(folder.glob(f"*-{pid}-*.jsonl"), None)
            session = f"the session is in {log}" if log else f"sessions will be kept in {folder}"
        else:
            session = "the session is not kept (session.log=false)"
        warn(f"ready after {took_s:.1f} s: it listens and plays; {session}")

    def _look_after(self, child: Child) -> None:
        now_s = time.monotonic()
        if child.popen is None:
            if now_s >= child.start_s and not self._stop.is_asked:
                self._start(child, now_s)
        elif (code := child.popen.poll()) is not None:
            self._bury(child, code, now_s)

    def _start(self, child: Child, now_s: float) -> None:
        child.started_s = now_s
        child.popen = subprocess.Popen(
            self._command(child.name, str(self._run_dir)),
            stdin=subprocess.DEVNULL,
            env={**os.environ, SUPERVISOR: str(os.getpid())},
            # Ctrl-C at a terminal is ours to hand on, in order.
            start_new_session=True,
        )
        if child.name not in BESIDE:
            hurry(child.popen.pid)

    def _bury(self, child: Child, code: int, now_s: float) -> None:
        child.popen = None
        if code == EXIT_FAULT and child.name in BESIDE:
            # It said why on stderr.
            self._children.remove(child)
            return
        if code == EXIT_FAULT:
            # It said why on stderr; trying again would say it again.
            self._exit_code = EXIT_FAULT
            self._stop.ask()
            return
        if code == EXIT_LOST and child.name not in BESIDE:
            self._is_lost = True
            return
        child.pause_s = (
            FIRST_PAUSE_S if now_s - child.started_s > STEADY_S else min(2.0 * child.pause_s, LONGEST_PAUSE_S)
        )
        child.start_s = now_s + child.pause_s
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        warn(f"{child.name} ended ({how}); starting it again")

    def _end(self, child: Child) -> None:
        if child.popen is None:
            return
        child.popen.terminate()
        # A stopped process does not hear SIGTERM until it goes on.
        child.popen.send_signal(signal.SIGCONT)
        try:
            child.popen.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            warn(f"{child.name} does not stop; killed")
            child.popen.kill()
            child.popen.wait()
        child.popen = None


def all_step(cells: Mapping[str, CellReader]) -> bool:
    """Whether every process took a step, by the ``cells`` of its box: it is built and warm."""
    times: NDArray[Any] = np.zeros((), TIMES_DTYPE)
    return all(cells[f"times_{name}"].read(times) for name in BUILDERS)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    config = ["--config", str(args.config.resolve())] if args.config is not None else []
    given = [*config, *(f"--set={override}" for override in args.set)]

    def command(process: str, run_dir: str) -> list[str]:
        return [sys.executable, "-m", "firmware_py", process, *given, f"--set=runtime.run_dir={run_dir}"]

    return Supervisor(settings_of(args), command).run()
