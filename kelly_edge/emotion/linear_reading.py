"""A linear reading of the features, once per hop group: what hears a changed mood before the network does.

The network is right about steady music and believes an old mood for long. A logistic regression on the 128
features and on their differences from running means of 2 and 6 s, which hold what the features are heading
for, turns sooner. While the reading itself has just moved, it is believed instead of the network; in steady
music it says nothing (docs/decisions/0052). Its numbers were fitted to renderings of EMOPIA (``python -m
models.emotion.reading``).
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import N_FEATURES
from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.emotion.linear_weights import BIASES, WEIGHTS
from kelly_edge.emotion.running_means import leak

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
MEANS_S: Final = (2.0, 6.0)
"""Time constants of the features' means. Chosen before anything was measured; 1, 4 and 12 s did no better."""
LIMIT: Final = 6.0
"""Log odds of valence and of arousal, at most. Chosen: a probability of .998."""
RECENT_S, BEFORE_S = 1.0, 8.0
"""Time constants of two means of the reading: it has moved where they differ. Chosen by hand."""
STEADY, MOVED = 0.6, 1.2
"""The reading counts from where the two differ by the first (in log odds of valence or arousal), and is
believed alone where they differ by the second. Chosen on held songs: later, a change takes a second longer;
sooner was not tried."""
STRENGTH: Final = 1.5
"""Factor on its log odds while it is believed. Chosen on held songs: its probabilities are cautious, so that
a mood would be half believed until the network follows."""


class ReadingState(NamedTuple):
    """What the running means remember."""

    means: Float32  # [2, 128] of the features
    odds: Float64  # [2, 2] of the reading, recent and before: valence, arousal
    heard: Float64  # [2, 2] share of each that has been heard, 0 .. 1: the features', the reading's


def reading_state() -> ReadingState:
    """Nothing heard yet."""
    return ReadingState(np.zeros((2, N_FEATURES), np.float32), np.zeros((2, 2)), np.zeros((2, 2)))


KEEPS: Final = np.array([[leak(seconds) for seconds in pair] for pair in (MEANS_S, (RECENT_S, BEFORE_S))])
"""What the means keep of their past, as ``ReadingState.heard``. By definition of the time constants."""


@njit(cache=True)
def reading_step(
    features: Float32, keeps: Float64, weights: Float32, biases: Float64, state: ReadingState, now: Float64
) -> float:
    """Take ``features`` [128]; log odds of valence and arousal into ``now`` [2]. Returns how far the reading
    has moved, in log odds.

    ``weights`` [128, 3, 2]: of a feature and of its differences from the two means, for valence and arousal.
    """
    means, odds, heard = state.means, state.odds, state.heard
    # Means of what was heard, without the zeros before it.
    for m in range(2):
        for k in range(2):
            heard[m, k] = keeps[m, k] * heard[m, k] + 1.0 - keeps[m, k]
    short = np.float32((1.0 - keeps[0, 0]) / heard[0, 0])
    long = np.float32((1.0 - keeps[0, 1]) / heard[0, 1])
    now[0], now[1] = biases[0], biases[1]
    for i in range(features.shape[0]):
        x = features[i]
        means[0, i] += short * (x - means[0, i])
        means[1, i] += long * (x - means[1, i])
        from_short, from_long = x - means[0, i], x - means[1, i]
        for d in range(2):
            now[d] += weights[i, 0, d] * x + weights[i, 1, d] * from_short + weights[i, 2, d] * from_long
    moved = 0.0
    for d in range(2):
        now[d] = min(max(now[d], -LIMIT), LIMIT)
        for k in range(2):
            odds[k, d] += (1.0 - keeps[1, k]) / heard[1, k] * (now[d] - odds[k, d])
        moved = max(moved, abs(odds[0, d] - odds[1, d]))
    return moved


@njit(cache=True)
def believe(network: Float64, reading: Float64, share: float, believed: Float64) -> None:
    """``share`` of the reading's log odds [2] and the rest of the network's [4], into ``believed`` [4]."""
    for q in range(4):
        # Half log odds along each sign, so that the two signs of a quadrant add up to its log odds.
        read = 0.5 * STRENGTH * (reading[0] * SIGNS[q, 0] + reading[1] * SIGNS[q, 1])
        believed[q] = network[q] + share * (read - network[q])


class LinearReading:
    """Streaming; ``update`` gives what is believed of a hop group.

    Attributes
    ----------
    odds: log odds of valence and arousal ``[2]``, of the reading alone.
    share: how far it is believed instead of the network, 0 .. 1.
    """

    def __init__(self) -> None:
        self._state = reading_state()
        self._believed = np.zeros(4)
        self.odds = np.zeros(2)
        self.share = 0.0

    def reset(self) -> None:
        """Nothing heard yet."""
        for array in (*self._state, self.odds):
            array[:] = 0.0
        self.share = 0.0

    def update(self, features: Float32, network: Float64) -> Float64:
        """Take a group's features [128]; log odds [4] of the quadrants from the network's [4].

        The result is overwritten by the next call.
        """
        moved = reading_step(features, KEEPS, WEIGHTS, BIASES, self._state, self.odds)
        self.share = min(max((moved - STEADY) / (MOVED - STEADY), 0.0), 1.0)
        believe(network, self.odds, self.share, self._believed)
        return self._believed
