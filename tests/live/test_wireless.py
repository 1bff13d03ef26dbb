"""RTP-MIDI with real other ends on this machine: npm's rtpmidi, both ways, and PyPI's pymidi, which receives.

``make wireless-test`` installs them. The bridge is the command itself, its port on JACK.
"""

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from relay import Relay
from rig import PATIENCE_S, ROOT, wait_until

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.board.map import CLOCK_DTYPE, memory_board  # noqa: E402
from firmware_py.devices.files.clock import StreamClock  # noqa: E402
from firmware_py.devices.midi.inputs import MidiInputs  # noqa: E402
from firmware_py.devices.midi.outputs import MidiPorts  # noqa: E402
from firmware_py.processes.clock_in import ClockInStage  # noqa: E402
from firmware_py.rehearsal.server import DummyServer, absent  # noqa: E402
from kelly_edge.rhythm.midi_clock import ClockFollower  # noqa: E402

NODE_PEER = Path(__file__).with_name("rtp_peer.js")
PYMIDI_PEER = Path(__file__).with_name("pymidi_peer.py")
PORT = "jack:*Kelly Edge wireless*"
PLAYOUT_S = 0.010
"""The default of wireless.playout_ms."""
BPM = 120.0
HEARD_S = 10.0
NICENESS = -5
"""As the unit's."""
EXACT_S = 0.005
EVERY_S = 0.1
"""As ``control`` looks."""
ENDED = "(it ended)"
NOTE_ON, NOTE_OFF = bytes((0x90, 60, 80)), bytes((0x80, 60, 0))

# Figures of time, and programs that are not the project's.
pytestmark = pytest.mark.faults


def _lacks_node() -> bool:
    node = shutil.which("node")
    asked = [node or "", "-e", "require('rtpmidi')"]
    return node is None or subprocess.run(asked, capture_output=True, check=False).returncode != 0


needs_node = pytest.mark.skipif(_lacks_node(), reason="npm's rtpmidi is not installed; make wireless-test")


def free_port() -> int:
    """An even port whose neighbour is free too."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] & ~1
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
                two.bind(("127.0.0.1", port + (one.getsockname()[1] == port)))
                return int(port)


class Program:
    """Another end, or the bridge: what it says on stdout or stderr, line by line."""

    def __init__(self, words: list[str], is_told: str = "stdout") -> None:
        pipes = {is_told: subprocess.PIPE, "stdin": subprocess.PIPE}
        self.popen = subprocess.Popen(words, text=True, bufsize=1, cwd=ROOT, **pipes)  # type: ignore[call-overload]
        self._told = getattr(self.popen, is_told)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._told:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(ENDED)

    def line(self, has: str) -> str:
        """The next line that holds ``has``; those before it are passed over."""
        return self.lines(has)[-1]

    def lines(self, has: str) -> list[str]:
        """What is said until a line holds ``has``, which is the last."""
        end_s, said = time.monotonic() + PATIENCE_S, []
        while has not in (line := self._lines.get(timeout=max(0.1, end_s - time.monotonic()))):
            said.append(line)
            assert line is not ENDED, said
        return [*said, line]

    def say(self, line: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def end(self) -> None:
        # Killed it would leave jackd with a client that it does not bury (``named_ports``).
        self.popen.terminate()
        self.popen.send_signal(signal.SIGCONT)
        try:
            self.popen.wait(10.0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._reader.join()
        for pipe in (self.popen.stdin, self._told):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


Start = Callable[..., Program]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DummyServer]:
    """A server of short periods: JACK dates messages by them, ALSA, which it stands for, does not."""
    if why := absent():
        pytest.skip(why)
    dummy = DummyServer(tmp_path, period=64)
    for name, value in dummy.env.items():
        monkeypatch.setenv(name, value)
    dummy.start()
    yield dummy
    dummy.stop()


@pytest.fixture
def start(server: DummyServer) -> Iterator[Start]:
    """Starts programs, and ends those that are left."""
    started: list[Program] = []

    def begin(words: list[str], is_told: str = "stdout") -> Program:
        started.append(Program(words, is_told))
        return started[-1]

    yield begin
    for program in started:
        program.end()


def bridge(start: Start, port: int, *settings: str) -> Program:
    """The command, once it listens."""
    words = [sys.executable, "-m", "firmware_py", "wireless", f"--set=wireless.bind=127.0.0.1:{port}"]
    program = start([*words, *(f"--set={setting}" for setting in settings)], "stderr")
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, program.popen.pid, NICENESS)
    program.line("RTP-MIDI at")
    return program


def node(start: Start, own: int, *others: int) -> Program:
    """The other end, once it is in a session with the bridge and knows its clock."""
    program = start(["node", str(NODE_PEER), str(own), *map(str, others)])
    be_on_time(program.popen.pid)
    return program


def outputs() -> MidiPorts:
    ports = MidiPorts((PORT,), lambda text: None)
    wait_until(lambda: bool(ports.scan() or ports.names), PATIENCE_S)
    return ports


def told(what: str, values_s: list[float]) -> None:
    p50, p95, most = 1e3 * np.percentile(np.abs(values_s), [50, 95, 100])
    print(f"{what}: p50 {p50:.2f}, p95 {p95:.2f}, max {most:.2f} ms (mean {1e3 * np.mean(values_s):.2f})")


def be_on_time(pid: int) -> None:
    """A sequencer is on time, whatever else runs here."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(60))


