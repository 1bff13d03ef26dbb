"""A card at 44.1 kHz, live: blocks at the instrument's rate, and what resampling adds (``make faults``)."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_py.rehearsal.server import DummyServer, Tape, absent

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")

from firmware_py.wiring.cards import open_card
from firmware_py.wiring.realtime import may_rise
from kelly_edge.config import AudioSettings
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.latency import rate_latency, total_samples

pytestmark = pytest.mark.faults
PERIOD = 128
RATE_HZ = 44_100


@pytest.fixture
def slow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DummyServer]:
    """A server at 44.1 kHz, and this process led to it at the priority of ``audio``."""
    if why := absent():
        pytest.skip(why)
    dummy = DummyServer(tmp_path, rate_hz=RATE_HZ)
    for name, value in dummy.env.items():
        monkeypatch.setenv(name, value)
    dummy.start()
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    yield dummy
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    dummy.stop()


CLICK_EVERY, N_CLICKS = 11_025, 8
CLICK = np.hanning(65).astype(np.float32)
"""Smooth: the band of both rates carries it whole."""


def measured_delays(server: DummyServer, folder: Path, audio: AudioSettings) -> list[float]:
    """Frames from each click played to its echo through a card as the settings say."""
    samples = np.zeros((N_CLICKS + 1) * CLICK_EVERY, np.float32)
    for n in range(1, N_CLICKS + 1):
        samples[n * CLICK_EVERY : n * CLICK_EVERY + len(CLICK)] = CLICK
    card, block = open_card(audio, print), np.zeros(PERIOD, np.float32)
    is_over = threading.Event()

    def echo() -> None:
        while not is_over.is_set():
            card.wait()
            card.read(block)
            card.write(block)

    thread = threading.Thread(target=echo)
    thread.start()
    try:
        tape = Tape(server, folder, samples)
        tape.play()
        recorded = tape.recorded()
        tape.close()
    finally:
        is_over.set()
        thread.join()
        card.close()
    delays = []
    played, answered = recorded.T
    for start in np.flatnonzero((played[1:] > 0) & (played[:-1] <= 0)):
        echoed = answered[start : start + CLICK_EVERY // 2]
        if echoed.sum() > 0.9 * CLICK.sum():
            centre = np.sum(np.arange(len(echoed)) * echoed) / echoed.sum()
            delays.append(float(centre) - len(CLICK) // 2)
    return delays


def test_what_resampling_adds_is_what_check_computes(
    slow_server: DummyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = AudioSettings(card="kelly", sample_rate_hz=RATE_HZ, period=PERIOD)
    resampled = measured_delays(slow_server, tmp_path, as_it_is)
    # The same card without: what the instrument would get were it to run at 44.1 kHz.
    monkeypatch.setattr("firmware_py.wiring.cards.SAMPLE_RATE_HZ", RATE_HZ)
    plain = measured_delays(slow_server, tmp_path, as_it_is)
    computed = total_samples(rate_latency(as_it_is)) * RATE_HZ / SAMPLE_RATE_HZ
    assert min(len(plain), len(resampled)) > N_CLICKS / 2
    added = np.median(resampled) - np.median(plain)
    print(f"resampling adds {added:.2f} frames at 44.1 kHz, computed {computed:.2f}")
    assert added == pytest.approx(computed, abs=1.5)
