"""The sound server without hardware."""

import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.rehearsal.server import absent


def test_servers_that_were_killed_leave_room_for_the_next(tmp_path: Path) -> None:
    if why := absent():
        pytest.skip(why)
    killed = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from firmware_py.rehearsal.server import DummyServer\n"
        "server = DummyServer(Path(sys.argv[1]))\n"
        "server.start()\n"
        "os.kill(server.pid, 9)\n"
        "os.waitpid(server.pid, 0)\n"
    )
    # One more than JACK knows.
    for n in range(9):
        done = subprocess.run(
            [sys.executable, "-c", killed, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{n}: {done.stderr}"