@contextlib.contextmanager
def on_time() -> Iterator[None]:
    """This process as one."""
    be_on_time(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@needs_node
@pytest.mark.parametrize("invites", ["the box", "the other end"])
def test_clock_sent_is_heard_there_within_5_ms_after_10_s(start: Start, invites: str) -> None:
    ours, theirs = free_port(), free_port()
    if invites == "the box":
        other = node(start, theirs)
        other.line("ready")
        bridge(start, ours, f"wireless.peers=127.0.0.1:{theirs}")
    else:
        bridge(start, ours)
        other = node(start, theirs, ours)
    other.line("here")
    ports, pulse_s = outputs(), 60.0 / BPM / 24
    begin_s = time.monotonic() + 0.5
    with on_time():
        time.sleep(begin_s - 0.02 - time.monotonic())
        ports.send_realtime(0xFA)
        n_pulses = round((HEARD_S + 4.0) / pulse_s)
        for n in range(n_pulses):
            time.sleep(max(0.0, begin_s + n * pulse_s - time.monotonic()))
            ports.send_realtime(0xF8)
    ports.send(0.0, *NOTE_OFF)
    heard = [line.split() for line in other.lines(NOTE_OFF.hex())]
    ports.close()
    pulses_s = [1e-3 * float(time_ms) for time_ms, _, message in heard if message == "f8"]
    dated_s = [1e-3 * float(time_ms) for _, time_ms, message in heard if message == "f8"]
    assert ["fa" in line for line in heard].count(True) == 1 and len(pulses_s) == n_pulses
    told(f"out, {invites} invites: pulses late", [t - begin_s - n * pulse_s for n, t in enumerate(pulses_s)])
    told(
        f"out, {invites} invites: the same by the packets' times",
        [t - begin_s - n * pulse_s for n, t in enumerate(dated_s)],
    )
    follower, off_s, beats_s = ClockFollower(), [], []
    follower.start()
    for time_s in pulses_s:
        follower.pulse(time_s)
        if time_s > begin_s + HEARD_S:
            beat = follower.beat(time_s)
            assert beat is not None
            off_s.append((beat.line_s - begin_s + 2 * 24 * pulse_s) % (96 * pulse_s) - 2 * 24 * pulse_s)
            beats_s.append(beat.beat_s - 24 * pulse_s)
    told(f"out, {invites} invites: phase", off_s)
    told(f"out, {invites} invites: beat's length", beats_s)
    assert np.abs(off_s).max() < EXACT_S
    assert np.abs(beats_s).max() < EXACT_S


@needs_node
@pytest.mark.parametrize("radio", ["even", "late by up to 8 ms"])
def test_clock_heard_is_within_5_ms_after_10_s(start: Start, radio: str) -> None:
    ours, theirs = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        to = ours
        if radio != "even":
            to = stack.enter_context(Relay(free_port(), free_port(), ours, latest_s=0.008, lost=0.0)).port
        bridge(start, ours)
        other = node(start, theirs, to)
        other.line("here")
        inputs = MidiInputs((PORT,), lambda text: None, hears_clock=True, wireless_held_s=PLAYOUT_S)
        board, clock = memory_board(), StreamClock(0.0)
        stage = ClockInStage(inputs, board.ends("control").cell_to_write("clock"), clock)
        wait_until(lambda: bool(inputs.scan() or inputs.names), PATIENCE_S)
        # A few exchanges of clocks.
        time.sleep(3.0)
        other.say(f"clock {BPM} {HEARD_S + 8.0}")
        begin_s, bar_s = 1e-3 * float(other.line("begins").split()[1]), 240.0 / BPM
        record, off_s, beats_s = np.zeros((), CLOCK_DTYPE), [], []
        # The bridge is measured: JACK's thread shall not wait for this process's lock, and lose what comes.
        stack.enter_context(on_time())
        while (now_s := time.monotonic()) < begin_s + HEARD_S + 4.0:
            stage.step()
            if now_s > begin_s + HEARD_S:
                assert board.ends("composer").cell_to_read("clock").read(record) and record["is_running"]
                off_s.append((float(record["line_s"]) - begin_s + bar_s / 2) % bar_s - bar_s / 2)
                beats_s.append(float(record["beat_s"]) - 60.0 / BPM)
            time.sleep(EVERY_S)
        told(f"in, radio {radio}: phase", off_s)
        told(f"in, radio {radio}: beat's length", beats_s)
        assert np.abs(off_s).max() < EXACT_S
        assert np.abs(beats_s).max() < EXACT_S
        other.popen.kill()
        killed_s = time.monotonic()
        while time.monotonic() < killed_s + 1.0:
            stage.step()
            time.sleep(EVERY_S)
        assert board.ends("composer").cell_to_read("clock").read(record) and not record["is_running"]
        inputs.close()


@needs_node
@pytest.mark.parametrize("end", ["killed", "stands still"])
def test_no_note_is_stuck_when_the_other_end_is_gone(start: Start, end: str) -> None:
    ours, theirs = free_port(), free_port()
    bridge(start, ours)
    other = node(start, theirs, ours)
    other.line("here")
    inputs = MidiInputs((PORT,), lambda text: None)
    wait_until(lambda: bool(inputs.scan() or inputs.names), PATIENCE_S)
    heard: list[bytes] = []

    def hears(message: bytes) -> bool:
        heard.extend(message for _, message in inputs.receive())
        return message in heard

    # So that the bridge knows that it answers.
    time.sleep(1.5)
    other.say(NOTE_ON.hex())
    wait_until(lambda: hears(NOTE_ON), PATIENCE_S)
    other.popen.send_signal(signal.SIGKILL if end == "killed" else signal.SIGSTOP)
    print(f"{end}: released after {wait_until(lambda: hears(NOTE_OFF), 10.0):.2f} s")
    assert heard == [NOTE_ON, NOTE_OFF]
    inputs.close()


@needs_node
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_bridge_releases_at_the_other_end_and_says_farewell(start: Start, number: int) -> None:
    ours, theirs = free_port(), free_port()
    ended = bridge(start, ours)
    other = node(start, theirs, ours)
    other.line("here")
    ports = outputs()
    ports.send(0.0, *NOTE_ON)
    other.line(NOTE_ON.hex())
    ended.popen.send_signal(number)
    other.line(NOTE_OFF.hex())
    other.line("left")
    assert ended.popen.wait(PATIENCE_S) == 0
    ports.close()


def test_pymidi_hears_notes_and_controllers_with_their_journals(start: Start) -> None:
    pytest.importorskip("pymidi", reason="pymidi is not installed; make wireless-test")
    ours, theirs = free_port(), free_port()
    other = start([sys.executable, str(PYMIDI_PEER), str(theirs)])
    other.line("ready")
    ended = bridge(start, ours, f"wireless.peers=127.0.0.1:{theirs}")
    other.line("here")
    ports = outputs()
    for n in range(30):
        ports.send(0.0, 0x90, 40 + n, 1 + n)
        ports.send(0.0, 0xB0, 64, 127 * (n % 2))
        ports.send(0.0, 0x80, 40 + n, 0)
        time.sleep(0.02)
    ports.send(0.0, 0xB0, 7, 99)
    other.line("control_mode_change 7 99")
    ended.popen.terminate()
    other.line("left")
    ports.close()
