"""What systemd is told, and that telling it never waits."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_py.channels import MemoryCell
from firmware_py.devices.service_manager import ALIVE, FEEDS_PER_TIMEOUT, READY, ServiceManager
from firmware_py.loop import Stop, run_live
from firmware_py.telemetry import TIMES_DTYPE


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(2.0)
        yield listener


def manager_of(systemd: socket.socket, timeout_s: float = 0.0) -> ServiceManager:
    environment = {"NOTIFY_SOCKET": systemd.getsockname()}
    if timeout_s:
        environment["WATCHDOG_USEC"] = str(int(1e6 * timeout_s))
    return ServiceManager(environment)


def heard(systemd: socket.socket) -> list[str]:
    systemd.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(systemd.recv(256).decode())
        except BlockingIOError:
            return messages


def test_it_is_told_that_the_process_is_ready(systemd: socket.socket) -> None:
    manager = manager_of(systemd)
    manager.tell(READY)
    assert systemd.recv(256) == b"READY=1"
    manager.close()


def test_a_turning_loop_feeds_the_watchdog_several_times_within_its_timeout(systemd: socket.socket) -> None:
    manager, stop, timeout_s = manager_of(systemd, 0.8), Stop(), 0.8

    class Turning:
        def step(self) -> None:
            if time.monotonic() >= end_s:
                stop.ask()

    end_s = time.monotonic() + 2 * timeout_s
    run_live(Turning(), lambda: time.sleep(0.005), 1.0, MemoryCell(TIMES_DTYPE), stop, manager.alive)
    fed = heard(systemd)
    assert set(fed) == {ALIVE}
    assert FEEDS_PER_TIMEOUT <= len(fed) <= 2 * FEEDS_PER_TIMEOUT + 1
    manager.close()


def test_a_stalled_loop_does_not_feed_the_watchdog(systemd: socket.socket) -> None:
    manager, stop = manager_of(systemd, 0.2), Stop()

    class Stalled:
        def step(self) -> None:
            heard(systemd)
            time.sleep(0.5)
            fed_while_stalled.extend(heard(systemd))
            stop.ask()

    fed_while_stalled: list[str] = []
    run_live(Stalled(), lambda: None, 1.0, MemoryCell(TIMES_DTYPE), stop, manager.alive)
    assert fed_while_stalled == []
    manager.close()


def test_without_a_watchdog_nobody_is_fed(systemd: socket.socket) -> None:
    manager = manager_of(systemd)
    manager.alive()
    assert heard(systemd) == []
    manager.close()


def test_a_manager_that_does_not_read_never_holds_the_loop_up(systemd: socket.socket) -> None:
    manager = manager_of(systemd)
    start_s = time.monotonic()
    for _ in range(10_000):
        manager.tell(ALIVE)
    assert time.monotonic() - start_s < 5.0
    manager.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "1000"}])
def test_without_systemd_nothing_is_told_and_nothing_fails(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []

    class Socket(socket.socket):
        def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
            n_bytes = super().send(data, flags)
            sent.append(data)
            return n_bytes

    monkeypatch.setattr(socket, "socket", Socket)
    manager = ServiceManager(environment)
    manager.tell(READY)
    manager.alive()
    manager.close()
    manager.tell(READY)
    assert sent == []
