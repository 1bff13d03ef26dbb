"""The limiter's promises: never above the ceiling, silent on NaN, exact delay, transparent below."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kelly_edge.signal.limiter import Limiter
from kelly_edge.units import db_to_gain

BLOCK = 128
any_float32 = st.floats(width=32, allow_nan=True, allow_infinity=True)


def run(limiter: Limiter, samples: np.ndarray) -> np.ndarray:
    out = samples.astype(np.float32).copy()
    for start in range(0, len(out), BLOCK):
        limiter.process(out[start : start + BLOCK])
    return out


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, 4 * BLOCK, elements=any_float32))
def test_nothing_leaves_above_the_ceiling(samples: np.ndarray) -> None:
    out = run(Limiter(-1.0, 100.0), samples)
    assert np.all(np.isfinite(out))
    assert np.max(np.abs(out)) <= db_to_gain(-1.0)


def test_quiet_sound_passes_unchanged_and_late_by_the_stated_delay() -> None:
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 10 * BLOCK).astype(np.float32)
    limiter = Limiter(-1.0, 100.0)
    out = run(limiter, samples)
    np.testing.assert_allclose(out[limiter.delay_samples :], samples[: -limiter.delay_samples], atol=1e-6)


def test_a_peak_is_reached_by_gain_not_by_clipping() -> None:
    samples = np.full(20 * BLOCK, 0.1, np.float32)
    samples[1_000] = 4.0
    limiter = Limiter(-1.0, 100.0)
    out = run(limiter, samples)
    at = 1_000 + limiter.delay_samples
    assert out[at] == pytest.approx(db_to_gain(-1.0), rel=1e-3)
    # The neighbours are turned down with it, smoothly: no step larger than the gain's slope.
    steps = np.abs(np.diff(np.delete(out[at - 60 : at + 60], 60)))
    assert np.max(steps) < 0.1 / 20


def test_the_gain_returns_after_the_release() -> None:
    samples = np.full(400 * BLOCK, 0.5, np.float32)
    samples[:BLOCK] = 2.0
    out = run(Limiter(-1.0, 50.0), samples)
    assert out[-1] == pytest.approx(0.5, rel=1e-3)
