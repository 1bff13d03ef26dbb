"""How fast cards run, how soon a lost one is noticed and is back, how late notes leave: ``make faults``.

Other work on the machine may spoil a measurement, so each is taken several times and most must hold. What
must hold on a busy machine too is in the other files.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig import Box, wait_until
from rig import portaudio_client as client

from firmware_py.rehearsal.server import DummyServer, absent

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from firmware_py.devices.sound.absent_card import HANGS_AFTER_S, REOPEN_EVERY_S
from firmware_py.devices.sound.alsa import AlsaCard
from firmware_py.devices.sound.resampled_card import ResampledCard
from firmware_py.wiring.cards import open_card
from firmware_py.wiring.realtime import may_rise
from kelly_edge.config import AudioSettings
from kelly_edge.contract import SAMPLE_RATE_HZ

pytestmark = pytest.mark.faults
ROOT = Path(__file__).resolve().parents[2]
PERIOD = 128
PERIOD_S = PERIOD / SAMPLE_RATE_HZ
N_TRIES = 5
N_STALLS = 3


@pytest.fixture(autouse=True)
def realtime() -> Any:
    """As the audio process runs, where that is granted."""
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    yield
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def mostly(holds: Callable[[], Any]) -> None:
    """``holds`` asserts; it may fail in a minority of the tries."""
    faults: list[AssertionError] = []
    for _ in range(N_TRIES):
        try:
            holds()
        except AssertionError as fault:
            faults.append(fault)
    if len(faults) > N_TRIES // 2:
        raise faults[0]


def run(card: Any, n_periods: int) -> float:
    """Echo what is heard; returns the seconds it took."""
    block, begin_s = np.zeros(PERIOD, np.float32), time.monotonic()
    for _ in range(n_periods):
        card.wait()
        card.read(block)
        card.write(block)
    return time.monotonic() - begin_s


def test_alsa_runs_at_the_pace_of_the_card(server: Any) -> None:
    card = AlsaCard("kelly", PERIOD, 3, print)
    run(card, 100)

    def at_pace() -> None:
        assert run(card, 375) == pytest.approx(375 * PERIOD_S, abs=0.15)

    mostly(at_pace)
    card.close()


def test_alsa_waits_for_an_absent_card_at_the_pace_of_the_clock() -> None:
    card = AlsaCard("plughw:CARD=Nobody", PERIOD, 3, print)

    def at_pace() -> None:
        assert run(card, 187) == pytest.approx(187 * PERIOD_S, abs=0.1)

    mostly(at_pace)


def test_alsa_counts_no_xrun_but_those_of_stalls(server: Any) -> None:
    card = AlsaCard("kelly", PERIOD, 3, print)

    def as_many() -> None:
        before = card.n_capture_xruns
        for _ in range(N_STALLS):
            time.sleep(0.1)
            run(card, 100)
        assert N_STALLS <= card.n_capture_xruns - before <= N_STALLS + 1

    run(card, 100)
    mostly(as_many)
    card.close()


def test_a_card_at_44100_runs_in_step_at_the_instrument_s_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := absent():
        pytest.skip(why)
    dummy = DummyServer(tmp_path, rate_hz=44_100)
    for name, value in dummy.env.items():
        monkeypatch.setenv(name, value)
    dummy.start()
    card = open_card(AudioSettings(card="kelly", sample_rate_hz=44_100, period=PERIOD), print)
    assert isinstance(card, ResampledCard) and isinstance(card._card, AlsaCard)
    alsa = card._card
    run(card, 100)

    def at_pace() -> None:
        before = card.n_capture_xruns + card.n_playback_xruns
        assert run(card, 750) == pytest.approx(750 * PERIOD_S, abs=0.15)
        # A card out of step has one every few periods.
        assert card.n_capture_xruns + card.n_playback_xruns - before <= 3

    mostly(at_pace)
    assert alsa.n_out_of_step <= 3 * N_TRIES
    card.close()
    dummy.stop()


def test_portaudio_keeps_pace_and_counts_no_xrun_but_those_of_stalls(server: Any) -> None:
    def as_it_should() -> None:
        assert client("pace")["taken_s"] == pytest.approx(375 * PERIOD_S, abs=0.15)
        assert client("absent", "portaudio:Nobody")["taken_s"] == pytest.approx(187 * PERIOD_S, abs=0.15)
        assert N_STALLS <= client("stalls")["n_xruns"] <= N_STALLS + 1

    mostly(as_it_should)


def test_portaudio_notices_a_server_killed_and_one_that_comes(server: Any) -> None:
    def soon() -> None:
        try:
            assert client("killed", meanwhile=server.kill)["taken_s"] < HANGS_AFTER_S + 0.5
        finally:
            outcome = client("comes", meanwhile=server.start)
        assert outcome["taken_s"] < REOPEN_EVERY_S + 1.0

    mostly(soon)


def test_notes_leave_within_a_millisecond_and_the_box_stops_within_three_seconds(box: Box) -> None:
    def in_time() -> None:
        if box.popen.poll() is not None:
            box.popen = box.start()
        box.plays()
        before = box.receiver.n_note_ons
        wait_until(lambda: box.receiver.n_note_ons > before + 40, 60)
        begin_s = time.monotonic()
        assert box.stop() == 0
        assert time.monotonic() - begin_s < 3
        times = [e for e in box.session() if e["kind"] == "times" and e["of"] == "send_error"]
        assert times[-1]["p50_ms"] < 1.0

    mostly(in_time)
