"""A radio between two ends of RTP-MIDI: each packet comes late by another time, and some do not come."""

import heapq
import random
import select
import socket
import threading
import time


class Relay:
    """Whoever sends to ``port`` (and the one after it) reaches ``to`` from ``far``; the answers find back.

    ``latest_s``: a packet takes up to this. ``lost``: this share of the packets of MIDI is not passed on.
    """

    def __init__(self, port: int, far: int, to: int, latest_s: float, lost: float) -> None:
        self.port = port
        self._latest_s, self._lost = latest_s, lost
        self._random = random.Random(1)
        self._lines: list[socket.socket] = []
        self._other: dict[socket.socket, tuple[socket.socket, tuple[str, int] | None]] = {}
        for n in range(2):
            lines = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
            for line, own in zip(lines, (port, far), strict=True):
                line.bind(("127.0.0.1", own + n))
            self._other[lines[0]] = lines[1], ("127.0.0.1", to + n)
            self._other[lines[1]] = lines[0], None
            self._lines += lines
        self._is_on = True
        self._thread = threading.Thread(target=self._pass_on)

    def __enter__(self) -> "Relay":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_on = False
        self._thread.join()
        for line in self._lines:
            line.close()

    def _pass_on(self) -> None:
        waiting: list[tuple[float, int, socket.socket, bytes]] = []
        n = 0
        while self._is_on:
            next_s = waiting[0][0] - time.monotonic() if waiting else 0.1
            for line in select.select(self._lines, (), (), min(max(next_s, 0.0), 0.1))[0]:
                data, sender = line.recvfrom(2_048)
                out, to = self._other[line]
                if to is not None:
                    # The answers go there.
                    self._other[out] = line, sender
                if not data.startswith(b"\xff\xff") and self._random.random() < self._lost:
                    continue
                n += 1
                due_s = time.monotonic() + self._latest_s * self._random.random()
                heapq.heappush(waiting, (due_s, n, line, data))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, line, data = heapq.heappop(waiting)
                out, to = self._other[line]
                if to is not None:
                    out.sendto(data, to)
