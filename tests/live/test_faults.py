"""Every fault that a stage, a cable or a disk can bring: silence in time, music again in time, nothing left.

Slow (a box is started for each): ``make faults``.
"""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")
rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from rig import (  # noqa: E402
    BACK_WITHIN_S,
    PATIENCE_S,
    PROCESSES,
    SILENT_WITHIN_S,
    Box,
    JackReceiver,
    assert_nothing_is_left,
    children,
    round_trips,
    wait_until,
    zombies,
)

from firmware_py.board.pipes import CellView  # noqa: E402
from firmware_py.board.telemetry import as_dict, new_counters  # noqa: E402
from firmware_py.rehearsal.server import DummyServer, Tape  # noqa: E402
from firmware_py.settings import Settings  # noqa: E402
from kelly_edge.latency import algorithmic_latency, card_latency, total_samples  # noqa: E402

pytestmark = pytest.mark.faults
STOPPED_S = 2.0
SILENCING = ("midi", "composer")
"""Processes without which no note may sound."""


def stop_cleanly(box: Box) -> None:
    """It stops with code 0 and leaves nothing."""
    assert not zombies(box.popen.pid)
    pids = children(box.popen.pid)
    assert box.stop() == 0
    assert_nothing_is_left(box, pids)


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_stopped_for_two_seconds(box: Box, process: str) -> None:
    box.plays(20)
    silences = []
    for _ in range(2):
        wait_until(lambda: len(box.receiver.sounding) >= 2, 3)
        pid = box.pid(process)
        os.kill(pid, signal.SIGSTOP)
        stopped_s = time.monotonic()
        if process in SILENCING:
            silences.append(wait_until(lambda: not box.receiver.sounding, SILENT_WITHIN_S))
        time.sleep(max(0.0, stopped_s + STOPPED_S - time.monotonic()))
        os.kill(pid, signal.SIGCONT)
        box.plays(BACK_WITHIN_S)
        assert box.pid(process) == pid
    time.sleep(0.6)
    assert not box.receiver.struck_before(time.monotonic() - 0.6)
    if process != "audio":
        assert box.receiver.n_struck_twice == 0
    counted = counters_now(box, "midi")["n_composer_stalls"], counters_now(box, "guardian")["n_silences"]
    assert counted == (2 * (process == "composer"), 2 * (process == "midi"))
    stop_cleanly(box)
    print(f"{process} stopped twice for {STOPPED_S} s; silent after {[f'{s:.3f}' for s in silences]} s")


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_killed(box: Box, process: str) -> None:
    box.plays(20)
    silences, backs = [], []
    for _ in range(3):
        wait_until(lambda: len(box.receiver.sounding) >= 2, 3)
        pid = box.pid(process)
        os.kill(pid, signal.SIGKILL)
        killed_s = time.monotonic()
        if process in SILENCING:
            old = lambda: not box.receiver.struck_before(killed_s)  # noqa: E731, B023
            silences.append(wait_until(old, SILENT_WITHIN_S))
        wait_until(lambda: box.pid(process) != pid, BACK_WITHIN_S)  # noqa: B023
        box.plays(BACK_WITHIN_S)
        backs.append(time.monotonic() - killed_s)
        assert backs[-1] < BACK_WITHIN_S
    assert set(children(box.popen.pid)) == set(PROCESSES)
    stop_cleanly(box)
    seconds = [f"{s:.3f}" for s in silences], [f"{s:.2f}" for s in backs]
    print(f"{process} killed three times; silent after {seconds[0]} s, music after {seconds[1]} s")


def test_the_sound_server_killed_and_back(box: Box, server: DummyServer) -> None:
    box.plays(20)
    server.kill()
    for _ in range(3):
        box.plays(BACK_WITHIN_S)
        time.sleep(0.5)
    assert "is not there" in box.errors.read_text()
    server.start()
    back_s = wait_until(lambda: "kelly_edge" in server.ports(), BACK_WITHIN_S)
    box.plays(BACK_WITHIN_S)
    print(f"sound is back {back_s:.2f} s after the server")
    stop_cleanly(box)


