"""Counters and step times in systemd's journal, as fields that ``journalctl -o json`` and its matches know.

``journalctl -t kelly-edge KELLY_PROCESS=audio -o json-pretty``. The journal's own protocol (systemd.io,
JOURNAL_NATIVE_PROTOCOL) is spoken on a socket that never waits: systemd-python's ``send`` blocks while
nobody reads, and ``control`` has a panic button to watch.
"""

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from firmware_py.board.telemetry import Report, summary_ms

SOCKET: Final = Path("/run/systemd/journal/socket")
IDENTIFIER: Final = "kelly-edge"
INFORMATIONAL: Final = 6
"""Priority of syslog messages (RFC 5424)."""


def is_listening(environment: Mapping[str, str], path: Path = SOCKET) -> bool:
    """Whether systemd started this process with the journal at its end of the line."""
    return bool(environment.get("JOURNAL_STREAM")) and path.is_socket()


def entry(message: str, fields: Mapping[str, str | float | int]) -> bytes:
    """An entry of the native protocol; values hold no line break."""
    all_fields = {
        "MESSAGE": message,
        "PRIORITY": INFORMATIONAL,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **{f"KELLY_{name.upper()}": value for name, value in fields.items()},
    }
    return "".join(f"{name}={value}\n" for name, value in all_fields.items()).encode()


class JournalReports:
    """An ``Outlet`` into the journal: an entry per process, with its counters and step times."""

    def __init__(self, path: Path = SOCKET) -> None:
        self.n_lost = 0
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def publish(self, report: Report) -> None:
        """See ``Outlet``."""
        for process, counters in report.counters.items():
            fields: dict[str, str | float | int] = {"process": process, **counters}
            message = f"{process}: no steps yet"
            if (times := report.times.get(f"times_{process}")) is not None:
                summary = summary_ms(times)
                fields |= {"deadline_ms": 1e3 * float(times["deadline_s"]), **summary}
                message = (
                    f"{process}: p99 {summary['p99_ms']:.2f} of {fields['deadline_ms']:.2f} ms, "
                    f"{summary['n_missed']} of {summary['n_times']} steps late"
                )
            self._send(entry(message, fields))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendto(data, str(self._path))
        except OSError:
            self.n_lost += 1

    def close(self) -> None:
        """Let go of the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()
