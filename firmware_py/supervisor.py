"""``kelly-edge run``: the processes of the box as children of one that starts them again and cleans up.

On the box systemd does this.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from firmware_py.devices.clock import shared_clock
from firmware_py.devices.run_dir import HeldRunDir
from firmware_py.devices.session_log import warn
from firmware_py.live import BUILDERS, SUPERVISOR
from firmware_py.loop import Stop
from firmware_py.realtime import hurry
from kelly_edge.config import Settings

LOOK_EVERY_S: Final = 0.02
STOP_WITHIN_S: Final = 3.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 10.0
"""A process that ran so long is started again at once."""
EXIT_FAULT: Final = 2


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
        self._exit_code = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or a fault only a person can mend; returns the exit code.

        Raises
        ------
        OutputError: the run directory cannot be had.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop.ask)
        hurry(os.getpid())
        held = HeldRunDir(self._settings.runtime.run_dir)
        self._run_dir = held.path
        try:
            shared_clock(held.path)
            while not self._stop.is_asked:
                for child in self._children:
                    self._look_after(child)
                time.sleep(LOOK_EVERY_S)
        finally:
            for child in reversed(self._children):
                self._end(child)
            held.close()
        return self._exit_code

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
        hurry(child.popen.pid)

    def _bury(self, child: Child, code: int, now_s: float) -> None:
        child.popen = None
        if code == EXIT_FAULT:
            # It said why on stderr; trying again would say it again.
            self._exit_code = EXIT_FAULT
            self._stop.ask()
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