def test_a_receiver_that_goes_and_comes_back(box: Box) -> None:
    box.plays(20)
    for _ in range(2):
        box.receiver.hang_up()
        time.sleep(1.0)
        box.receiver.answer()
        # What sounded in a device that was unplugged does not sound when it is plugged in.
        back_s = box.plays(BACK_WITHIN_S)
        print(f"the receiver is played to {back_s:.2f} s after it is back")
    stop_cleanly(box)


def test_a_slow_receiver_hears_every_note_end_though_midi_is_killed(
    server: DummyServer, tmp_path: Path
) -> None:
    box = Box(tmp_path, server.env, bytes_per_s=3_125.0)
    try:
        box.plays(20)
        for _ in range(3):
            wait_until(lambda: len(box.receiver.sounding) >= 2, 3)
            os.kill(box.pid("midi"), signal.SIGKILL)
            killed_s = time.monotonic()
            wait_until(lambda: not box.receiver.struck_before(killed_s), SILENT_WITHIN_S)  # noqa: B023
            box.plays(BACK_WITHIN_S)
        stop_cleanly(box)
    finally:
        box.close()


def test_a_receiver_that_stands_still_hears_every_note_end_when_it_goes_on(box: Box) -> None:
    box.plays(20)
    box.receiver.stand_still(True)
    time.sleep(2.0)
    os.kill(box.pid("midi"), signal.SIGKILL)
    time.sleep(0.5)
    box.receiver.stand_still(False)
    box.plays(BACK_WITHIN_S)
    time.sleep(0.6)
    assert not box.receiver.struck_before(time.monotonic() - 0.6)
    stop_cleanly(box)


def test_an_instrument_on_jack_is_silent_when_composer_or_midi_is_killed_and_when_the_box_stops(
    server: DummyServer, tmp_path: Path
) -> None:
    receiver = JackReceiver()
    box = Box(tmp_path, server.env, output="jack:*kelly_test_piano*")
    try:
        wait_until(lambda: len(receiver.sounding) >= 2, 20)
        for process in ("composer", "midi", "midi", "midi"):
            os.kill(box.pid(process), signal.SIGKILL)
            killed_s = time.monotonic()
            silent_s = wait_until(lambda: not receiver.struck_before(killed_s), SILENT_WITHIN_S)  # noqa: B023
            back_s = wait_until(lambda: len(receiver.sounding) >= 2, BACK_WITHIN_S)
            print(f"JACK: silent {silent_s:.3f} s after {process} was killed, music {back_s:.1f} s later")
        assert box.stop() == 0
        wait_until(lambda: not receiver.sounding, SILENT_WITHIN_S)
    finally:
        box.close()
        receiver.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small file system (mount)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_entries_of_the_log_and_no_music_until_there_is_room(
    server: DummyServer, tmp_path: Path, small_disk: Path
) -> None:
    box, ballast = Box(tmp_path, {**server.env, "XDG_STATE_HOME": str(small_disk)}), small_disk / "ballast"

    def logged_s() -> list[float]:
        paths = sorted(small_disk.rglob("*.jsonl"))
        # Whole lines: the last may be on its way.
        texts = [line for path in paths for line in path.read_text().split("\n")[:-1]]
        return [entry["due_s"] for entry in map(json.loads, texts) if entry["kind"] == "note"]

    def n_told() -> int:
        return box.errors.read_text().count("loses entries (No space left on device")

    try:
        box.plays(PATIENCE_S)
        wait_until(lambda: len(logged_s()) > 10, PATIENCE_S)
        pid = box.pid("control")
        for times in (1, 2):
            ballast.write_bytes(b"x" * shutil.disk_usage(small_disk).free)
            wait_until(lambda: n_told() == times, PATIENCE_S)  # noqa: B023
            last_s = logged_s()[-1]
            for _ in range(30):
                box.plays(BACK_WITHIN_S)
            assert n_told() == times and logged_s()[-1] == last_s
            ballast.unlink()
            # The disk's room is looked at once a minute.
            wait_until(lambda: logged_s()[-1] > last_s + 2.0, 60.0 + PATIENCE_S)  # noqa: B023
        assert box.pid("control") == pid
        stop_cleanly(box)
    finally:
        box.close()
    played_s = logged_s()
    assert played_s == sorted(played_s)


