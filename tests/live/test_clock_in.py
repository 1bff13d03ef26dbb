"""MIDI clock from a real other end over JACK: tempo and phase, and what is left when it is killed."""

import subprocess
import sys
import time
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


def send(seconds: float, after_s: float = 3.0) -> tuple["subprocess.Popen[str]", float]:
    """A sender whose port is there, and when its first pulse is due."""
    begin_s = time.monotonic() + after_s
    words = [sys.executable, str(SENDER), str(BPM), str(seconds), str(begin_s)]
    popen = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert popen.stdout is not None and popen.stdout.readline() == "ready\n"
    return popen, begin_s


def test_tempo_and_phase_are_within_5_ms_after_10_s(server: DummyServer) -> None:
    popen, begin_s = send(HEARD_S + 8.0)
    inputs = MidiInputs(("jack:*kelly_test_clock*",), lambda text: None, hears_clock=True)
    board, clock = memory_board(), StreamClock(0.0)
    stage = ClockInStage(inputs, board.ends("control").cell_to_write("clock"), clock)
    record, off_s, bpm = np.zeros((), CLOCK_DTYPE), [], []
    try:
        wait_until(lambda: inputs.scan() or bool(inputs.names), PATIENCE_S)
        while (now_s := time.monotonic()) < begin_s + HEARD_S + 4.0:
            stage.step()
            if now_s > begin_s + HEARD_S:
                assert board.ends("composer").cell_to_read("clock").read(record)
                assert record["is_running"]
                bar_s = 240.0 / BPM
                off_s.append((float(record["line_s"]) - begin_s + bar_s / 2) % bar_s - bar_s / 2)
                bpm.append(60.0 / float(record["beat_s"]))
            time.sleep(EVERY_S)
        print(f"phase {1e3 * np.mean(off_s):.2f} ms (from {1e3 * min(off_s):.2f} to {1e3 * max(off_s):.2f})")
        print(f"tempo {np.mean(bpm):.3f} bpm (from {min(bpm):.3f} to {max(bpm):.3f}), sent {BPM}")
        # A beat's length, too, is right to 5 ms.
        assert max(abs(60.0 / b - 60.0 / BPM) for b in bpm) < EXACT_S
        assert np.abs(off_s).max() < EXACT_S
        popen.kill()
        popen.wait()
        killed_s = time.monotonic()
        while time.monotonic() < killed_s + 1.0:
            stage.step()
            time.sleep(EVERY_S)
        assert board.ends("composer").cell_to_read("clock").read(record) and not record["is_running"]
    finally:
        popen.kill()
        popen.wait()
        inputs.close()


def test_no_note_is_stuck_when_the_other_end_is_killed(server: DummyServer, tmp_path: Path) -> None:
    popen, _ = send(120.0)
    box = Box(
        tmp_path, server.env, settings=["midi.follow_clock=true", "midi.inputs=jack:*kelly_test_clock*"]
    )
    try:
        box.plays()
        wait_until(lambda: "kelly_test_clock" in box.errors.read_text(), PATIENCE_S)
        time.sleep(3.0)
        popen.kill()
        popen.wait()
        box.plays()
        time.sleep(2.0)
        struck_before_s = time.monotonic() - 1.5
        time.sleep(1.5)
        assert not box.receiver.struck_before(struck_before_s), "every note of then was released"
        assert box.stop() == 0
        assert not box.receiver.sounding
    finally:
        popen.kill()
        popen.wait()
        box.close()


@pytest.mark.parametrize("late_s", [0.0, 0.05])
def test_a_message_is_dated_by_the_driver_though_it_is_given_late(late_s: float) -> None:
    dated, rng = DriverTime(), np.random.default_rng(1)
    for number in range(500):
        sent_s = 100.0 + 0.02 * number
        time_s = dated.at(sent_s + 0.0002 + late_s * rng.random(), 0.02 if number else 0.0)
        if number > 100:
            assert time_s == pytest.approx(sent_s + 0.0002, abs=0.001)
