"""VGMIDI's human curves against the model: ``python -m models.emotion.curves``.

About 30 people per piece drew valence and arousal over time (Ferreira & Whitehead, ISMIR 2019); the file
holds their mean and the means of two halves of them, a value a measure. A phrase is decided as any clip;
its valence and arousal are compared with the people's mean over the measures it spans (Pearson r, 95 %
bootstrap interval over phrases). ``split_half`` is the r between the two halves of the people, ``ceiling``
the square root of the reliability it implies (Spearman-Brown): what a model that knew the true mean would
reach. Validation only: nothing is fitted here.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import mido
import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data
from models.emotion.evaluate import RUNTIMES, decide, open_network

Float64 = NDArray[np.float64]
CURVES: Final = "vgmidi_va_over_time.json"
N_BOOTSTRAP: Final = 2_000
"""Chosen: the interval's ends are steady in the second digit."""
DIMENSIONS: Final = ("valence", "arousal")


def phrase_spans(paths: list[Path]) -> dict[Path, tuple[str, float, float]]:
    """(piece, start s, end s) of each phrase file ``PIECE_k.mid``; phrases of a piece lie end to end."""
    ends: dict[str, float] = {}
    spans = {}
    for path in sorted(paths, key=lambda p: (p.stem.rsplit("_", 1)[0], int(p.stem.rsplit("_", 1)[1]))):
        piece = path.stem.rsplit("_", 1)[0]
        start = ends.get(piece, 0.0)
        ends[piece] = start + mido.MidiFile(path).length
        spans[path] = piece, start, ends[piece]
    return spans


def span_mean(curve: list[float], seconds_per_measure: float, start_s: float, end_s: float) -> float:
    """Mean of the measures that lie at least half within the span; the nearest one if none does."""
    middle = (np.arange(len(curve)) + 0.5) * seconds_per_measure
    inside = (middle >= start_s) & (middle < end_s)
    if not inside.any():
        inside = np.arange(len(curve)) == np.argmin(np.abs(middle - 0.5 * (start_s + end_s)))
    return float(np.asarray(curve)[inside].mean())


def human_means(clips: list[data.Clip]) -> dict[str, Float64]:
    """valence and arousal → ``[n_phrases, 3]``: mean of all people, of one half, of the other. DataError."""
    path = data.data_folder() / CURVES
    try:
        curves = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path} ({error}); fetch VGMIDI's annotations again") from None
    spans = phrase_spans([clip.path for clip in clips])
    rows: dict[str, list[list[float]]] = {name: [] for name in DIMENSIONS}
    for clip in clips:
        piece, start, end = spans[clip.path]
        entry = curves.get(f"{piece}.mid")
        if entry is None:
            raise DataError(f"{path} has no curve of {piece}; fetch VGMIDI's annotations again")
        for name in DIMENSIONS:
            parts = [entry[f"{name}_mean"], *entry[f"{name}_half"]]
            rows[name].append([span_mean(c, entry["seconds_per_measure"], start, end) for c in parts])
    return {name: np.array(values) for name, values in rows.items()}


def _interval(
    statistic: Callable[[NDArray[np.int64]], float], n: int, rng: np.random.Generator
) -> list[float]:
    drawn = [statistic(rng.integers(0, n, n)) for _ in range(N_BOOTSTRAP)]
    return [round(float(q), 3) for q in np.percentile(drawn, [2.5, 97.5])]


def correlate(model: Float64, people: Float64) -> dict[str, Any]:
    """r of ``model`` [n] with ``people`` [n, 3] (all, half, half), its interval, and what people reach."""

    def r(rows: NDArray[np.int64]) -> float:
        return float(np.corrcoef(model[rows], people[rows, 0])[0, 1])

    halves = float(np.corrcoef(people[:, 1], people[:, 2])[0, 1])
    reliability = 2.0 * halves / (1.0 + halves)
    return {
        "n": len(model),
        "r": round(r(np.arange(len(model))), 3),
        "ci95": _interval(r, len(model), np.random.default_rng(0)),
        "split_half": round(halves, 3),
        "ceiling": round(float(np.sqrt(max(reliability, 0.0))), 3),
    }


@command("models.emotion.curves", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.curves", description=__doc__.splitlines()[0])
    parser.add_argument("--condition", default="timgm-0", help="cached features of the phrases")
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--model", type=path_argument, help="default: the shipped model")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0])
    args = parser.parse_args(argv)
    clips = data.vgmidi_phrases()
    people = human_means(clips)
    condition, network = data.parse_condition(args.condition), open_network(args.model, args.runtime)
    heard = [
        decide(
            network, *data.load(args.cache, condition, clip), data.load_frames(args.cache, condition, clip)[0]
        )
        for clip in clips
    ]
    model = {
        "valence": np.array([e.valence for e in heard]),
        "arousal": np.array([e.arousal for e in heard]),
    }
    print(json.dumps({name: correlate(model[name], people[name]) for name in DIMENSIONS}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