def test_setting_the_clock_by_an_hour_moves_no_note(server: DummyServer, tmp_path: Path) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc here (apt-get install build-essential)")
    shim, offset = tmp_path / "wall_clock.so", tmp_path / "offset"
    source = str(Path(__file__).with_name("wall_clock.c"))
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(shim), source, "-ldl"], check=True)
    offset.write_text("0")
    fake = {"LD_PRELOAD": str(shim), "KELLY_WALL_CLOCK": str(offset)}
    ask = [sys.executable, "-c", "import time; print(time.time())"]
    now_s = float(subprocess.run(ask, env={**os.environ, **fake}, capture_output=True, check=True).stdout)
    offset.write_text("3600")
    later_s = float(subprocess.run(ask, env={**os.environ, **fake}, capture_output=True, check=True).stdout)
    assert 3_600 <= later_s - now_s < 3_700
    offset.write_text("0")
    box = Box(tmp_path, {**server.env, **fake})
    try:
        box.plays(20)
        time.sleep(0.5)
        before = counters_now(box, "midi")
        for step in ("3600", "-3600"):
            time.sleep(1.0)
            offset.write_text(step)
            box.plays(BACK_WITHIN_S)
        time.sleep(1.0)
        after = counters_now(box, "midi")
        stop_cleanly(box)
    finally:
        box.close()
    due = [e["due_s"] for e in box.session() if e["kind"] == "note"]
    assert all(abs(b - a - 0.1) < 1e-6 for a, b in itertools.pairwise(due))
    ons = [time_s for time_s, status, *_ in box.receiver.received if status & 0xF0 == 0x90]
    gaps = [b - a for a, b in itertools.pairwise(ons)]
    assert 0.0 < min(gaps) <= max(gaps) < 0.3
    assert all(after[name] == before[name] for name in ("n_stale", "n_muted", "n_composer_stalls"))


def test_the_round_trip_is_what_check_computes_before_and_after_xruns(
    box: Box, server: DummyServer, tmp_path: Path
) -> None:
    every, n_xruns = 9_600, 4
    impulses = np.zeros(8 * 48_000, np.float32)
    impulses[every // 2 :: every] = 0.5
    box.plays(20)
    tape = Tape(server, tmp_path, impulses)
    try:
        time.sleep(0.5)
        before = counters_now(box)
        tape.play()
        for _ in range(n_xruns):
            time.sleep(1.5)
            os.kill(box.pid("audio"), signal.SIGUSR1)
        time.sleep(1.0)
        recorded = tape.recorded()
    finally:
        tape.close()
    after = counters_now(box)
    stop_cleanly(box)
    found = [n for n in round_trips(recorded, every) if n is not None]
    # The stand-in's voice answers at once.
    settings = Settings()
    expected = total_samples((*algorithmic_latency(0), card_latency(settings.audio)))
    print(f"round trip {sorted(set(found))} samples in {len(found)} impulses; check computes {expected}")
    assert len(found) > 30
    assert np.median(found) == expected
    # A loaded server passes a direction over now and then; the next periods set that right.
    assert np.mean(np.array(found) == expected) > 0.9
    assert found[-1] == expected
    risen = {name: after[name] - before[name] for name in ("n_capture_xruns", "n_playback_xruns")}
    print(f"{n_xruns} forced, counted {risen}")
    assert all(n_xruns <= n <= n_xruns + 2 for n in risen.values())


def counters_now(box: Box, process: str = "audio") -> dict[str, int]:
    """What it counted up to now, read as the monitor does."""
    record = new_counters(process)
    cell = CellView(box.run_dir / f"telemetry_{process}.cell", record.dtype)
    assert cell.read(record)
    return as_dict(record)
