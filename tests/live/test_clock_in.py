"""MIDI clock from a real other end over JACK: tempo and phase, and what is left when it is killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rig import PATIENCE_S, Box, wait_until

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.board.map import CLOCK_DTYPE, memory_board  # noqa: E402
from firmware_py.devices.files.clock import StreamClock  # noqa: E402
from firmware_py.devices.midi.inputs import DriverTime, MidiInputs  # noqa: E402
from firmware_py.processes.clock_in import ClockInStage  # noqa: E402
from firmware_py.rehearsal.server import DummyServer  # noqa: E402

SENDER = Path(__file__).with_name("clock_sender.py")
BPM = 113.0
HEARD_S = 10.0
EXACT_S = 0.005
EVERY_S = 0.1
"""As ``control`` looks."""


@contextmanager
def sender(seconds: float) -> "Iterator[subprocess.Popen[str]]":
    """A sender whose port is there, and which waits for its time."""
    words = [sys.executable, str(SENDER), str(BPM), str(seconds)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None and popen.stdout.readline() == "ready\n"
            yield popen
        finally:
            popen.kill()


def begin(popen: "subprocess.Popen[str]") -> float:
    """Let it send; when its first pulse is due."""
    begin_s = time.monotonic() + 1.0
    assert popen.stdin is not None
    popen.stdin.write(f"{begin_s}\n")
    popen.stdin.flush()
    return begin_s


# A figure of time: a busy machine may be late (make faults).
@pytest.mark.faults
def test_tempo_and_phase_are_within_5_ms_after_10_s(server: DummyServer) -> None:
    with sender(HEARD_S + 8.0) as popen:
        inputs = MidiInputs(("jack:*kelly_test_clock*",), lambda text: None, hears_clock=True)
        board, clock = memory_board(), StreamClock(0.0)
        stage = ClockInStage(inputs, board.ends("control").cell_to_write("clock"), clock)
        record, off_s, bpm = np.zeros((), CLOCK_DTYPE), [], []
        wait_until(lambda: bool(inputs.scan() or inputs.names), PATIENCE_S)
        begin_s, bar_s = begin(popen), 240.0 / BPM
        while (now_s := time.monotonic()) < begin_s + HEARD_S + 4.0:
            stage.step()
            if now_s > begin_s + HEARD_S:
                assert board.ends("composer").cell_to_read("clock").read(record)
                assert record["is_running"]
                off_s.append((float(record["line_s"]) - begin_s + bar_s / 2) % bar_s - bar_s / 2)
                bpm.append(60.0 / float(record["beat_s"]))
            time.sleep(EVERY_S)
        print(f"phase {1e3 * np.mean(off_s):.2f} ms (from {1e3 * min(off_s):.2f} to {1e3 * max(off_s):.2f})")
        print(f"tempo {np.mean(bpm):.3f} bpm (from {min(bpm):.3f} to {max(bpm):.3f}), sent {BPM}")
        # A beat's length, too, is right to 5 ms.
        assert max(abs(60.0 / b - 60.0 / BPM) for b in bpm) < EXACT_S
        assert np.abs(off_s).max() < EXACT_S
        popen.kill()
        killed_s = time.monotonic()
        while time.monotonic() < killed_s + 1.0:
            stage.step()
            time.sleep(EVERY_S)
        assert board.ends("composer").cell_to_read("clock").read(record) and not record["is_running"]
        inputs.close()


def test_no_note_is_stuck_when_the_other_end_is_killed(server: DummyServer, tmp_path: Path) -> None:
    inputs = {"KELLY_TEST_INPUTS": "jack:*kelly_test_clock*", "KELLY_TEST_CLOCK": "yes"}
    with sender(300.0) as popen:
        box = Box(tmp_path, {**server.env, **inputs})
        try:
            box.plays()
            wait_until(lambda: "kelly_test_clock" in box.errors.read_text(), PATIENCE_S)
            begin(popen)
            time.sleep(3.0)
            popen.kill()
            box.plays_on_and_ends()
        finally:
            box.close()


@pytest.mark.parametrize("late_s", [0.0, 0.05])
def test_a_message_is_dated_by_the_driver_though_it_is_given_late(late_s: float) -> None:
    dated, rng = DriverTime(), np.random.default_rng(1)
    for number in range(500):
        sent_s = 100.0 + 0.02 * number
        time_s = dated.at(sent_s + 0.0002 + late_s * rng.random(), 0.02 if number else 0.0)
        if number > 100:
            assert time_s == pytest.approx(sent_s + 0.0002, abs=0.001)
