"""A process of the box, before it is ready."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from firmware_py.board.map import file_board
from firmware_py.devices.files.clock import shared_clock
from firmware_py.wiring.live import EXIT_LOST, BoardWatch
from kelly_edge.contract import NOTE_DTYPE

LONG_START = """
import sys, time
from firmware_py.wiring.live import run_process
from firmware_py.settings import RuntimeSettings, Settings

def build(settings, board, clock):
    print("building", flush=True)
    while True:
        time.sleep(0.05)

run_process("control", Settings(runtime=RuntimeSettings(run_dir=sys.argv[1])), {"control": build})
"""
SLEEPS = "time.sleep(0.05)"
BUSY = {
    "sleeps": SLEEPS,
    "in a library": "__import__('hashlib').pbkdf2_hmac('sha256', b'a', b'b', 2**31 - 1)",
    "catches all": """
        try:
            time.sleep(0.05)
        except BaseException:
            pass""",
}


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_asked_to_stop_while_it_is_built_leaves_at_once_and_is_no_failure(
    number: signal.Signals, busy: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LONG_START.replace(SLEEPS, BUSY[busy]), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=300.0)
    assert (process.returncode, out, err) == (0, "", "")


MOVED = """
import sys
from firmware_py.wiring.live import run_process
from firmware_py.wiring.live import Part
from firmware_py.wiring.pacing import every, nothing
from firmware_py.settings import RuntimeSettings, Settings

class Stage:
    def step(self):
        print("step", flush=True)

def build(settings, board, clock):
    return Part(Stage(), every(0.02), 1.0, nothing)

sys.exit(run_process("control", Settings(runtime=RuntimeSettings(run_dir=sys.argv[1])), {"control": build}))
"""


def test_a_process_whose_run_folder_is_lost_says_so_in_one_line_and_asks_to_be_started_again(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", MOVED, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "step\n"
        shutil.rmtree(tmp_path / "run")
        _, err = process.communicate(timeout=300.0)
    said = [line for line in err.splitlines() if "was removed or replaced" in line]
    assert process.returncode == EXIT_LOST and len(said) == 1 and "Traceback" not in err


def test_bytes_that_are_none_of_ours_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared_clock(tmp_path)
    board = file_board(tmp_path, 128)
    watch, note = BoardWatch(board, tmp_path), np.zeros((), NOTE_DTYPE)
    for _ in range(3):
        (tmp_path / "notes.ring").write_bytes(b"x" * 100)
        assert not board.rings["notes"].read(note)
        assert watch.is_whole()
    assert board.rings["notes"].n_dropped == 0
    err = capsys.readouterr().err
    assert err == f"kelly-edge: something else writes into {tmp_path} (notes): its bytes are passed over\n"


def test_a_full_run_folder_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small file system (mount)")
    try:
        (tmp_path / "ballast").write_bytes(b"x" * (shutil.disk_usage(tmp_path).free - 8_192))
        command = [sys.executable, "-m", "firmware_py", "run", "--set", f"runtime.run_dir={tmp_path}/run"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "No space left on device" in done.stderr
