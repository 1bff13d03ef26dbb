"""Fitting the linear reading."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from kelly_edge.emotion.linear_reading import LIMIT, LinearReading
from kelly_edge.emotion.linear_weights import BIASES, WEIGHTS
from models.emotion import data, reading


def test_the_workshop_and_the_box_read_the_same() -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=(200, 128)), 0)
    features = (np.clip(0.1 * walk, -2.5, 2.5)).astype(np.float32)
    flat = WEIGHTS.transpose(1, 0, 2).reshape(-1, 2)
    fitted = np.clip(reading.inputs_of(features) @ flat + BIASES, -LIMIT, LIMIT)
    box = LinearReading()
    for row, odds in zip(features, fitted, strict=True):
        box.update(row, np.zeros(4))
        assert box.odds == pytest.approx(odds, abs=1e-3)


def test_a_fit_finds_what_tells_the_quadrants_apart_and_is_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    quadrants = rng.integers(0, 4, 400)
    inputs = rng.normal(size=(400, 3 * 128)).astype(np.float32)
    inputs[:, 5] += 3.0 * np.where(np.isin(quadrants, (0, 3)), 1.0, -1.0)
    inputs[:, 128 + 7] += 3.0 * np.where(quadrants < 2, 1.0, -1.0)
    weights, biases = reading.fit(reading.Steps(inputs, np.full(400, 5.0), quadrants))
    # Valence from the sixth feature, arousal from the eighth one's difference from the shorter mean.
    assert np.unravel_index(np.abs(weights[..., 0]).argmax(), (128, 3)) == (5, 0)
    assert np.unravel_index(np.abs(weights[..., 1]).argmax(), (128, 3)) == (7, 1)
    reading.write(tmp_path / "numbers.py", weights, biases)
    written = runpy.run_path(str(tmp_path / "numbers.py"))
    assert written["WEIGHTS"] == pytest.approx(weights, rel=1e-3)
    assert written["BIASES"] == pytest.approx(biases, rel=1e-5)


def test_the_seconds_after_a_change_weigh_more_than_steady_music() -> None:
    rng = np.random.default_rng(3)
    presence = np.ones(500, np.float32)
    after, weights = reading.chosen_steps(data.Condition("fluid", 0, "after_wet"), presence, rng)
    change = data.AFTER_S * data.EMOTION_RATE_HZ
    assert after.min() > change
    assert weights.sum() == pytest.approx(reading.CHANGE_WEIGHT + 1.0)
    steady, weights = reading.chosen_steps(data.Condition("fluid"), presence, rng)
    assert steady.min() >= reading.SETTLED_STEPS and weights.sum() == pytest.approx(1.0)
