"""The decimator and the sliding window."""

import numpy as np
import pytest
from scipy.signal import butter, lfilter, sosfilt

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
    decimated = lfilter(lowpass_taps().astype(np.float64), 1.0, audio.astype(np.float32))[
        FACTOR - 1 :: FACTOR
    ]
    expected = sosfilt(butter(6, 30.0, "highpass", fs=ANALYSIS_RATE_HZ, output="sos"), decimated)
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
    # A click as of a piano's middle: the high-pass delays what lies near its edge, not this.
    audio = np.zeros(N_HOPS * HOP_SIZE * 4)
    audio[4_000 - 480 : 4_004 + 480] = np.hanning(964) * np.sin(
        2.0 * np.pi * 1_000.0 * np.arange(964) / SAMPLE_RATE_HZ
    )
    groups = HopGroups(WINDOW, N_HOPS)
    push_all(groups, audio)
    centre = float(np.sum(np.arange(WINDOW) * np.abs(groups.window)) / np.sum(np.abs(groups.window)))
    assert centre * FACTOR == pytest.approx(4_000 + DELAY_SAMPLES, abs=FACTOR)


def test_level_is_that_of_the_newest_group() -> None:
    groups = HopGroups(WINDOW, N_HOPS)
    tone = sine(440, 3 * N_HOPS * HOP_SIZE)
    push_all(groups, tone[: N_HOPS * HOP_SIZE])
    push_all(groups, 0.25 * tone[N_HOPS * HOP_SIZE :])
    assert groups.level_power == pytest.approx(0.0625 / 2.0, rel=0.01)


def test_rumble_and_dc_are_not_heard() -> None:
    t = np.arange(12 * N_HOPS * HOP_SIZE) / SAMPLE_RATE_HZ
    rumble, bare = HopGroups(WINDOW, N_HOPS), HopGroups(WINDOW, N_HOPS)
    tone = sine(440, t.size)
    push_all(bare, tone)
    push_all(rumble, tone + 0.5 + np.sin(2.0 * np.pi * 12.0 * t))
    np.testing.assert_allclose(rumble.window, bare.window, atol=0.01)
    assert rumble.level_power == pytest.approx(bare.level_power, rel=0.01)


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
