"""From the 64 values to valence and arousal on Russell's circumplex, streaming and for a whole clip.

The network speaks twice about the same thing: four quadrant logits, and the log odds of valence and of
arousal. Both are averaged in the log domain (a product of experts), because a mean over time of log odds
decides a clip better than its last value. Streaming, the mean is leaky; music that is not present (silence,
rain) neither moves it nor is trusted.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.vector import slice_of

Float32 = NDArray[np.float32]
SIGNS: Final = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float64)
"""Signs of (valence, arousal) of Q1 .. Q4. Definition of the quadrants in EMOPIA, after Russell (1980)."""
SMOOTHING_S: Final = 6.0
"""Time constant of the streaming mean while the music stays as it is. Chosen on training clips, with
``FAST_S``, ``ALIKE`` and ``UNLIKE``, by how soon a change of mood is known and how much the estimate
wanders (model card, "A change of mood")."""
FAST_S: Final = 0.6
"""Time constant of a second mean, and of the first one while the two disagree. Chosen in the same
comparison."""
ALIKE, UNLIKE = 0.5, 1.2
"""The slow mean begins to hurry where the two differ by the first (in log odds), and is as fast as the
other where they differ by the second. Chosen in the same comparison."""
FORGETTING_S: Final = 10.0
"""After music stops, confidence falls with this time constant. Chosen: longer than a rest in a piece,
shorter than a change of players."""
WARM_UP_S: Final = 8.0
"""A whole clip is decided on what came after this: the features' long means need it. Chosen: half of the
longest mean, 15 s."""
LOGIT_LIMIT: Final = 8.0
"""Nats. Chosen: a probability of .9997, so that one wild output cannot decide a clip."""


@dataclass(frozen=True)
class EmotionEstimate:
    """valence, arousal: -1 .. 1. confidence: 0 .. 1. posterior: over Q1 .. Q4, sums to 1."""

    valence: float
    arousal: float
    confidence: float
    posterior: NDArray[np.float32]


def joint_log_odds(emotion: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log odds ``[…, 4]`` of the quadrants (not normalised) from emotion vectors ``[…, 64]``."""
    if emotion.ndim == 1:
        # Once per hop group: numpy's calls cost more than the emotion network does.
        return _odds_of_one(emotion)
    bounded = np.clip(np.nan_to_num(np.asarray(emotion, np.float64)), -LOGIT_LIMIT, LOGIT_LIMIT)
    quadrant = bounded[..., slice_of("quadrant")]
    pair = np.concatenate([bounded[..., slice_of("valence")], bounded[..., slice_of("arousal")]], -1)
    # The pair's entries are half log odds, so that tanh of them is the mean of the sign.
    odds: NDArray[np.float64] = 0.5 * (quadrant - quadrant.mean(-1, keepdims=True)) + 0.5 * (pair @ SIGNS.T)
    return odds


_QUADRANT, _VALENCE, _AROUSAL = (slice_of(name).start for name in ("quadrant", "valence", "arousal"))


@njit(cache=True)
def _odds_of_one(emotion: Float32) -> NDArray[np.float64]:
    """The same of one vector ``[64]``, to the bit."""
    bounded = np.empty(emotion.shape[0])
    for i in range(bounded.shape[0]):
        x = float(emotion[i])
        bounded[i] = 0.0 if math.isnan(x) else min(max(x, -LOGIT_LIMIT), LOGIT_LIMIT)
    quadrant, valence, arousal = bounded[_QUADRANT : _QUADRANT + 4], bounded[_VALENCE], bounded[_AROUSAL]
    mean = (quadrant[0] + quadrant[1] + quadrant[2] + quadrant[3]) / 4.0
    odds = np.empty(4)
    for q in range(4):
        odds[q] = 0.5 * (quadrant[q] - mean) + 0.5 * (valence * SIGNS[q, 0] + arousal * SIGNS[q, 1])
    return odds


def arousal_of(log_odds: NDArray[np.float64]) -> float:
    """Arousal in log odds ``[4]`` of the quadrants, in half log odds: what an offset is added to."""
    return float(log_odds @ SIGNS[:, 1]) / 4.0


