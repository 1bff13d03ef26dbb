"""The five processes live on a dummy sound server: they play, and no note hangs whatever dies.

``dsp`` and ``composer`` are stand-ins (``standins.py``); everything else is what ships.
"""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).with_name("standins.py")
SILENT_WITHIN_S = 0.25
BACK_WITHIN_S = 3.0
PROCESSES = ("control", "midi", "audio", "dsp", "composer")


class Receiver:
    """An instrument at the other end of a raw MIDI pipe: what sounds in it, and since when."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self.sounding: dict[tuple[int, int], float] = {}
        self.n_note_ons = 0
        self.n_struck_twice = 0
        self._is_listening = True
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        data = b""
        while self._is_listening:
            with contextlib.suppress(BlockingIOError):
                data += os.read(self._fd, 3 * 64)
            while len(data) >= 3:
                self._take(*data[:3])
                data = data[3:]
            time.sleep(0.002)

    def _take(self, status: int, data1: int, data2: int) -> None:
        key = (status & 0x0F, data1)
        if status & 0xF0 == 0x90:
            self.n_note_ons += 1
            self.n_struck_twice += key in self.sounding
            self.sounding[key] = time.monotonic()
        elif status & 0xF0 == 0x80:
            self.sounding.pop(key, None)

    def close(self) -> None:
        self._is_listening = False
        self._thread.join()
        os.close(self._fd)


def wait_until(is_so: Callable[[], bool], within_s: float) -> float:
    """Seconds until ``is_so``, which must be within ``within_s``."""
    begin_s = time.monotonic()
    while not is_so():
        taken_s = time.monotonic() - begin_s
        assert taken_s < within_s, f"not so within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - begin_s


def children(pid: int) -> dict[str, int]:
    """Process name → pid of the children of ``pid`` that live."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (path / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z" and len(words) > 2:
            found[words[2].decode()] = int(path.name)
    return found


class Box:
    """``standins.py run`` and its receiver."""

    def __init__(self, folder: Path) -> None:
        self.receiver = Receiver(folder / "midi")
        self.run_dir = folder / "run"
        self.state = folder / "state"
        self.errors = folder / "stderr"
        self._env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.state)}
        self.popen = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(STANDINS), "run", str(self.run_dir), f"raw:{self.receiver.path}"]
        with self.errors.open("ab") as errors:
            return subprocess.Popen(command, env=self._env, stderr=errors)

    def pid(self, process: str) -> int:
        wait_until(lambda: process in children(self.popen.pid), BACK_WITHIN_S)
        return children(self.popen.pid)[process]

    def plays(self, within_s: float = BACK_WITHIN_S) -> float:
        """Seconds until a new note is heard."""
        before = self.receiver.n_note_ons
        return wait_until(lambda: self.receiver.n_note_ons > before, within_s)

    def stop(self) -> int:
        self.popen.terminate()
        return self.popen.wait(15)

    def session(self) -> list[dict[str, Any]]:
        (path,) = (self.state / "kelly-edge" / "sessions").iterdir()
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def box(server: Any, tmp_path: Path) -> Iterator[Box]:
    a_box = Box(tmp_path)
    yield a_box
    if a_box.popen.poll() is None:
        a_box.stop()
    a_box.receiver.close()


def assert_nothing_is_left(box: Box, pids: dict[str, int]) -> None:
    assert not box.run_dir.exists()
    assert not [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()]
    wait_until(lambda: not box.receiver.sounding, SILENT_WITHIN_S)


def test_it_starts_plays_stops_and_leaves_nothing(box: Box) -> None:
    first_note_s = box.plays(15)
    time.sleep(6)
    pids = children(box.popen.pid)
    assert set(pids) == set(PROCESSES)
    assert len(os.listdir(box.run_dir)) > 15
    begin_s = time.monotonic()
    assert box.stop() == 0
    assert time.monotonic() - begin_s < 3
    assert_nothing_is_left(box, pids)
    entries = box.session()
    counters = {e["process"]: e for e in entries if e["kind"] == "counters"}
    times = {e["of"]: e for e in entries if e["kind"] == "times"}
    assert counters["audio"]["n_periods"] > 4 * 375
    assert counters["midi"]["n_note_ons"] == counters["midi"]["n_note_offs"] == box.receiver.n_note_ons > 50
    # What the composer sent is on a grid of 0.1 s: every note came, none twice.
    due = [e["due_s"] for e in entries if e["kind"] == "note"]
    assert all(abs(b - a - 0.1) < 1e-6 for a, b in itertools.pairwise(due))
    assert box.receiver.n_struck_twice == 0
    assert times["send_error"]["p50_ms"] < 1.0
    assert set(times) == {*(f"times_{p}" for p in PROCESSES), "send_error"}
    print(f"first note after {first_note_s:.2f} s; send error {times['send_error']}")


def test_no_note_hangs_when_midi_is_killed(box: Box) -> None:
    box.plays(15)
    for _ in range(3):
        wait_until(lambda: len(box.receiver.sounding) >= 2, 3)
        pid = box.pid("midi")
        os.kill(pid, signal.SIGKILL)
        killed_s = time.monotonic()
        old = lambda: [k for k, struck_s in box.receiver.sounding.items() if struck_s <= killed_s]  # noqa: E731, B023
        wait_until(lambda: not old(), SILENT_WITHIN_S)  # noqa: B023
        box.plays()
    assert "notes sounding; they are released" in box.errors.read_text()
    pids = children(box.popen.pid)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)


def test_music_is_back_when_any_other_process_is_killed(box: Box) -> None:
    box.plays(15)
    for process in ("control", "audio", "dsp", "composer"):
        pid = box.pid(process)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: box.pid(process) != pid, BACK_WITHIN_S)  # noqa: B023
        # Half a second of notes was sent ahead: music after these is new.
        time.sleep(0.6)
        box.plays()
    pids = children(box.popen.pid)
    assert set(pids) == set(PROCESSES)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)


def test_a_process_that_stands_still_leaves_no_note(box: Box) -> None:
    box.plays(15)
    for process in ("midi", "composer"):
        pid = box.pid(process)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(pid, signal.SIGCONT)
        box.plays()
    # Its notes last 0.35 s: nothing that was struck before is still there.
    time.sleep(0.5)
    assert all(time.monotonic() - struck_s < 0.5 for struck_s in list(box.receiver.sounding.values()))
    pids = children(box.popen.pid)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)


def test_a_killed_supervisor_takes_its_processes_along_and_the_next_one_clears_up(box: Box) -> None:
    box.plays(15)
    pids = children(box.popen.pid)
    box.popen.kill()
    box.popen.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()), 5)
    wait_until(lambda: not box.receiver.sounding, SILENT_WITHIN_S)
    assert box.run_dir.exists()
    box.popen = box.start()
    box.plays(15)
    assert subprocess.run(
        [sys.executable, str(STANDINS), "run", str(box.run_dir), "raw:/dev/null"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=10,
        check=False,
    ).returncode not in (0, None)
    pids = children(box.popen.pid)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)
