"""The sound card through PortAudio: the claims of ``test_alsa.py``, on the same server."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import portaudio_client as client

try:
    import sounddevice  # noqa: F401
except (ImportError, OSError) as error:  # the module without its library is an OSError
    pytest.skip(f"no PortAudio here ({error})", allow_module_level=True)

from firmware_py.devices.sound.portaudio import Rings
from kelly_edge.contract import SAMPLE_RATE_HZ

ROOT = Path(__file__).resolve().parents[2]
PERIOD_S = 128 / SAMPLE_RATE_HZ
N_STALLS = 3


@pytest.fixture
def jack(server: Any) -> Any:
    probe = "import sounddevice; print([a['name'] for a in sounddevice.query_hostapis() if a['devices']])"
    if b"JACK" not in subprocess.check_output([sys.executable, "-c", probe]):
        pytest.skip("this PortAudio has no JACK")
    return server


# --- with a server -----------------------------------------------------------------------


def test_each_stall_is_counted_and_sound_goes_on(jack: Any) -> None:
    outcome = client("stalls")
    # A busy machine may add xruns of its own; none may be missed. ``test_pace`` looks for too many.
    assert outcome["n_xruns"] >= N_STALLS
    assert outcome["lost"] == []


def test_an_absent_card_is_waited_for_in_silence_and_no_faster_than_the_clock(jack: Any) -> None:
    outcome = client("absent", "portaudio:Nobody")
    assert outcome["taken_s"] > 187 * PERIOD_S - 0.15
    assert outcome["peak"] == 0.0
    assert len(outcome["warnings"]) == 1
    assert "audio.card" in outcome["warnings"][0]


def test_a_rate_the_card_has_not_is_refused_in_one_line(jack: Any) -> None:
    error = client("refused", "44100")["error"]
    assert error.startswith("sound card system refuses 44100 Hz in periods of 128")
    assert "\n" not in error


def test_a_server_killed_is_seen_at_once_and_the_process_started_anew_finds_it_back(jack: Any) -> None:
    outcome = client("killed", meanwhile=jack.kill)
    assert outcome["was_there"]
    assert len(outcome["lost"]) == 1
    assert "gave no sound" in outcome["lost"][0]
    outcome = client("comes", meanwhile=jack.start)
    assert not outcome["was_there"]
    assert "is there" in outcome["warnings"][-1]


def test_a_lost_card_ends_the_process_with_one_line() -> None:
    code = "from firmware_py.devices.sound.portaudio import end_process; end_process('gone')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "kelly-edge: gone\n")


# --- the rings, by hand ------------------------------------------------------------------


class Hand:
    """Calls back as PortAudio would, with samples that say which period they are of."""

    def __init__(self, n_periods: int = 3) -> None:
        self.rings = Rings(4, n_periods)
        self.n_called = 0
        self.played: list[float] = []

    def call_back(self) -> None:
        self.n_called += 1
        out = np.zeros((4, 2), np.float32)
        self.rings.exchange(np.full(4, self.n_called, np.float32), out)
        assert np.all(out == out[0, 0])
        self.played.append(float(out[0, 0]))

    def answer(self) -> None:
        """What the loop does with a period."""
        block = np.zeros(4, np.float32)
        if self.rings.is_out_of_step:
            self.rings.ask_for_reset()
        while self.rings.n_waiting:
            self.rings.read(block)
            self.rings.write(block)


@pytest.mark.parametrize("n_periods", [2, 3, 4])
def test_the_delay_is_the_same_from_the_start_and_after_every_stall(n_periods: int) -> None:
    hand = Hand(n_periods)
    for n_stalled in (0, 5, 1, 40, 2):
        for _ in range(n_stalled):
            hand.call_back()
        for _ in range(30):
            hand.answer()
            hand.call_back()
        assert hand.played[-1] == hand.n_called - n_periods


def test_a_short_stall_costs_nothing_and_a_long_one_one_xrun_each_way() -> None:
    hand = Hand(3)
    hand.answer()
    for _ in range(10):
        hand.call_back()
        hand.answer()
    for _ in range(3):
        hand.call_back()
    hand.answer()
    assert (hand.rings.n_capture_xruns, hand.rings.n_playback_xruns) == (0, 0)
    for _ in range(20):
        hand.call_back()
    assert (hand.rings.n_capture_xruns, hand.rings.n_playback_xruns) == (1, 1)


def test_nothing_is_heard_or_counted_before_the_loop_begins() -> None:
    hand = Hand()
    for _ in range(10):
        hand.call_back()
    assert hand.rings.n_waiting == 0
    assert (hand.rings.n_capture_xruns, hand.rings.n_playback_xruns) == (0, 0)
    assert hand.played == [0.0] * 10
