"""The linear reading beside the network: silent in steady music, believed while the mood changes."""

import numpy as np
import pytest

from kelly_edge.contract import EMOTION_RATE_HZ, N_FEATURES
from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.emotion.linear_reading import LIMIT, STRENGTH, LinearReading
from kelly_edge.emotion.linear_weights import WEIGHTS

HAPPY = np.array([1.0, -1.0, -1.0, 1.0])
"""Log odds of a network that hears positive valence and knows nothing of arousal."""


def of_valence(sign: float) -> np.ndarray:
    """Features that the reading takes for this valence."""
    return (sign * np.sign(WEIGHTS[:, 0, 0])).astype(np.float32)


def heard(reading: LinearReading, features: np.ndarray, seconds: float) -> list[np.ndarray]:
    return [reading.update(features, HAPPY).copy() for _ in range(round(seconds * EMOTION_RATE_HZ))]


def test_steady_music_is_the_networks_alone() -> None:
    reading = LinearReading()
    assert all(np.array_equal(odds, HAPPY) for odds in heard(reading, of_valence(-1.0), 20.0))


def test_a_change_is_believed_at_once_and_left_to_the_network_later() -> None:
    reading = LinearReading()
    heard(reading, of_valence(1.0), 20.0)
    after = heard(reading, of_valence(-1.0), 60.0)
    valence = np.array([odds @ SIGNS[:, 0] for odds in after])
    assert np.argmax(valence < 0.0) < 1.0 * EMOTION_RATE_HZ
    assert reading.share == 0.0
    assert np.array_equal(after[-1], HAPPY)


def test_what_is_believed_is_bounded() -> None:
    reading = LinearReading()
    heard(reading, 100.0 * of_valence(1.0), 20.0)
    for odds in heard(reading, -100.0 * of_valence(1.0), 2.0):
        assert np.abs(odds).max() <= STRENGTH * LIMIT + 1e-9


def test_a_reset_forgets() -> None:
    reading, fresh = LinearReading(), LinearReading()
    heard(reading, of_valence(1.0), 5.0)
    reading.reset()
    rng = np.random.default_rng(0)
    for _ in range(50):
        features = rng.normal(size=N_FEATURES).astype(np.float32)
        assert reading.update(features, HAPPY) == pytest.approx(fresh.update(features, HAPPY), abs=0.0)
