"""The live journals: a session log of JSON lines, and warnings on stderr, where systemd's journal listens.

A full disk costs entries, which are counted, never the music.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def state_dir(environment: Mapping[str, str]) -> Path:
    """Where session logs are kept: systemd's state directory for the service, else the user's."""
    if environment.get("STATE_DIRECTORY"):
        return Path(environment["STATE_DIRECTORY"].split(":")[0]) / "sessions"
    home = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "/")) / ".local" / "state")
    return Path(home) / "kelly-edge" / "sessions"


def session_path(environment: Mapping[str, str]) -> Path:
    """A new session's log, named after the moment and the process."""
    return state_dir(environment) / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl"


def warn(text: str) -> None:
    """One line for a person."""
    print(f"kelly-edge: {text}", file=sys.stderr, flush=True)


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
            is_whole = os.write(self._fd, line) == len(line)
        except OSError:
            is_whole = False
        if not is_whole:
            if self.n_lost == 0:
                warn(f"the session log loses entries ({self.path}); free space")
            self.n_lost += 1

    def close(self) -> None:
        """Done."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
