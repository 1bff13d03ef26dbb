"""The linear reading beside the network: ``python -m models.emotion.reading``.

``fit`` writes the numbers of ``kelly_edge.emotion.linear_reading``: logistic regressions of valence and
arousal on the features and their differences from running means, over every training condition that is
cached. The seconds after a change of mood count more than steady music, since only they teach what a
difference means.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.signal import lfilter

from kelly_edge.contract import EMOTION_RATE_HZ, N_FEATURES
from kelly_edge.emotion import linear_weights
from kelly_edge.emotion.linear_reading import MEANS_S
from kelly_edge.emotion.running_means import leak
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data
from models.emotion.weights_file import biases_and_numbers

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
STRIDE, STRIDE_AFTER = 24, 5
"""Hop groups from one step that is fitted to the next: 2 s in steady music, 0.4 s after a change. Chosen:
steps nearer to each other say the same."""
SETTLED_STEPS: Final = 30
"""Hop groups of a clip that are left out, at least: the first 2.6 s. Chosen by hand."""
CHANGED_STEPS: Final = (6, 95)
"""Hop groups after a change that count as such: from 0.5 to 8 s. Chosen by hand."""
CHANGE_WEIGHT: Final = 4.0
"""Weight of the steps after a change over that of the steady rest of the same clip. Chosen on folds: 1 is
slower, 16 wanders more and is less often right in steady music."""
INVERSE_STRENGTH, N_CLIPS = 0.01, 2_500.0
"""scikit-learn's C of as many clips. Chosen on folds between .0003 and .03."""
LEAST_DEVIATION: Final = 0.05
"""A feature that hardly varies in training says nothing: it is scaled by at least this. Chosen by hand."""
N_STEPS: Final = 60
"""Iterations of the optimiser, which has come to rest by then. Chosen by hand."""


class Steps(NamedTuple):
    """Steps of clips: inputs [n, 384], weights [n], quadrants [n]."""

    inputs: Float32
    weights: Float64
    quadrants: NDArray[np.int64]


def inputs_of(features: Float32) -> Float32:
    """Features and their differences from the running means, ``[n, 384]`` from ``[n, 128]``."""
    parts = [features]
    for seconds in MEANS_S:
        keep = leak(seconds)
        sums = lfilter([1.0 - keep], [1.0, -keep], features, axis=0)
        heard = 1.0 - keep ** np.arange(1, len(features) + 1)
        parts.append(features - (sums / heard[:, None]).astype(np.float32))
    return np.concatenate(parts, 1)


def chosen_steps(
    condition: data.Condition, presence: Float32, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Float64]:
    """Which steps of a clip are fitted to, and their weights."""
    n = len(presence)
    if condition.treatment in data.AFTER and condition.treatment != "pause":
        change = round(data.AFTER_S * EMOTION_RATE_HZ)
        first, last = (change + step for step in CHANGED_STEPS)
        changed, steady = np.arange(first, min(last, n), STRIDE_AFTER), np.arange(last, n, STRIDE)
        parts = [(changed, CHANGE_WEIGHT), (steady, 1.0)]
    else:
        begin = SETTLED_STEPS + int(rng.integers(STRIDE))
        if condition.treatment == "pause":
            begin = int(np.argmax(presence > 0.0))
        parts = [(np.arange(begin, n, STRIDE), 1.0)]
    weights = [np.full(len(steps), weight / max(len(steps), 1)) for steps, weight in parts]
    return np.concatenate([steps for steps, _ in parts]), np.concatenate(weights)


def gather(cache: Path, takes: Callable[[data.Condition, data.Clip], bool] = lambda *_: True) -> Steps:
    """Steps of every training clip that is cached and that ``takes`` takes. Raises DataError without any."""
    rng, rows = np.random.default_rng(0), []
    wet = [data.Condition(font, 0, "wet") for font in ("fluid", "csound")]
    for condition in (*data.TRAIN_CONDITIONS, *wet):
        for clip in data.emopia("train"):
            if not takes(condition, clip) or not data.feature_path(cache, condition, clip).exists():
                continue
            features, presence = data.load(cache, condition, clip)
            steps, weights = chosen_steps(condition, presence, rng)
            rows.append((inputs_of(features)[steps], weights, np.full(len(steps), clip.quadrant)))
    if not rows:
        raise DataError(f"no features in {cache}; run python -m models.emotion.data prepare")
    inputs, weights, quadrants = (np.concatenate(part) for part in zip(*rows, strict=True))
    # Quadrants weigh alike, as in the network's training.
    of_quadrant = np.bincount(quadrants, weights, minlength=4)[quadrants]
    return Steps(inputs, weights * N_CLIPS / (4.0 * of_quadrant), quadrants)


def fit(steps: Steps) -> tuple[Float32, Float64]:
    """Weights [128, 3, 2] and biases [2] of the regressions of valence and arousal."""
    mean, scale = steps.inputs.mean(0), steps.inputs.std(0) + LEAST_DEVIATION
    x = ((steps.inputs - mean) / scale).astype(np.float32)
    weights, biases = np.zeros((x.shape[1], 2)), np.zeros(2)
    for i, positive in enumerate(((0, 3), (0, 1))):
        sign = np.where(np.isin(steps.quadrants, positive), 1.0, -1.0)
        found = minimize(_loss, np.zeros(x.shape[1] + 1), (x, sign, steps.weights), "L-BFGS-B", jac=True,
                         options={"maxiter": N_STEPS}).x  # fmt: skip
        weights[:, i] = found[:-1] / scale
        biases[i] = found[-1] - weights[:, i] @ mean
    shaped = weights.reshape(1 + len(MEANS_S), N_FEATURES, 2).transpose(1, 0, 2)
    return np.ascontiguousarray(shaped, np.float32), biases


def _loss(parameters: Float64, x: Float32, sign: Float64, weights: Float64) -> tuple[float, Float64]:
    """Penalised log loss of a logistic regression, and its gradient; the last parameter is the bias."""
    slopes = parameters[:-1]
    margin = sign * (x @ slopes.astype(np.float32) + parameters[-1])
    pull = -weights * sign / (1.0 + np.exp(margin))
    loss = (weights * np.logaddexp(0.0, -margin)).sum() + 0.5 / INVERSE_STRENGTH * (slopes**2).sum()
    gradient = x.T @ pull.astype(np.float32) + slopes / INVERSE_STRENGTH
    return float(loss), np.append(gradient, pull.sum())


def write(path: Path, weights: Float32, biases: Float64) -> None:
    """The module of the numbers."""
    path.write_text(
        '"""Numbers of ``linear_reading``, written by ``python -m models.emotion.reading fit``."""\n\n'
        "import numpy as np\n\n"
        + biases_and_numbers(biases, weights, 4)
        + f"WEIGHTS = np.array(_NUMBERS.split(), np.float32).reshape({N_FEATURES}, {1 + len(MEANS_S)}, 2)\n",
        encoding="utf-8",
    )


@command("models.emotion.reading", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.reading", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["fit"])
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--out", type=path_argument, default=Path(linear_weights.__file__ or ""))
    args = parser.parse_args(argv)
    steps = gather(args.cache)
    write(args.out, *fit(steps))
    print(json.dumps({"n_steps": len(steps.quadrants)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
