"""What systemd is told, and that telling it never waits."""

import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from firmware_py.board.channels import MemoryCell
from firmware_py.board.telemetry import TIMES_DTYPE
from firmware_py.devices.offline import VirtualClock
from firmware_py.devices.systemd import service_manager
from firmware_py.devices.systemd.service_manager import ALIVE, FEEDS_PER_TIMEOUT, READY, ServiceManager
from firmware_py.wiring import loop
from firmware_py.wiring.loop import Stop, run_live


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(60.0)
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The loop's and the manager's."""
    virtual = VirtualClock(1_000.0)
    for module in (loop, service_manager):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=virtual.now_s))
    return virtual


def test_a_turning_loop_feeds_the_watchdog_several_times_within_its_timeout(
    systemd: socket.socket, clock: VirtualClock
) -> None:
    manager, stop, timeout_s = manager_of(systemd, 5.0), Stop(), 5.0
    fed_s: list[float] = []

    class Turning:
        def step(self) -> None:
            fed_s.extend(clock.now_s() for message in heard(systemd) if message == ALIVE)
            if clock.now_s() >= 1_000.0 + 10 * timeout_s:
                stop.ask()

    def wait() -> None:
        clock.time_s += 0.005

    run_live(Turning(), wait, 1.0, MemoryCell(TIMES_DTYPE), stop, manager.alive)
    gaps = [b - a for a, b in itertools.pairwise(fed_s)]
    assert len(fed_s) > 9 * FEEDS_PER_TIMEOUT
    assert 0.9 * timeout_s / FEEDS_PER_TIMEOUT < min(gaps) <= max(gaps) < timeout_s / 2
    manager.close()


def test_a_stalled_loop_does_not_feed_the_watchdog(systemd: socket.socket, clock: VirtualClock) -> None:
    manager, stop = manager_of(systemd, 0.2), Stop()
    fed_while_stalled: list[str] = []

    class Stalled:
        def step(self) -> None:
            heard(systemd)
            clock.time_s += 0.5
            fed_while_stalled.extend(heard(systemd))
            stop.ask()

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
    # Where it waited, this would have no end.
    for _ in range(10_000):
        manager.tell(ALIVE)
    assert 0 < len(heard(systemd)) < 10_000
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