def posterior_of(log_odds: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Softmax over the last axis."""
    scaled = log_odds / temperature
    p = np.exp(scaled - scaled.max(-1, keepdims=True))
    result: NDArray[np.float64] = p / p.sum(-1, keepdims=True)
    return result


def estimate_of(log_odds: NDArray[np.float64], trust: float = 1.0) -> EmotionEstimate:
    """The estimate that log odds ``[4]`` of the quadrants give, trusted 0 .. 1."""
    posterior = posterior_of(log_odds)
    valence, arousal = posterior @ SIGNS
    # A flat posterior has a best entry of 1/4: no confidence, however clear the sound.
    certain = (float(posterior.max()) - 0.25) / 0.75
    return EmotionEstimate(
        float(valence), float(arousal), trust * math.sqrt(max(certain, 0.0)), posterior.astype(np.float32)
    )


class Circumplex:
    """Streaming estimate: a leaky mean of the log odds, weighted by presence.

    A mean over ``SMOOTHING_S`` is steady; one over ``FAST_S`` knows sooner of a change. Where they disagree
    beyond what steady music does, the first one hurries.
    """

    def __init__(self) -> None:
        self._share = 1.0 - math.exp(-1.0 / (SMOOTHING_S * EMOTION_RATE_HZ))
        self._fast_share = 1.0 - math.exp(-1.0 / (FAST_S * EMOTION_RATE_HZ))
        self._forget = math.exp(-1.0 / (FORGETTING_S * EMOTION_RATE_HZ))
        self._sum, self._fast_sum = np.zeros(4), np.zeros(4)
        self._weight = self._fast_weight = 0.0
        self._heard = 0.0

    def reset(self) -> None:
        """Nothing heard yet."""
        self._sum[:] = self._fast_sum[:] = 0.0
        self._weight = self._fast_weight = self._heard = 0.0

    def update(self, emotion: Float32, presence: float) -> EmotionEstimate:
        """Take one emotion vector ``[64]`` and the presence 0 .. 1 it was heard with."""
        return self.push(joint_log_odds(emotion), presence)

    def push(self, odds: NDArray[np.float64], presence: float, offset: float = 0.0) -> EmotionEstimate:
        """Take the log odds ``[4]`` of an emotion vector; ``update`` does for one alone.

        ``offset`` is added to the mean's arousal, in half log odds: what ``room`` and ``place`` know.
        """
        w = min(max(presence, 0.0), 1.0) if math.isfinite(presence) else 0.0
        # Absence keeps the mean as it was: only newly heard music replaces music heard before.
        share = w * self._fast_share
        self._fast_sum += share * (odds - self._fast_sum)
        self._fast_weight += share * (1.0 - self._fast_weight)
        share = w * self._hurried()
        self._sum += share * (odds - self._sum)
        self._weight += share * (1.0 - self._weight)
        self._heard = max(w, self._forget * self._heard + (1.0 - self._forget) * w)
        mean = self._sum / max(self._weight, 1e-6) + offset * SIGNS[:, 1]
        trust = min(self._heard, 1.0) * min(2.0 * self._weight, 1.0)
        return estimate_of(mean, trust)

    def _hurried(self) -> float:
        """What a group replaces of the mean: little in steady music, much after a change."""
        fast = self._fast_sum / max(self._fast_weight, 1e-6)
        slow = self._sum / max(self._weight, 1e-6)
        apart = float(np.abs((fast - slow) @ SIGNS).max()) / 2.0
        hurry = min(max((apart - ALIKE) / (UNLIKE - ALIKE), 0.0), 1.0)
        return self._share + hurry * (self._fast_share - self._share)


def _clip_weights(n: int, presence: NDArray[np.float32] | None) -> NDArray[np.float64]:
    """How much each step of a clip counts, ``[n]``, before the warm-up is held back."""
    return (
        np.ones(n) if presence is None else np.clip(np.nan_to_num(np.asarray(presence, np.float64)), 0.0, 1.0)
    )


def clip_log_odds(
    emotions: NDArray[np.float32], presence: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Log odds of the quadrants ``[4]`` of a whole clip; see ``clip_decision``. Zeros for an empty clip."""
    n = len(emotions)
    if n == 0:
        return np.zeros(4)
    weights = _clip_weights(n, presence) + 1e-6
    # A twentieth, chosen by hand: they decide nothing unless there is nothing else.
    weights[: min(round(WARM_UP_S * EMOTION_RATE_HZ), n // 2)] *= 0.05
    odds: NDArray[np.float64] = (joint_log_odds(emotions) * weights[:, None]).sum(0) / weights.sum()
    return odds


def clip_decision(
    emotions: NDArray[np.float32], presence: NDArray[np.float32] | None = None, offset: float = 0.0
) -> EmotionEstimate:
    """One decision for a whole clip from its emotion vectors ``[n, 64]``.

    ``presence`` ``[n]`` weighs the steps (all alike when None); the first ``WARM_UP_S`` count only as far
    as a short clip leaves nothing else. ``offset`` is added to arousal, in half log odds: see
    ``room.room_of_clip``. An empty clip gives the flat posterior and confidence 0.
    """
    if len(emotions) == 0:
        return estimate_of(np.zeros(4), 0.0)
    trust = float(_clip_weights(len(emotions), presence).mean())
    log_odds = clip_log_odds(emotions, presence) + offset * SIGNS[:, 1]
    # Chosen: rests of a third of a clip cost no trust.
    return estimate_of(log_odds, min(1.5 * trust, 1.0))
