"""The sound server without hardware."""

import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.rehearsal.server import DummyServer, absent


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


def test_a_tool_that_does_not_reach_a_running_server_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := absent():
        pytest.skip(why)
    programs = tmp_path / "bin"
    programs.mkdir()
    third_time = f"echo >> {tmp_path}/asked; [ $(wc -l < {tmp_path}/asked) -gt 2 ]"
    lists = f"{third_time} && echo system:playback_1 || echo server is not running >&2"
    for name, does in (("jackd", "exec sleep 60"), ("jack_lsp", lists)):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    dummy = DummyServer(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    dummy.start()
    (tmp_path / "asked").unlink()
    assert dummy.ports() == "system:playback_1\n"
    assert len((tmp_path / "asked").read_text()) == 3
    dummy.stop()
    (tmp_path / "asked").unlink()
    assert dummy.ports() == ""
