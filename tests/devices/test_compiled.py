"""A damaged cache of compiled code is removed, not died of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.devices.files.compiled_cache import forget_damaged

ASK = """
import numpy as np
from kelly_edge.signal.highpass import N_BIQUADS, high_pass, high_pass_sections
from kelly_edge.signal.pitch import PitchTracker
high_pass(np.zeros(128), high_pass_sections(24_000), np.zeros((N_BIQUADS, 2)))
PitchTracker().push(np.zeros(256, np.float32))
"""


def ask(folder: Path) -> int:
    command = [sys.executable, "-c", ASK]
    env = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    return subprocess.run(command, env=env, capture_output=True, timeout=300, check=False).returncode


@pytest.mark.slow
def test_cut_files_are_removed_told_of_and_compiled_again(tmp_path: Path) -> None:
    told: list[str] = []
    assert ask(tmp_path) == 0
    assert forget_damaged(tmp_path, told.append) == 0 and told == []
    [index], [data] = tmp_path.rglob("highpass.high_pass*.nbi"), tmp_path.rglob("pitch._hear*.nbc")
    index.write_bytes(b"")
    data.write_bytes(data.read_bytes()[:1_000])
    assert ask(tmp_path) != 0
    assert forget_damaged(tmp_path, told.append) == 2
    assert len(told) == 1 and "compiled again" in told[0]
    assert ask(tmp_path) == 0
    assert forget_damaged(tmp_path, told.append) == 0
