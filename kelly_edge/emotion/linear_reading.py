"""A linear reading of the features, once per hop group: what hears a changed mood before the network does.

The network is right about steady music and believes an old mood for long. A logistic regression on the 128
features and on their differences from running means of 2 and 6 s, which hold what the features are heading
for, is right sooner. The product of the two, each to a fitted power, is read with a short mean
(docs/decisions/0052). The numbers were fitted to renderings of EMOPIA (``python -m models.emotion.reading``).
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
MEANS_S: Final = (2.0, 6.0)
"""Time constants of the running means. Chosen before anything was measured; 1, 4 and 12 s did no better."""
LIMIT: Final = 6.0
"""Log odds of valence and of arousal, at most. Chosen: a probability of .998."""
READING_POWER: Final = np.array([0.35, 0.6])
"""Power of the reading in the product, for valence and arousal. Most likely on held songs, through fonts that
the reading had not heard; measured so and rounded."""
NETWORK_POWER: Final = np.array([0.5, 0.3])
"""The network's, from the same comparison: measured so and rounded."""
SMOOTHING_S: Final = 1.5
"""Time constant of the mean of the product. Chosen: as steady as the network's own mean of 6 s is."""


class ReadingState(NamedTuple):
    """What the running means remember."""

    means: Float32  # [2, 128]
    heard: NDArray[np.float64]  # [2] share of each mean that has been heard, 0 .. 1


def reading_state() -> ReadingState:
    """Nothing heard yet."""
    return ReadingState(np.zeros((len(MEANS_S), N_FEATURES), np.float32), np.zeros(len(MEANS_S)))


@njit(cache=True)  # type: ignore[untyped-decorator]
def reading_step(
    features: Float32, keeps: NDArray[np.float64], weights: Float32, biases: NDArray[np.float64],
    state: ReadingState, odds: NDArray[np.float64],
) -> None:  # fmt: skip
    """Take ``features`` [128]; log odds of valence and arousal into ``odds`` [2].

    ``keeps`` [2] is what the means keep of their past; ``weights`` [128, 3, 2]: of a feature, of its
    differences from the two means.
    """
    means, heard = state.means, state.heard
    shares = np.empty(2, np.float32)
    for m in range(2):
        heard[m] = keeps[m] * heard[m] + 1.0 - keeps[m]
        # A mean of what was heard, without the zeros before it.
        shares[m] = (1.0 - keeps[m]) / heard[m]
    valence, arousal = biases[0], biases[1]
    for i in range(features.shape[0]):
        x = features[i]
        valence += weights[i, 0, 0] * x
        arousal += weights[i, 0, 1] * x
        for m in range(2):
            means[m, i] += shares[m] * (x - means[m, i])
            difference = x - means[m, i]
            valence += weights[i, 1 + m, 0] * difference
            arousal += weights[i, 1 + m, 1] * difference
    odds[0] = min(max(valence, -LIMIT), LIMIT)
    odds[1] = min(max(arousal, -LIMIT), LIMIT)


class LinearReading:
    """Streaming; ``update`` gives the product of the reading and the network."""

    def __init__(self) -> None:
        self._state = reading_state()
        self._keeps = np.array([leak(seconds) for seconds in MEANS_S])
        self.odds = np.zeros(2)
        """Log odds of valence and arousal, of the reading alone."""

    def reset(self) -> None:
        """Nothing heard yet."""
        for array in self._state:
            array[:] = 0.0
        self.odds[:] = 0.0

    def update(self, features: Float32, network: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take a group's features [128]; log odds [4] of the quadrants from the network's [4]."""
        reading_step(features, self._keeps, WEIGHTS, BIASES, self._state, self.odds)
        return product(self.odds, network)


def product(reading: NDArray[np.float64], network: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds ``[…, 4]`` of the quadrants: of the reading's ``[…, 2]`` and the network's ``[…, 4]``."""
    # Half log odds along each sign, so that the two signs of a quadrant add up to its log odds.
    both = 0.5 * READING_POWER * reading + 0.25 * NETWORK_POWER * (network @ SIGNS)
    result: NDArray[np.float64] = both @ SIGNS.T
    return result


def read_clip(features: Float32) -> NDArray[np.float64]:
    """The reading of each step of a clip, log odds ``[n, 2]`` from ``[n, 128]``, from nothing heard."""
    reading, odds = LinearReading(), np.zeros((len(features), 2))
    for i, row in enumerate(features):
        reading_step(row, reading._keeps, WEIGHTS, BIASES, reading._state, odds[i])
    return odds
