"""A line to systemd (sd_notify(3)): ready, alive, stopping. It never waits: a full socket loses the message.

systemd-python's ``notify`` blocks, with the GIL held, where nobody reads; here real-time loops call it.
"""

import contextlib
import socket
import time
from collections.abc import Mapping
from typing import Final

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
FEEDS_PER_TIMEOUT: Final = 4
"""Chosen: systemd asks for at least two per ``WatchdogSec``."""


class ServiceManager:
    """Told what this process does, where ``environment`` names a socket; else nobody is told.

    ``alive`` is called by a stage's own loop, as often as it likes, so that a loop that stands still is
    killed when the unit's WatchdogSec is over.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        timeout_us = environment.get("WATCHDOG_USEC", "")
        self._every_s = 1e-6 * int(timeout_us) / FEEDS_PER_TIMEOUT if timeout_us.isdigit() else 0.0
        self._next_s = 0.0
        address = environment.get("NOTIFY_SOCKET", "")
        if not address:
            return
        line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            line.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        except OSError:
            line.close()
        else:
            self._socket = line

    def tell(self, message: str) -> None:
        """Send ``message``."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(message.encode())

    def alive(self) -> None:
        """The loop turned; told a few times within the watchdog's timeout."""
        if not self._every_s:
            return
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            self.tell(ALIVE)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
