"""The five processes live on a dummy sound server: they play, and no note hangs whatever dies.

``dsp`` and ``composer`` are stand-ins (``standins.py``); everything else is what ships.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from rig import (
    PATIENCE_S,
    PROCESSES,
    ROOT,
    SILENT_WITHIN_S,
    STANDINS,
    Box,
    assert_nothing_is_left,
    children,
    wait_until,
)


def test_it_starts_plays_stops_and_leaves_nothing(box: Box) -> None:
    first_note_s = box.plays(15)
    time.sleep(6)
    pids = children(box.popen.pid)
    assert set(pids) == set(PROCESSES)
    assert len(os.listdir(box.run_dir)) > 15
    (ready,) = (line for line in box.errors.read_text().splitlines() if "ready after" in line)
    assert Path(ready.rpartition("the session is in ")[2]).suffix == ".jsonl"
    assert Path(ready.rpartition("the session is in ")[2]).is_file()
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
    steps = [round((b - a) / 0.1, 6) for a, b in itertools.pairwise(due)]
    assert all(step >= 1 and step == int(step) for step in steps)
    # One that is missing was late, while the machine did something else, and was counted.
    assert sum(steps) - len(steps) <= counters["midi"]["n_stale"] + counters["midi"]["n_muted"]
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
    assert "notes are released" in box.errors.read_text()
    pids = children(box.popen.pid)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)


def test_music_is_back_when_any_other_process_is_killed(box: Box) -> None:
    box.plays(15)
    for process in ("control", "audio", "dsp", "composer"):
        pid = box.pid(process)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: box.pid(process) != pid, PATIENCE_S)  # noqa: B023
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
