"""What a real-time ``step()`` may not do: grow, lock, log, open, fork. Live, and one process at a time."""

import gc
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from rig import ROOT, Box

from firmware_py.board.map import SOUNDING_DTYPE, file_board
from firmware_py.board.pipes import CellView
from firmware_py.board.telemetry import new_counters
from firmware_py.devices.midi.outputs import MidiPorts
from firmware_py.devices.midi.watched import WatchedMidi
from firmware_py.devices.offline import RecordingCard, VirtualClock
from firmware_py.processes.audio import AudioStage
from firmware_py.processes.midi import MidiStage
from kelly_edge.contract import NOTE_DTYPE
from kelly_edge.signal.limiter import Limiter

PERIOD = 128
N_STEPS = 2_000
GROWTH_BYTES = 4_096
"""Over ``N_STEPS`` steps; a byte lost in each would be half of it."""


def audio_step(folder: Path) -> Callable[[], None]:
    """A period in and out, dsp answering; loud, so that the limiter works."""
    board = file_board(folder, PERIOD)
    samples = np.resize(np.array([1.5, -1.5], np.float32), 40 * N_STEPS)
    stage = AudioStage(
        board.ends("audio"), RecordingCard(samples, 4 * N_STEPS, PERIOD), Limiter(-1.0, 100.0), PERIOD
    )
    block = np.zeros(PERIOD, np.float32)

    def step() -> None:
        stage.step()
        while board.rings["capture"].read(block):
            board.rings["playback"].write(block)

    return step


def midi_step(folder: Path) -> Callable[[], None]:
    """Five milliseconds with a note in every fourth of them, sent to a device."""
    board, clock, note = file_board(folder, PERIOD), VirtualClock(), np.zeros((), NOTE_DTYPE)
    ports = MidiPorts(("raw:/dev/null",), lambda text: None)
    out = WatchedMidi(ports, board.cells["sounding"], clock, np.zeros((), SOUNDING_DTYPE))
    stage = MidiStage(board.ends("midi"), out, clock)
    note["duration_s"], note["velocity"] = 0.2, 80
    n = 0

    def step() -> None:
        nonlocal n
        n += 1
        clock.time_s += 0.005
        if n % 4 == 0:
            note["due_s"], note["pitch"] = clock.time_s + 0.05, 40 + n % 48
            board.rings["notes"].write(note)
        stage.step()
        out.settle()
        while board.rings["played"].read(note):
            continue

    return step


STEPS: dict[str, Callable[[Path], Callable[[], None]]] = {"audio": audio_step, "midi": midi_step}


@pytest.mark.parametrize("process", STEPS)
def test_a_step_keeps_no_memory(process: str, tmp_path: Path) -> None:
    step = STEPS[process](tmp_path)
    for _ in range(400):
        step()
    gc.collect()
    tracemalloc.start()
    for _ in range(100):
        step()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(N_STEPS):
        step()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{process}: {after - before:+} bytes in {N_STEPS} steps")
    assert after - before < GROWTH_BYTES


AUDITED = """
import sys, threading, _thread
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from test_steps import STEPS
step = STEPS[{process!r}](Path({folder!r}))
for _ in range(400):
    step()
seen, watching = [], True
sys.addaudithook(lambda event, args: seen.append(event) if watching else None)
def profiled(frame, event, arg):
    if event == "c_call" and getattr(arg, "__name__", "") in ("acquire", "acquire_lock", "print"):
        seen.append(arg.__qualname__)
    if event == "call" and frame.f_globals.get("__name__", "").startswith("logging"):
        seen.append("logging." + frame.f_code.co_name)
sys.setprofile(profiled)
for _ in range(500):
    step()
sys.setprofile(None)
watching = False
print(sorted(set(seen)))
"""
HARMLESS = {"sys.setprofile", "ctypes.set_errno", "fcntl.ioctl"}
"""FIONREAD asks a pipe how much waits."""


@pytest.mark.parametrize("process", STEPS)
def test_a_step_opens_logs_locks_and_starts_nothing(process: str, tmp_path: Path) -> None:
    script = AUDITED.format(
        tests=str(Path(__file__).parent), root=str(ROOT), process=process, folder=str(tmp_path)
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    events = set(eval(done.stdout))
    assert events <= HARMLESS, events - HARMLESS


FORBIDDEN = "trace=%file,%process,%network,socket,mmap,munmap,brk,mlock,unlink,fsync"
LOOK_S, N_LOOKS = "0.5", 8


def xruns(box: Box) -> int:
    """Counted by audio up to now, the card's disappearances with them."""
    record = new_counters("audio")
    CellView(box.run_dir / "telemetry_audio.cell", record.dtype).read(record)
    lost = box.errors.read_text().count("is not there")
    return int(record["n_capture_xruns"]) + int(record["n_playback_xruns"]) + lost


@pytest.mark.faults
@pytest.mark.parametrize("process", STEPS)
def test_the_kernel_sees_no_file_no_fork_and_no_mapping(process: str, box: Box, tmp_path: Path) -> None:
    """All threads, JACK's too, in eight looks of half a second.

    Being looked at costs xruns now and then, and starting JACK's plug-in again takes sockets: these looks
    do not count.
    """
    box.plays(20)
    n_counted = 0
    for n in range(N_LOOKS):
        log = tmp_path / f"strace{n}"
        command = ["timeout", "-s", "INT", LOOK_S, "strace", "-f", "-qq", "-o", str(log), "-e", FORBIDDEN]
        before = xruns(box)
        done = subprocess.run(
            [*command, "-p", str(box.pid(process))], capture_output=True, text=True, check=False
        )
        if "not permitted" in done.stderr or not log.exists():
            pytest.skip(f"strace may not look ({done.stderr.strip()})")
        time.sleep(0.1)
        if xruns(box) == before:
            n_counted += 1
            seen = [line for line in log.read_text().splitlines() if "+++" not in line and "SIG" not in line]
            assert seen == []
    print(f"{process}: nothing seen in {n_counted} of {N_LOOKS} looks of {LOOK_S} s")
    if not n_counted:
        pytest.skip("each look at the process cost an xrun")
