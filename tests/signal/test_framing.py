"""The decimator and the sliding window."""

import numpy as np
import pytest
from scipy.signal import lfilter

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.framing import (
    ANALYSIS_RATE_HZ,
    DELAY_SAMPLES,
    FACTOR,
    HopGroups,
    lowpass_taps,
)

N_HOPS = 16
WINDOW = 4_096


def push_all(groups: HopGroups, audio: np.ndarray) -> int:
    return sum(groups.push(hop) for hop in audio.astype(np.float32).reshape(-1, HOP_SIZE))


def sine(f_hz: float, n: int) -> np.ndarray:
    return np.sin(2.0 * np.pi * f_hz * np.arange(n) / SAMPLE_RATE_HZ)


def test_streaming_equals_filtering_at_once_and_keeping_every_fourth() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, N_HOPS * HOP_SIZE * 4)
    groups = HopGroups(WINDOW, N_HOPS)
    assert push_all(groups, audio) == 4
    expected = lfilter(lowpass_taps().astype(np.float64), 1.0, audio.astype(np.float32))[FACTOR - 1 :: FACTOR]
    np.testing.assert_allclose(groups.window, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("f_hz", "low_db", "high_db"), [(440, -0.1, 0.1), (4_900, -0.5, 0.1), (7_200, -200, -60)]
)
def test_passes_the_piano_and_stops_what_would_alias(f_hz: float, low_db: float, high_db: float) -> None:
    groups = HopGroups(WINDOW, N_HOPS)
    push_all(groups, sine(f_hz, N_HOPS * HOP_SIZE * 5))
    gain_db = 20.0 * np.log10(np.sqrt(2.0 * np.mean(groups.window.astype(np.float64) ** 2)) + 1e-12)
    assert low_db <= gain_db <= high_db


def test_an_impulse_comes_out_after_the_stated_delay() -> None:
    audio = np.zeros(N_HOPS * HOP_SIZE * 4)
    audio[4_000:4_004] = 1.0
    groups = HopGroups(WINDOW, N_HOPS)
    push_all(groups, audio)
    centre = float(np.sum(np.arange(WINDOW) * np.abs(groups.window)) / np.sum(np.abs(groups.window)))
    assert centre * FACTOR == pytest.approx(4_000 + DELAY_SAMPLES, abs=FACTOR)


def test_level_is_that_of_the_newest_group() -> None:
    groups = HopGroups(WINDOW, N_HOPS)
    push_all(groups, np.full(N_HOPS * HOP_SIZE, 0.5))
    push_all(groups, np.full(N_HOPS * HOP_SIZE, 0.25))
    assert groups.level_power == pytest.approx(0.0625)


def test_nan_and_infinity_are_silence_and_leave_no_trace() -> None:
    clean, dirty = HopGroups(WINDOW, N_HOPS), HopGroups(WINDOW, N_HOPS)
    audio = sine(300, N_HOPS * HOP_SIZE)
    zeroed = audio.copy()
    audio[100], audio[200], audio[300] = np.nan, np.inf, -np.inf
    zeroed[[100, 200, 300]] = 0.0
    push_all(dirty, audio)
    push_all(clean, zeroed)
    np.testing.assert_array_equal(clean.window, dirty.window)


def test_reset_is_a_fresh_start() -> None:
    groups, fresh = HopGroups(WINDOW, N_HOPS), HopGroups(WINDOW, N_HOPS)
    push_all(groups, sine(440, N_HOPS * HOP_SIZE + 5 * HOP_SIZE))
    groups.reset()
    push_all(groups, sine(700, N_HOPS * HOP_SIZE))
    push_all(fresh, sine(700, N_HOPS * HOP_SIZE))
    np.testing.assert_array_equal(groups.window, fresh.window)


def test_the_analysis_rate_is_a_quarter() -> None:
    assert ANALYSIS_RATE_HZ == 12_000
