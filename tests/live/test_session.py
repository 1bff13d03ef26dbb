"""Sessions on the live box: begun, ended and told of by command, each with a log of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from rig import PATIENCE_S, ROOT, Box, children, wait_until

from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.rehearsal.server import DummyServer, Tape
from kelly_edge.errors import DeviceError


def command(box: Box, *words: str) -> subprocess.CompletedProcess[str]:
    """One of the command line's words to the box."""
    return subprocess.run(
        [sys.executable, "-m", "firmware_py", *words, "--set", f"runtime.run_dir={box.run_dir}"],
        env={**box.env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )


def said(box: Box, *words: str) -> dict[str, Any]:
    """What the command line answers."""
    done = command(box, *words, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def logs(box: Box) -> list[list[dict[str, Any]]]:
    """The entries of each file, oldest first."""
    files = sorted((box.state / "kelly-edge" / "sessions").glob("*.jsonl"))
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in files]


def test_start_stop_and_status_by_command_and_a_log_for_each_session(
    server: DummyServer, tmp_path: Path
) -> None:
    box = Box(tmp_path, {**server.env, "KELLY_TEST_BEGIN": "hand"})
    try:
        box.plays(PATIENCE_S)
        wait_until(lambda: "ready after" in box.errors.read_text(), PATIENCE_S)
        assert "sessions will be kept in" in box.errors.read_text()
        assert said(box, "session", "status") == {
            "session": "none; silent until one begins",
            "programme": "mirror",
        }
        assert not logs(box)
        words = ("--programme", "calm-in-15", "--name", "M7", "--note", "second visit")
        assert said(box, "session", "start", *words) == {
            "session": "number 1 begins",
            "name": "M7",
            "note": "second visit",
        }
        wait_until(lambda: bool(logs(box)), PATIENCE_S)
        status = said(box, "session", "status")
        assert (status["session"], status["number"], status["programme"]) == ("on", 1, "calm-in-15")
        log = Path(status["log"])
        assert log.is_file() and log.stat().st_mode & 0o777 == 0o600
        assert said(box, "monitor", "--once")["session"]["name"] == "M7"
        time.sleep(1.0)
        assert said(box, "session", "stop") == {
            "session": "number 1 ends; the box is silent until one begins"
        }
        assert said(box, "session", "start") == {"session": "number 2 begins"}
        wait_until(lambda: len(logs(box)) == 2, PATIENCE_S)
        refused = command(box, "session", "start", "--programme", "calm-in-16")
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert "did you mean calm-in-15?" in refused.stderr
        assert box.stop() == 0
        first, second = logs(box)
        assert {n: first[0][n] for n in ("kind", "number", "name", "note", "programme")} == {
            "kind": "session",
            "number": 1,
            "name": "M7",
            "note": "second visit",
            "programme": "calm-in-15",
        }
        assert second[0]["number"] == 2 and "name" not in second[0]
        assert first[-1]["kind"] == "counters" and any(entry["kind"] == "note" for entry in first)
    finally:
        box.close()


@pytest.mark.faults
def test_stop_ends_the_music_with_its_last_chord_though_somebody_plays_on(
    server: DummyServer, tmp_path: Path
) -> None:
    box = Box(tmp_path, server.env, stand_ins=False)
    samples = np.tile(read_audio(demo_recording()).samples, 3)
    tape = None
    try:
        wait_until(lambda: "ready after" in box.errors.read_text(), PATIENCE_S)
        tape = Tape(server, tmp_path, samples.astype(np.float32))
        tape.play()
        box.plays(PATIENCE_S)
        # It has begun by itself.
        wait_until(lambda: said(box, "session", "status")["session"] == "on", PATIENCE_S)
        time.sleep(10.0)
        said(box, "session", "stop")
        time.sleep(20.0)
        n_notes = box.receiver.n_note_ons
        time.sleep(10.0)
        assert box.receiver.n_note_ons == n_notes and not box.receiver.sounding
        said(box, "session", "start")
        box.plays(PATIENCE_S)
    finally:
        if tape is not None:
            tape.close()
        box.close()


def is_started_again(box: Box, process: str, before: int) -> bool:
    """Whether another process of that name runs."""
    return children(box.popen.pid).get(process, before) != before


def is_connected(tape: Tape) -> bool:
    """Whether the box hears the tape again."""
    try:
        tape.connect()
    except DeviceError:
        return False
    return True


@pytest.mark.faults
def test_a_session_in_which_every_process_was_killed_is_replayed_whole(
    server: DummyServer, tmp_path: Path
) -> None:
    box = Box(tmp_path, server.env, stand_ins=False)
    samples = np.tile(read_audio(demo_recording()).samples, 12)
    tape = None
    try:
        # Its functions are compiled where that was not done yet.
        wait_until(lambda: "ready after" in box.errors.read_text(), 4 * PATIENCE_S)
        tape = Tape(server, tmp_path, samples.astype(np.float32))
        tape.play()
        wait_until(lambda: said(box, "session", "status")["session"] == "on", PATIENCE_S)
        box.plays(PATIENCE_S)
        for process in ("control", "composer", "dsp", "midi", "audio", "guardian", "control"):
            before = box.pid(process)
            os.kill(before, signal.SIGKILL)
            wait_until(partial(is_started_again, box, process, before), PATIENCE_S)
            if process == "audio":
                wait_until(lambda: is_connected(tape), PATIENCE_S)
            box.plays(PATIENCE_S)
            time.sleep(3.0)
        said(box, "session", "stop")
        wait_until(lambda: not said(box, "session", "status").get("log"), PATIENCE_S)
        assert box.stop() == 0
        files = sorted(path.name for path in (box.state / "kelly-edge" / "sessions").iterdir())
        assert len(files) == 3 and len({name.rpartition("-")[0] for name in files}) == 1
        done = command(box, "replay", "--json")
        print(done.stdout)
        found = json.loads(done.stdout)
        assert done.returncode == 0 and found["is_identical"] and found["notices"] == []
        assert found["n_played_found"] == found["n_played"] > 0
    finally:
        if tape is not None:
            tape.close()
        box.close()
