"""From emotion vectors to valence and arousal."""

import math

import numpy as np
import pytest

from kelly_edge.contract import EMOTION_RATE_HZ, N_EMOTION
from kelly_edge.emotion.circumplex import Circumplex, clip_decision
from kelly_edge.emotion.vector import slice_of

QUADRANT_SIGNS = [(1, 1), (-1, 1), (-1, -1), (1, -1)]


def vector(valence: float, arousal: float, quadrant: int | None = None) -> np.ndarray:
    emotion = np.zeros(N_EMOTION, np.float32)
    emotion[slice_of("valence")] = valence
    emotion[slice_of("arousal")] = arousal
    if quadrant is not None:
        emotion[slice_of("quadrant").start + quadrant] = 4.0
    return emotion


@pytest.mark.parametrize("quadrant", range(4))
def test_each_quadrant_has_its_signs(quadrant: int) -> None:
    v, a = QUADRANT_SIGNS[quadrant]
    estimate = clip_decision(np.tile(vector(1.5 * v, 1.5 * a, quadrant), (50, 1)))
    assert (np.sign(estimate.valence), np.sign(estimate.arousal)) == (v, a)
    assert estimate.posterior.argmax() == quadrant
    assert estimate.posterior.sum() == pytest.approx(1.0)


def test_undecided_quadrant_logits_halve_the_log_odds_of_the_pair() -> None:
    estimate = clip_decision(vector(0.7, -0.3)[None])
    assert estimate.valence == pytest.approx(np.tanh(0.35), abs=1e-6)
    assert estimate.arousal == pytest.approx(np.tanh(-0.15), abs=1e-6)


def test_a_change_of_mood_crosses_over_and_settles() -> None:
    circumplex = Circumplex()
    for _ in range(200):
        before = circumplex.update(vector(-2, -1), 1.0)
    values = [circumplex.update(vector(2, 1), 1.0).valence for _ in range(300)]
    assert before.valence < -0.7
    assert values[0] < 0
    assert values[-1] > 0.7
    assert (np.diff(values) >= 0).all()


def test_a_change_is_heard_sooner_than_one_slow_mean_would_and_small_moves_are_not() -> None:
    steps = round(6.0 * EMOTION_RATE_HZ)
    slow = 1.0 - math.exp(-1.0)

    def share_after_6_s(before: float, after: float) -> float:
        circumplex = Circumplex()
        for _ in range(600):
            start = circumplex.update(vector(0, before), 1.0).arousal
        for _ in range(steps):
            end = circumplex.update(vector(0, after), 1.0).arousal
        return (end - start) / (math.tanh(0.5 * after) - start)

    assert share_after_6_s(-2.0, 2.0) > 0.9
    assert share_after_6_s(-0.2, 0.2) == pytest.approx(slow, abs=0.03)


def test_absence_holds_the_mood_and_lets_confidence_fall() -> None:
    circumplex = Circumplex()
    for _ in range(100):
        heard = circumplex.update(vector(2, 2, 0), 1.0)
    for _ in range(400):
        after = circumplex.update(vector(-2, -2, 2), 0.0)
    assert after.valence == pytest.approx(heard.valence)
    assert heard.confidence > 0.8
    assert after.confidence < 0.1


def test_nothing_heard_is_no_confidence() -> None:
    assert Circumplex().update(vector(3, 3, 0), 0.0).confidence == 0.0
    assert clip_decision(np.zeros((0, N_EMOTION), np.float32)).confidence == 0.0
    assert clip_decision(np.tile(vector(3, 3, 0), (9, 1)), np.zeros(9, np.float32)).confidence == 0.0


def test_a_clip_is_decided_where_music_is_present() -> None:
    emotions = np.concatenate([np.tile(vector(-2, -2), (100, 1)), np.tile(vector(2, 2), (100, 1))])
    presence = np.r_[np.ones(100), np.zeros(100)].astype(np.float32)
    assert clip_decision(emotions, presence).valence < 0
    assert clip_decision(emotions, presence[::-1].copy()).valence > 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_any_float_gives_finite_estimates(value: float) -> None:
    circumplex = Circumplex()
    circumplex.update(np.full(N_EMOTION, value, np.float32), value)
    estimate = circumplex.update(np.full(N_EMOTION, value, np.float32), 1.0)
    assert np.isfinite([estimate.valence, estimate.arousal, estimate.confidence, *estimate.posterior]).all()


def test_reset_forgets() -> None:
    circumplex = Circumplex()
    circumplex.update(vector(2, 2), 1.0)
    circumplex.reset()
    first = circumplex.update(vector(-1, 1), 1.0)
    fresh = Circumplex().update(vector(-1, 1), 1.0)
    assert (first.valence, first.arousal, first.confidence) == (
        fresh.valence,
        fresh.arousal,
        fresh.confidence,
    )
