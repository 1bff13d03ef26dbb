"""A card at 44.1 kHz: a block is always ready, and the delay is the computed one to the sample."""

import json

import numpy as np
import pytest

from firmware_py.__main__ import main
from firmware_py.devices.sound.resampled_card import ResampledCard
from kelly_edge.config import AudioSettings
from kelly_edge.contract import PERIOD_SIZES, SAMPLE_RATE_HZ
from kelly_edge.latency import rate_latency, total_samples

RATE_HZ = 44_100
CLICK = 30_001


class Card:
    """A card at its own rate that keeps what is played, and insists on one period out for each in."""

    is_there = True
    n_capture_xruns = 3
    n_playback_xruns = 4

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples
        self.n_read = 0
        self.played: list[np.ndarray] = []
        self.is_closed = False

    def wait(self) -> None:
        assert len(self.played) == self.n_read, "a period was captured and none played"

    def read(self, out: np.ndarray) -> None:
        out[:] = self._samples[self.n_read * len(out) : (self.n_read + 1) * len(out)]
        self.n_read += 1

    def write(self, block: np.ndarray) -> None:
        self.played.append(block.copy())
        assert len(self.played) <= self.n_read

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_py.devices.sound.resampled_card.time.sleep", lambda seconds: None)


def echo(samples: np.ndarray, period: int) -> tuple[Card, np.ndarray]:
    """What a card plays when each block is answered with itself."""
    inner = Card(samples)
    card, block = ResampledCard(inner, RATE_HZ, period), np.zeros(period, np.float32)
    n_periods = len(samples) // period - 1
    while inner.n_read < n_periods:
        card.wait()
        card.read(block)
        card.write(block)
    return inner, np.concatenate(inner.played)


@pytest.mark.parametrize("period", PERIOD_SIZES)
def test_one_period_is_played_for_each_that_is_captured_for_as_long_as_it_runs(period: int) -> None:
    inner, _ = echo(np.zeros(2_000 * period, np.float32), period)
    assert abs(inner.n_read - len(inner.played)) <= 1


@pytest.mark.parametrize("period", PERIOD_SIZES)
def test_the_delay_is_the_computed_one_to_the_sample(period: int) -> None:
    samples = np.zeros(60 * 1_024, np.float32)
    # A smooth click, within the band both rates carry.
    shape = np.hanning(65)
    samples[CLICK - 32 : CLICK + 33] = shape
    _, played = echo(samples, period)
    centre = np.sum(np.arange(len(played)) * played) / np.sum(played)
    measured = (centre - CLICK) * SAMPLE_RATE_HZ / RATE_HZ
    computed = total_samples(rate_latency(AudioSettings(sample_rate_hz=RATE_HZ, period=period)))
    assert measured == pytest.approx(computed, abs=1.0)


def test_at_the_instrument_s_rate_nothing_is_added() -> None:
    assert rate_latency(AudioSettings()) == ()


def test_the_second_block_of_a_period_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("firmware_py.devices.sound.resampled_card.time.sleep", slept.append)
    monkeypatch.setattr("firmware_py.devices.sound.resampled_card.time.monotonic", lambda: 5.0 + sum(slept))
    card = ResampledCard(Card(np.zeros(100_000, np.float32)), RATE_HZ, 128)
    block = np.zeros(128, np.float32)
    for _ in range(50):
        card.wait()
        card.read(block)
        card.write(block)
    assert max(slept) == pytest.approx(0.75 * 128 / SAMPLE_RATE_HZ)


def test_the_card_s_xruns_are_its_own_and_it_is_closed() -> None:
    inner = Card(np.zeros(1_000, np.float32))
    card = ResampledCard(inner, RATE_HZ, 128)
    assert (card.n_capture_xruns, card.n_playback_xruns) == (3, 4)
    card.close()
    assert inner.is_closed


def test_check_states_what_resampling_adds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--set", "audio.sample_rate_hz=44100", "--json"]) == 0
    rows = {row["part"]: row["samples"] for row in json.loads(capsys.readouterr().out)["latency"]}
    assert rows["resamplers"] == 67
    assert rows["resamplers' buffer"] == round(128 * SAMPLE_RATE_HZ / RATE_HZ)
    parts = ("algorithmic", "resamplers", "resamplers' buffer", "playback buffer")
    assert rows["with the card's buffer"] == sum(rows[part] for part in parts)
