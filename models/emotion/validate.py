"""Judge settings without touching val: ``python -m models.emotion.validate --config CONFIG``.

Each fold trains on other songs of EMOPIA's training split *and* without some sound fonts, those of the
conditions of ``--hear``, through which it then decides the held songs: results on an unseen song through
an unseen font. The evaluation fonts take no part. Prints the scores of single networks, of the mean of their
log odds and, with ``--student``, of a network distilled from them; fits the calibration (``scale × (log odds
+ bias)``, three numbers) that ``export`` folds into the last layer, and writes it with ``--calibration``.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from firmware_py.devices.files.output import refuse_to_overwrite
from kelly_edge.emotion.circumplex import SIGNS, clip_log_odds, estimate_of, posterior_of
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.data import Clip, default_cache, emopia, parse_condition
from models.emotion.evaluate import Prediction, scores
from models.emotion.network import EmotionLstm, run_clips
from models.emotion.train import (
    Example,
    TrainConfig,
    examples,
    other_examples,
    read_config,
    taught,
    train,
)

Float64 = NDArray[np.float64]
HEARD: Final = ("csound-0", "muse-0")
"""What held songs are heard through, and the fonts no fold trains on, unless ``--hear`` says otherwise."""


def split_songs(clips: list[Clip], folds: int, fold: int) -> tuple[list[Clip], list[Clip]]:
    """Clips outside and inside fold ``fold`` of ``folds``, songs kept whole."""
    songs = sorted({clip.song for clip in clips})
    np.random.default_rng(1).shuffle(songs)
    held = set(songs[fold::folds])
    return [c for c in clips if c.song not in held], [c for c in clips if c.song in held]


def fit_calibration(log_odds: Float64, quadrants: NDArray[np.int64]) -> dict[str, float]:
    """scale, valence and arousal of the most likely ``scale × (log odds + bias)``; log odds ``[n, 4]``."""

    def loss(x: Float64) -> float:
        p = posterior_of(np.exp(x[0]) * (log_odds + x[1:] @ SIGNS.T))
        return -float(np.log(p[np.arange(len(p)), quadrants] + 1e-12).mean())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead").x
    return {
        "scale": round(float(np.exp(best[0])), 4),
        "valence": round(float(best[1]), 4),
        "arousal": round(float(best[2]), 4),
    }


def apply_calibration(log_odds: Float64, c: dict[str, float]) -> Float64:
    """Calibrated log odds ``[n, 4]``."""
    result: Float64 = c["scale"] * (log_odds + np.array([c["valence"], c["arousal"]]) @ SIGNS.T)
    return result


def judge(log_odds: Float64, quadrants: NDArray[np.int64]) -> dict[str, Any]:
    """``evaluate.scores`` of clip log odds ``[n, 4]``."""
    return scores([Prediction("", estimate_of(row)) for row in log_odds], quadrants)


def crossed(log_odds: Float64, quadrants: NDArray[np.int64], fold_of: NDArray[np.int64]) -> Float64:
    """Each fold calibrated by what the other folds say."""
    result = np.empty_like(log_odds)
    for fold in np.unique(fold_of):
        inside = fold_of == fold
        result[inside] = apply_calibration(
            log_odds[inside], fit_calibration(log_odds[~inside], quadrants[~inside])
        )
    return result


def clip_odds(network: EmotionLstm, data: list[Example]) -> Float64:
    """Clip log odds ``[len(data), 4]``."""
    emotions = run_clips(network, [e.features for e in data])
    return np.stack([clip_log_odds(x, e.presence) for x, e in zip(emotions, data, strict=True)])


@dataclass(frozen=True)
class Held:
    """What the networks of a fold said: log odds ``[networks, n, 4]`` of n held clips, and the truth."""

    log_odds: Float64
    quadrants: NDArray[np.int64]
    conditions: list[str]


def run_fold(
    config: TrainConfig,
    cache: Path,
    hear: Sequence[str],
    fold: tuple[int, int],
    seeds: int,
    student: bool,
) -> Held:
    """Train ``seeds`` networks (and a student) outside fold ``(which, of how many)``; hear what it holds."""
    which, folds = fold
    outside, held = split_songs(emopia("train"), folds, which)
    left_out = {parse_condition(c).font for c in hear}
    conditions = [c for c in config.conditions if parse_condition(c).font not in left_out]
    if not conditions:
        raise DataError(f"no condition is left without {', '.join(sorted(left_out))}; hear fewer fonts")
    data = examples(cache, conditions, outside, skip_missing=True)
    heard = {name: examples(cache, [name], held, skip_missing=True) for name in hear}
    print(f"fold {which}: {len(data)} examples of {', '.join(conditions)}", flush=True)
    others = other_examples(cache, config.others)
    networks = [train(replace(config, seed=config.seed + seed), data + others) for seed in range(seeds)]
    if student:
        networks.append(train(config, data + others, taught(networks, data)))
    everything = [e for part in heard.values() for e in part]
    names = [name for name, part in heard.items() for _ in part]
    log_odds = np.stack([clip_odds(n, everything) for n in networks])
    return Held(log_odds, np.array([e.quadrant for e in everything]), names)


def report(name: str, log_odds: Float64, truth: Held, fold_of: NDArray[np.int64]) -> None:
    """Scores by condition and over all, as they are and calibrated by the other folds."""
    conditions = np.array(truth.conditions)
    rows = {"": log_odds}
    if len(np.unique(fold_of)) > 1:
        rows[" calibrated"] = crossed(log_odds, truth.quadrants, fold_of)
    for suffix, row in rows.items():
        for heard in ("all", *dict.fromkeys(truth.conditions)):
            chosen = (conditions == heard) | (heard == "all")
            print(f"{name}{suffix} {heard}", json.dumps(judge(row[chosen], truth.quadrants[chosen])))


@command("models.emotion.validate", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.validate", description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=path_argument, default=Path(__file__).with_name("emotion.yaml"))
    parser.add_argument("--cache", type=path_argument, default=default_cache())
    parser.add_argument("--hear", action="append", help="a condition (default: csound-0, muse-0)")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--only", type=int, action="append", help="run these folds (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="networks a fold")
    parser.add_argument("--student", action="store_true", help="also distil them into one")
    parser.add_argument("--calibration", type=path_argument, help="write the calibration, as JSON")
    parser.add_argument("--out", type=path_argument, help="keep the held clips' log odds, as npz")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    refuse_to_overwrite([p for p in (args.out, args.calibration) if p], [args.config])
    torch.set_num_threads(args.threads)
    config = read_config(args.config)
    chosen = args.only or list(range(args.folds))
    hear = args.hear or list(HEARD)
    found = [run_fold(config, args.cache, hear, (k, args.folds), args.seeds, args.student) for k in chosen]
    held = Held(
        np.concatenate([f.log_odds for f in found], 1),
        np.concatenate([f.quadrants for f in found]),
        [name for f in found for name in f.conditions],
    )
    fold_of = np.repeat(chosen, [len(f.quadrants) for f in found])
    if args.out:
        np.savez(args.out, **asdict(held), fold=fold_of)
    singles = held.log_odds[: args.seeds]
    rows = {f"network {i}": row for i, row in enumerate(singles)} | {"mean of networks": singles.mean(0)}
    if args.student:
        rows["student"] = held.log_odds[-1]
    for name, row in rows.items():
        report(name, row, held, fold_of)
    calibration = fit_calibration(held.log_odds[-1], held.quadrants)
    print("calibration", json.dumps(calibration))
    if args.calibration:
        args.calibration.write_text(json.dumps(calibration), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
