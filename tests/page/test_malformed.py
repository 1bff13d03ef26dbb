"""A thousand malformed requests over a socket, and a few patient ones: nothing changes, nothing ends."""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is not installed")

from page_client import HOST
from small_box import SmallBox, state_of

from firmware_py.commands.page.server import ASKS_WITHIN_S

ROOT = Path(__file__).resolve().parents[2]
N_REQUESTS = int(os.environ.get("KELLY_PAGE_REQUESTS", "1000"))
PATIENCE_S = 120.0
ANSWERS_S = 0.05
PATHS = (
    "/", "/events", "/box", "/panic", "/resume", "/start", "/stop", "/mark", "/programme", "/turn", "/pin",
    "/leave", "/sessions", "/sessions/x/report", "/sessions/../report", "/sessions/%00/export", "/page.js",
    "//", "/%", "/%ff", "/..%2f..%2fetc/passwd", "*", "http://evil.example/", "/" + "a" * 9_000, "/\ud83d",
)  # fmt: skip
BODIES = (
    b"", b"{", b"null", b"[" * 3_000, b'{"knob":"volume_db","value":NaN}', b'{"pin":1}', b'{"pin":null}',
    b"\x00" * 100, b'{"programme":"x"', b"a" * 9_000, b'{"text":1}', b'{"name":{},"note":[],"programme":0}',
    b"\xff\xfe",
)  # fmt: skip
SPOILT = (
    b"\0",
    b"\r",
    b"\n",
    b" ",
    b":",
    b"\xff",
    b"Host: ",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n\r\n",
    b"HTTP/9",
)


class Served:
    """The page's own process on a small box."""

    def __init__(self, folder: Path) -> None:
        self.box = SmallBox(folder)
        with socket.socket() as line:
            line.bind(("127.0.0.1", 0))
            self.address = ("127.0.0.1", int(line.getsockname()[1]))
        self.host = HOST.replace("8080", str(self.address[1]))
        words = [f"--set={word}" for word in (*self.box.words, f"page.bind={self.host}")]
        self.errors = folder / "stderr"
        with self.errors.open("wb") as errors:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "firmware_py", "page", *words], stderr=errors, cwd=ROOT
            )
        try:
            self.box.until((self.box.run_dir / "page.json").exists, PATIENCE_S)
        except AssertionError:
            self.popen.kill()
            self.box.close()
            raise
        self.pin = json.loads((self.box.run_dir / "page.json").read_text())["pin"]

    def asked(self, request: bytes, within_s: float = PATIENCE_S) -> bytes:
        """The beginning of the answer; nothing where there is none."""
        with socket.create_connection(self.address, timeout=within_s) as line:
            try:
                line.sendall(request)
                # Where more is waited for there is no answer before the end.
                if not select.select([line], (), (), ANSWERS_S)[0]:
                    line.shutdown(socket.SHUT_WR)
                return line.recv(1 << 12)
            except (ConnectionError, TimeoutError):
                return b""

    def get(self, path: str) -> bytes:
        request = f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(self.address, timeout=PATIENCE_S) as line:
            line.sendall(request.encode())
            return line.recv(1 << 12)

    def close(self) -> None:
        self.popen.terminate()
        assert self.popen.wait(PATIENCE_S) == 0
        assert not (self.box.run_dir / "page.json").exists()
        self.box.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    a_page = Served(tmp_path)
    yield a_page
    a_page.close()


def malformed(rng: np.random.Generator, host: str) -> bytes:
    """A request with something wrong: its path, its body, its head, or all of them cut and spoilt."""
    body = BODIES[rng.integers(len(BODIES))]
    method = ("POST", "POST", "POST", "GET", "GET", "PUT", "", "G\0T")[rng.integers(8)]
    length = (*[str(len(body))] * 12, "-1", "1e9", "9" * 40, "")[rng.integers(16)]
    head = [
        f"{method} {PATHS[rng.integers(len(PATHS))]} HTTP/1.1",
        f"Host: {(*[host] * 7, 'evil.example')[rng.integers(8)]}",
        f"Origin: http://{(host, host, 'evil.example')[rng.integers(3)]}",
        f"Content-Type: {('application/json', 'application/json', 'text/plain')[rng.integers(3)]}",
        f"Content-Length: {length}",
        f"Cookie: kelly-edge={'x' * int(rng.integers(0, 300))}",
        "Connection: close",
    ]
    request = bytearray("\r\n".join(head).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body)
    for _ in range(max(0, int(rng.integers(-3, 4)))):
        at = int(rng.integers(0, len(request)))
        request[at:at] = SPOILT[rng.integers(len(SPOILT))]
    if rng.integers(8) == 0:
        del request[int(rng.integers(1, len(request))) :]
    return bytes(request)


def test_a_thousand_malformed_requests_change_nothing_and_end_nothing(served: Served) -> None:
    rng, before = np.random.default_rng(1), state_of(served.box)
    statuses: dict[bytes, int] = {}
    for _ in range(N_REQUESTS):
        answer = served.asked(malformed(rng, served.host), 5.0)[9:12]
        statuses[answer] = statuses.get(answer, 0) + 1
    print("answers by status:", statuses)
    assert state_of(served.box) == before
    assert served.popen.poll() is None
    assert served.get("/").startswith(b"HTTP/1.1 200")
    assert not [status for status in statuses if status.startswith(b"5")]
    said = served.errors.read_text()
    # The PIN, and one line a minute.
    assert "Traceback" not in said and said.count("\n") <= 5


def test_who_connects_and_asks_nothing_is_let_go_and_holds_nobody_up(served: Served) -> None:
    lines = [socket.create_connection(served.address, timeout=PATIENCE_S) for _ in range(20)]
    try:
        lines[0].sendall(b"POST /panic HTTP/1.1\r\nHost: ")
        begin_s = time.monotonic()
        assert served.get("/box").startswith(b"HTTP/1.1 200")
        for line in lines:
            assert line.recv(1) == b""
        assert ASKS_WITHIN_S - 2.0 < time.monotonic() - begin_s < PATIENCE_S
    finally:
        for line in lines:
            line.close()


def test_the_command_line_shows_the_pin(served: Served) -> None:
    words = [f"--set={word}" for word in served.box.words]
    done = subprocess.run(
        [sys.executable, "-m", "firmware_py", "page", "pin", "--json", *words],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"page": f"http://{served.host}", "pin": served.pin}
    assert served.pin in served.errors.read_text()
