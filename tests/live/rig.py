"""What the live tests, ``make soak`` and ``make rehearse`` share: a sound server, an instrument, the box.

``jackd -d dummy`` under ALSA's plugin has a card's pace and xruns without a card. A ``Receiver`` is an
instrument that knows what sounds in it and since when.
"""

import contextlib
import json
import os
import re
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
STANDINS = Path(__file__).with_name("standins.py")
PORTAUDIO_CLIENT = Path(__file__).with_name("portaudio_client.py")
SILENT_WITHIN_S = 0.25
BACK_WITHIN_S = 3.0
PATIENCE_S = 300.0
"""Where time is not what is tested: it ends what hangs. Other work may hold the machine, and starting Python
twenty times over."""
PROCESSES = ("guardian", "control", "midi", "audio", "dsp", "composer")


class Receiver:
    """An instrument at the other end of a raw MIDI pipe: what sounds in it, and since when.

    ``bytes_per_s`` makes it slow: a MIDI cable carries 3,125.
    """

    def __init__(self, path: Path, bytes_per_s: float = 0.0) -> None:
        if not path.exists():
            os.mkfifo(path)
        self.path = path
        self.sounding: dict[tuple[int, int], float] = {}
        self.received: list[tuple[float, int, int, int]] = []
        self.n_note_ons = 0
        self.n_struck_twice = 0
        self.bytes_per_s = bytes_per_s
        self._is_listening = True
        self._stands_still = False
        self.answer()

    def answer(self) -> None:
        """Be there (again), with nothing sounding."""
        self.sounding.clear()
        self._is_listening = True
        self._fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def hang_up(self) -> None:
        """As a device that is unplugged."""
        self._is_listening = False
        self._thread.join()
        os.close(self._fd)

    def stand_still(self, still: bool) -> None:
        """Take nothing, until told otherwise."""
        self._stands_still = still

    def _listen(self) -> None:
        data = b""
        while self._is_listening:
            select.select([self._fd], (), (), 0.02)
            if self._stands_still:
                time.sleep(0.01)
                continue
            pace = 3 if self.bytes_per_s else 3 * 64
            with contextlib.suppress(BlockingIOError):
                data += os.read(self._fd, pace)
            now_s = time.monotonic()
            while len(data) >= 3:
                self._take(now_s, *data[:3])
                data = data[3:]
            # Without a writer the pipe is always readable.
            time.sleep(pace / self.bytes_per_s if self.bytes_per_s else 0.001)

    def _take(self, now_s: float, status: int, data1: int, data2: int) -> None:
        key = (status & 0x0F, data1)
        self.received.append((now_s, status, data1, data2))
        if status & 0xF0 == 0x90:
            self.n_note_ons += 1
            self.n_struck_twice += key in self.sounding
            self.sounding[key] = now_s
        elif status & 0xF0 == 0x80:
            self.sounding.pop(key, None)

    def struck_before(self, time_s: float) -> list[tuple[int, int]]:
        """What still sounds of what was struck up to then."""
        return [key for key, struck_s in list(self.sounding.items()) if struck_s <= time_s]

    def close(self) -> None:
        """Done with it."""
        self.hang_up()


class JackReceiver(Receiver):
    """An instrument on JACK, through python-rtmidi: messages come with JACK's next period."""

    def __init__(self, name: str = "kelly_test_piano") -> None:
        import rtmidi

        self.sounding = {}
        self.received = []
        self.n_note_ons = self.n_struck_twice = 0
        self._in = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name, queue_size_limit=4_096)
        self._in.ignore_types(sysex=False, timing=False, active_sense=False)
        self._in.set_callback(self._heard)
        self._in.open_virtual_port("keys")

    def _heard(self, event: tuple[list[int], float], _: object = None) -> None:
        message, _delta_s = event
        if len(message) == 3:
            self._take(time.monotonic(), *message)

    def close(self) -> None:
        self._in.cancel_callback()
        self._in.close_port()
        self._in.delete()


def wait_until(is_so: Callable[[], bool], within_s: float) -> float:
    """Seconds until ``is_so``, which must be within ``within_s``."""
    begin_s = time.monotonic()
    while not is_so():
        taken_s = time.monotonic() - begin_s
        assert taken_s < within_s, f"not so within {within_s} s"
        time.sleep(0.005)
    return time.monotonic() - begin_s


