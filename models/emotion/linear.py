"""A linear reading of a whole clip, as one more teacher: from means and deviations of its features.

Strongly regularised, it errs elsewhere than a network does. It cannot ship: it needs the whole clip.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

Float32 = NDArray[np.float32]
INVERSE_STRENGTH: Final = 0.003
"""scikit-learn's C; chosen on folds, with the fonts left out. Between .001 and .01."""


def statistics(features: Float32) -> Float32:
    """Mean and standard deviation ``[256]`` of the last three quarters of a clip ``[n, 128]``."""
    settled = features[len(features) // 4 :]
    return np.concatenate([settled.mean(0), settled.std(0)])


def linear_log_odds(features: list[Float32], quadrants: list[int]) -> NDArray[np.float64]:
    """Log odds ``[clips, 4]`` of the clips it was fitted on."""
    x = StandardScaler().fit_transform(np.stack([statistics(f) for f in features]))
    model = LogisticRegression(C=INVERSE_STRENGTH, max_iter=500, class_weight="balanced").fit(x, quadrants)
    result: NDArray[np.float64] = model.decision_function(x)
    return result
