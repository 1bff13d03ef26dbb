"""Ableton Link with a real other end on this machine: tempo and phase, and what is left when it is killed."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from rig import PATIENCE_S, Box, wait_until

pytest.importorskip("link", reason="LinkPython-extern is not installed; make test")

from firmware_py.board.map import CLOCK_DTYPE, memory_board
from firmware_py.devices.files.clock import StreamClock
from firmware_py.devices.link_session import LinkSession
from firmware_py.processes.link_in import LinkStage
from firmware_py.rehearsal.server import DummyServer

PEER = Path(__file__).with_name("link_peer.py")
BPM = 113.0
HEARD_S = 10.0
EXACT_S = 0.005
EVERY_S = 0.1
"""As ``control`` looks."""
FORGOTTEN_S = 30.0
"""Link forgets who does not answer after 5 s of its own; a busy machine is slow to."""


class Peer:
    """The other end."""

    def __init__(self, popen: "subprocess.Popen[str]") -> None:
        self.popen = popen

    def say(self) -> tuple[float, float, float, int]:
        """Its CLOCK_MONOTONIC, beats since the bar line, tempo, and number of others."""
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        time_s, phase, bpm, n_others = self.popen.stdout.readline().split()
        return float(time_s), float(phase), float(bpm), int(n_others)


@contextmanager
def peer(bpm: float = BPM) -> Iterator[Peer]:
    """A peer that is in the session."""
    words = [sys.executable, str(PEER), str(bpm)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as popen:
        try:
            assert popen.stdout is not None and popen.stdout.readline() == "ready\n"
            yield Peer(popen)
        finally:
            popen.kill()


# A figure of time: a busy machine may be late (make faults).
@pytest.mark.faults
def test_tempo_and_phase_are_within_5_ms_after_10_s() -> None:
    with peer() as other:
        # The session is the peer's: it was there before us.
        time.sleep(2.0)
        board, clock = memory_board(), StreamClock(0.0)
        session = LinkSession(120.0)
        stage = LinkStage(session, board.ends("control"), clock)
        record, off_s, beats_s = np.zeros((), CLOCK_DTYPE), [], []
        try:
            wait_until(lambda: session.beat() is not None, PATIENCE_S)
            joined_s = time.monotonic()
            while (now_s := time.monotonic()) < joined_s + HEARD_S + 3.0:
                stage.step()
                if now_s > joined_s + HEARD_S:
                    assert board.ends("composer").cell_to_read("clock").read(record) and record["is_running"]
                    at_s, phase, bpm, n_others = other.say()
                    assert n_others == 1
                    bar_s = 240.0 / bpm
                    off = float(record["line_s"]) - (at_s - phase * 60.0 / bpm)
                    off_s.append((off + bar_s / 2) % bar_s - bar_s / 2)
                    beats_s.append(float(record["beat_s"]))
                time.sleep(EVERY_S)
            print(f"phase {1e3 * np.mean(off_s):.3f} ms ({1e3 * min(off_s):.3f} to {1e3 * max(off_s):.3f})")
            print(f"tempo {60.0 / np.mean(beats_s):.3f} bpm, the peer's {BPM}")
            assert np.abs(off_s).max() < EXACT_S
            assert np.abs(np.array(beats_s) - 60.0 / BPM).max() < EXACT_S
            other.popen.kill()

            def is_forgotten() -> bool:
                stage.step()
                return bool(
                    board.ends("composer").cell_to_read("clock").read(record) and not record["is_running"]
                )

            wait_until(is_forgotten, FORGOTTEN_S)
        finally:
            session.close()


def test_whoever_joins_the_box_alone_begins_at_its_tempo() -> None:
    session = LinkSession(120.0)
    try:
        session.propose(84.0)
        # Ours is the older session by more than Link's half second.
        time.sleep(2.0)
        with peer(150.0) as other:
            wait_until(lambda: session.beat() is not None and other.say()[3] == 1, PATIENCE_S)
            wait_until(lambda: abs(other.say()[2] - 84.0) < 0.01, PATIENCE_S)
            # In company the box changes nothing.
            session.propose(99.0)
            time.sleep(0.5)
            assert other.say()[2] == pytest.approx(84.0, abs=0.01)
    finally:
        session.close()


def test_no_note_is_stuck_when_the_other_end_is_killed(server: DummyServer, tmp_path: Path) -> None:
    with peer() as other:
        box = Box(tmp_path, server.env, settings=["midi.follow_link=true"])
        try:
            box.plays()
            wait_until(lambda: other.say()[3] == 1, PATIENCE_S)
            time.sleep(2.0)
            other.popen.kill()
            box.plays_on_and_ends()
        finally:
            box.close()