def _relatives(pid: int, dead: bool) -> dict[str, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (path / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and (state == "Z") == dead:
            name = next((word for word in words if word in PROCESSES), path.name)
            found[name] = int(path.name)
    return found


def children(pid: int) -> dict[str, int]:
    """Process name → pid of the children of ``pid`` that live."""
    return {name: child for name, child in _relatives(pid, dead=False).items() if name in PROCESSES}


def zombies(pid: int) -> dict[str, int]:
    """The children of ``pid`` that ended and were not waited for."""
    return _relatives(pid, dead=True)


class Box:
    """The box and its receiver; ``stand_ins`` plays with small stages for ``dsp`` and ``composer``."""

    def __init__(
        self,
        folder: Path,
        env: dict[str, str],
        stand_ins: bool = True,
        settings: Sequence[str] = (),
        output: str = "",
        bytes_per_s: float = 0.0,
    ) -> None:
        self.receiver = Receiver(folder / "midi", bytes_per_s)
        self.run_dir = folder / "run"
        self.state = folder / "state"
        self.errors = folder / "stderr"
        raw = f"raw:{self.receiver.path}"
        self.output = {"": raw, "both": f"{raw},jack:*kelly_test_piano*"}.get(output, output)
        self._stand_ins = stand_ins
        self._settings = settings
        self.env = {**os.environ, "XDG_STATE_HOME": str(self.state), **env, "PYTHONPATH": str(ROOT)}
        self.started_s = time.monotonic()
        self.popen = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it (again)."""
        shipped = {
            "audio.card": "kelly",
            "runtime.run_dir": str(self.run_dir),
            "midi.outputs": self.output,
        }
        arguments = [f"--set={key}={value}" for key, value in shipped.items()]
        command = (
            [sys.executable, str(STANDINS), "run", str(self.run_dir), self.output]
            if self._stand_ins
            else [sys.executable, "-m", "firmware_py", "run", *arguments]
        )
        command += [f"--set={setting}" for setting in self._settings]
        self.started_s = time.monotonic()
        with self.errors.open("ab") as errors:
            return subprocess.Popen(command, env=self.env, stderr=errors)

    def pid(self, process: str) -> int:
        """Of a process that lives, soon at the latest."""
        found: dict[str, int] = {}

        def lives() -> bool:
            found.clear()
            found.update(children(self.popen.pid))
            return process in found

        wait_until(lives, PATIENCE_S)
        return found[process]

    def plays(self, within_s: float = PATIENCE_S) -> float:
        """Seconds until a new note is heard."""
        before = self.receiver.n_note_ons
        return wait_until(lambda: self.receiver.n_note_ons > before, within_s)

    def plays_on_and_ends(self) -> None:
        """New notes come, those struck before now are released, and none is left when it has ended."""
        now_s = time.monotonic()
        self.plays()
        wait_until(lambda: not self.receiver.struck_before(now_s), PATIENCE_S)
        assert self.stop() == 0
        wait_until(lambda: not self.receiver.sounding, 1.0)

    def stop(self) -> int:
        """The exit code, asked to stop."""
        self.popen.terminate()
        return self.popen.wait(PATIENCE_S)

    def close(self) -> None:
        """Whatever state it is in; what it said is shown where the test failed."""
        print(self.errors.read_text())
        if self.popen.poll() is None:
            self.stop()
        self.receiver.close()

    def session(self) -> list[dict[str, Any]]:
        """The entries of its session logs."""
        entries = []
        for path in sorted((self.state / "kelly-edge" / "sessions").glob("*.jsonl")):
            entries += [json.loads(line) for line in path.read_text().splitlines()]
        return entries

    def memory_mb(self) -> dict[str, float]:
        """Proportional set size of every process, the supervisor's too."""
        pids = {"supervisor": self.popen.pid, **children(self.popen.pid)}
        return {name: pss_mb(pid) for name, pid in pids.items()}


def pss_mb(pid: int) -> float:
    """Its memory, shared pages divided among those who share them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert match is not None
    return int(match[1]) / 1024


def rss_mb(pid: int) -> float:
    """Its resident memory."""
    n_pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return n_pages * os.sysconf("SC_PAGESIZE") / 2**20


def n_descriptors(pid: int) -> int:
    """Open files."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def clock_start_s(run_dir: Path) -> float:
    """CLOCK_MONOTONIC at the beginning of the box's stream."""
    (start_s,) = struct.unpack("<d", (run_dir / "clock").read_bytes())
    return float(start_s)


def round_trips(recorded: NDArray[np.float32], every_samples: int) -> list[int | None]:
    """Samples from each impulse played to the box's answer; None where none came.

    Parameters
    ----------
    recorded: float32 [n, 2] of a ``Tape`` that played an impulse every ``every_samples``.
    """
    played, answered = (np.flatnonzero(channel > 0.25) for channel in recorded.T)
    found: list[int | None] = []
    for n in played:
        after = answered[(answered >= n) & (answered < n + every_samples)]
        found.append(int(after[0] - n) if len(after) else None)
    return found


def assert_nothing_is_left(box: Box, pids: dict[str, int]) -> None:
    """No run directory, no process, no note."""
    assert not box.run_dir.exists()
    assert not [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()]
    wait_until(lambda: not box.receiver.sounding, PATIENCE_S)


def portaudio_client(scenario: str, argument: str = "", meanwhile: Callable[[], None] | None = None) -> Any:
    """The outcome of a scenario of ``portaudio_client.py``; ``meanwhile`` is done when it is ready."""
    popen = subprocess.Popen(
        [sys.executable, str(PORTAUDIO_CLIENT), scenario, argument],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert popen.stdin is not None and popen.stdout is not None
    try:
        if meanwhile is not None:
            assert popen.stdout.readline() == "ready\n"
            meanwhile()
        out, errors = popen.communicate("go\n", timeout=PATIENCE_S)
    except BaseException:
        popen.kill()
        popen.communicate()
        raise
    assert popen.returncode == 0, errors
    return json.loads(out.splitlines()[-1])
