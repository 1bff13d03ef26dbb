"""The live journals: a session log of JSON lines, and warnings on stderr, where systemd's journal listens.

A full disk costs entries, which are counted, never the music.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.kept import state_root
from firmware_py.devices.ports import Journal
from firmware_py.telemetry import Report
from kelly_edge_text.printed import printed

LONGEST_LINE: Final = 1_000
"""Characters of a warning that are shown."""


def state_dir(environment: Mapping[str, str], setting: str = "") -> Path:
    """Where session logs are kept: below ``runtime.state_dir``, else systemd's or the user's state folder."""
    return state_root(setting, environment) / "sessions"


def session_path(environment: Mapping[str, str], setting: str = "") -> Path:
    """A new session's log, named after the moment and the process."""
    return state_dir(environment, setting) / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"


def warn(text: str) -> None:
    """One line for a person, whatever names and messages from outside it holds."""
    print(f"kelly-edge: {printed(text, LONGEST_LINE)}", file=sys.stderr, flush=True)


class SessionLog:
    """A ``Journal`` in the file ``path``; None keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.n_lost = 0
        self._fd = -1
        if path is not None:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(path, flags, 0o600)
            except OSError as error:
                warn(f"no session log ({error.strerror}: {path}); free space or set session.log=false")

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        if self._fd < 0:
            return
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            n_written = os.write(self._fd, line)
            if n_written == len(line):
                return
            # A full disk took a part: half a line would spoil the next one too.
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - n_written)
        except OSError:
            pass
        if self.n_lost == 0:
            warn(f"the session log loses entries ({self.path}); free space")
        self.n_lost += 1

    def close(self) -> None:
        """Done."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LoggedReports:
    """An ``Outlet`` into the session log: what was counted stands there though the box dies."""

    n_lost = 0

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def publish(self, report: Report) -> None:
        """See ``Outlet``; the log counts what it loses. The last counts are ``ControlStage``'s to log."""
        if not report.is_up:
            return
        for process, counters in report.counters.items():
            entry = {"kind": "counters", "time_s": round(report.time_s, 3), "process": process, **counters}
            self._journal.record(entry)
