"""A process of the box, before it is ready."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

LONG_START = """
import sys, time
from firmware_py.live import run_process
from kelly_edge.config import RuntimeSettings, Settings

def build(settings, board, clock):
    print("building", flush=True)
    while True:
        time.sleep(0.05)

run_process("control", Settings(runtime=RuntimeSettings(run_dir=sys.argv[1])), {"control": build})
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_asked_to_stop_while_it_is_built_leaves_at_once_and_is_no_failure(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LONG_START, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=120.0)
    assert (process.returncode, out, err) == (0, "", "")
