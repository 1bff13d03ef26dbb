"""What the network learns from beside clips: melodies, babble, noises; and how its streaming is measured."""

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra: train)")
pytest.importorskip("scipy", reason="scipy is not installed (extra: test)")

from kelly_edge.contract import EMOTION_RATE_HZ, HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import LIMIT, FeatureExtractor, standardise
from models.emotion import melodies, not_music, scorecard, streaming
from models.emotion.acoustics import place, quiet_place
from models.emotion.data import AFTER_S
from models.emotion.train import Example, TrainConfig, _start


def test_the_cache_of_physical_values_gives_the_features_of_the_box() -> None:
    extractor = FeatureExtractor()
    sound = melodies.sound(3)[: 6 * SAMPLE_RATE_HZ]
    found, wanted = [], []
    for hop in sound[: sound.size // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE):
        if extractor.push(hop):
            found.append(standardise(extractor.physical))
            wanted.append(extractor.features.copy())
    np.testing.assert_array_equal(np.array(found), np.array(wanted))
    assert np.abs(np.array(wanted)).max() <= LIMIT


@pytest.mark.parametrize("make", [melodies.sound, lambda i: not_music.sound(not_music.BABBLE + i, Path())])
@pytest.mark.parametrize("i", range(4))
def test_sounds_repeat_and_differ(make, i: int) -> None:  # type: ignore[no-untyped-def]
    sound = make(i)
    assert sound.dtype == np.float32 and np.isfinite(sound).all()
    assert 0.04 < np.abs(sound).max() < 0.91
    np.testing.assert_array_equal(sound, make(i))
    assert np.abs(sound - make(i + 4)).max() > 0.01


@pytest.mark.parametrize("kind", not_music.NOISES)
def test_noises_are_noises_of_their_length(kind: str) -> None:
    sound = not_music.NOISES[kind](np.random.default_rng(0))
    assert sound.size == round(not_music.LENGTH_S * SAMPLE_RATE_HZ) and np.isfinite(sound).all()
    assert sound.std() > 0.0


def test_a_quiet_place_is_a_place_with_less_noise() -> None:
    pause = np.zeros(2 * SAMPLE_RATE_HZ)
    pause[:4_800] = 1.0
    loud, quiet = (f(pause.astype(np.float32), np.random.default_rng(1)) for f in (place, quiet_place))
    end = slice(-SAMPLE_RATE_HZ // 4, None)
    ratios = [np.mean(x[end] ** 2) / np.mean(x**2) for x in (loud, quiet)]
    assert ratios[1] < 0.1 * ratios[0]


def test_most_crops_of_a_clip_after_another_hold_the_change() -> None:
    change, n = 170, 500
    presence = np.r_[np.zeros(change), np.ones(n - change)].astype(np.float32)
    example = Example("a", np.zeros((n, 128), np.float32), presence, 0, np.zeros(22, np.float32))
    config = TrainConfig(crop=224)
    rng = np.random.default_rng(0)
    starts = np.array([_start(example, config, rng) for _ in range(400)])
    held = (starts < change) & (starts + config.crop > change + 40)
    assert held.mean() > config.at_change
    plain = Example("b", example.features, np.ones(n, np.float32), 0, example.symbolic)
    starts = np.array([_start(plain, config, rng) for _ in range(400)])
    assert starts.min() == 0 and starts.max() <= n - config.crop
    assert abs((starts == 0).mean() - config.from_start) < 0.06


def test_the_step_response_of_a_leaky_mean_is_its_own() -> None:
    change = round(AFTER_S * EMOTION_RATE_HZ)
    t = np.arange(600) / EMOTION_RATE_HZ
    time_constant_s = 3.0
    way = 1.0 - np.exp(-t / time_constant_s)
    rows = np.zeros((change + 600, 6))
    rows[:change, :4] = -0.8
    rows[change:, :4] = -0.8 + 1.6 * way[:, None]
    for found in streaming.changes([rows, -rows]).values():
        assert found["n"] == 4
        assert found["seconds_to_80_percent"] == pytest.approx(time_constant_s * math.log(5.0), abs=0.2)
        assert found["seconds_to_50_percent"] == pytest.approx(time_constant_s * math.log(2.0), abs=0.2)
        assert found["standard_deviation_while_steady"] < 0.01


def test_the_spread_over_seeds() -> None:
    def seed(accuracy: float) -> dict[str, dict[str, dict[str, float]]]:
        return {"a_font": {key: {"accuracy": accuracy} for key in scorecard.SCORES}}

    found = scorecard.spread([seed(0.7), seed(0.8), seed(0.9)])
    assert found["a_font"]["arousal"] == {"mean": 0.8, "sd": 0.1}
    assert scorecard.spread([seed(0.7)])["a_font"]["valence"] == {"mean": 0.7, "sd": 0.0}
