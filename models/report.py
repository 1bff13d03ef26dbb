"""``python -m models.report``: a row a shipped model: size, float against INT8 quality, calibration, cost.

Below it the emotion model's scores by rendering (seen, unseen and far fonts, gain, noise, rooms, ensembles)
and how it behaves while it streams (speech, a change of mood, inaudible changes). Quality comes from the
manifest entries, where training and export wrote what they measured (with intervals, data and commands); cost
is measured now, on this machine, as ``kelly-edge bench`` does.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from firmware_py.commands.costs import Cost, measure, subjects
from firmware_py.runtimes.artefacts import load, names_of_kind
from firmware_py.settings import Settings
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument

Keys = tuple[str, ...]
SECONDS_EACH: Final = 0.5
"""Chosen: the report is made in half a minute."""


@dataclass(frozen=True)
class Quality:
    """Where an entry's metrics hold what a kind of model is judged by, and which stage of the bench it is."""

    measure: str
    float_keys: Keys
    int8_keys: Keys
    ece_keys: Keys
    stage: str


INT8: Final = "emopia_val_int8_ai_edge_litert"
SEEDS: Final = "emopia_val_seeds"
"""The recipe trained with several seeds: mean and standard deviation of the float networks' accuracies."""
STREAMING: Final = "streaming_int8"
SCORES: Final = ("quadrant", "arousal", "valence")
UNSEEN: Final = ("unseen_font_timgm6mb", "quadrant")
QUALITIES: Final[Mapping[str, Quality]] = {
    "emotion": Quality(
        "four quadrants, EMOPIA val, unseen font",
        ("emopia_val_float", *UNSEEN, "accuracy"),
        (INT8, *UNSEEN, "accuracy"),
        (INT8, *UNSEEN, "ece"),
        "emotion step",
    ),
    "composer": Quality(
        "nats per note, EMOPIA val (less is better)",
        ("likelihood_emopia_val", "student", "nll_per_note"),
        ("likelihood_emopia_val", "shipped_int8", "nll_per_note"),
        (),
        "compound word",
    ),
    "voice": Quality(
        "spectral loss, held out (less is better)",
        ("held_out_loss_float",),
        ("ai_edge_litert", "held_out_loss_int8"),
        (),
        "voice decoder",
    ),
}


def found(metrics: Mapping[str, Any], keys: Keys) -> float | None:
    """The number at ``keys``, or None where it was not measured."""
    value: Any = metrics
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return float(value) if keys and isinstance(value, int | float) else None


def renderings(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per rendering an emotion model was scored on: accuracy, ci95 of each score; of seeds mean, sd."""
    result = []
    for rendering, scores in metrics.get(INT8, {}).items():
        over_seeds = metrics.get(SEEDS, {}).get(rendering, {})
        row: dict[str, Any] = {"rendering": rendering}
        for name in SCORES:
            row[name] = {key: scores[name][key] for key in ("accuracy", "ci95")} | over_seeds.get(name, {})
        result.append(row)
    return result


def behaviour(metrics: Mapping[str, Any], above: str = "") -> list[dict[str, Any]]:
    """A row a figure of ``models.emotion.streaming``, its name the keys that lead to it."""
    result = []
    for key, value in metrics.items():
        name = f"{above}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            result += behaviour(value, f"{name}, ")
        else:
            result.append({"while streaming": name, "measured": value})
    return result


def _in_words(score: Mapping[str, Any]) -> str:
    low, high = score["ci95"]
    spread = f"; {score['mean']:.3f} ± {score['sd']:.3f}" if "mean" in score else ""
    return f"{score['accuracy']:.3f} [{low:.3f}, {high:.3f}]{spread}"


def rows(models_dir: str, costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """A row a model of ``models_dir`` (empty: the shipped ones). Raises ArtefactError."""
    result = []
    for kind, quality in QUALITIES.items():
        cost = next((c for c in costs if c.stage == quality.stage and c.variant.startswith("int8")), None)
        for name in names_of_kind(kind, models_dir):
            entry = load(name, models_dir).entry
            metrics = entry.get("metrics", {})
            # A float32 variant of a model has no INT8 figures of its own.
            is_int8 = entry["precision"] == "int8"
            result.append(
                {
                    "model": name,
                    "parameters": entry["n_parameters"],
                    "kB": round(entry["size_bytes"] / 1e3, 1),
                    "judged by": quality.measure,
                    "float": found(metrics, quality.float_keys),
                    "INT8": found(metrics, quality.int8_keys) if is_int8 else None,
                    "ECE": found(metrics, quality.ece_keys) if is_int8 else None,
                    "us a step": round(cost.p50_us, 1) if cost and is_int8 else None,
                    "renderings": renderings(metrics),
                    "behaviour": behaviour(metrics.get(STREAMING, {})),
                }
            )
    return result


def _table(title: str, content: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in content[0]:
        table.add_column(name, overflow="fold")
    for row in content:
        table.add_row(*("" if value is None else f"{value}" for value in row.values()))
    return table


@command("models.report", KellyError)
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, measure, print."""
    parser = Parser(prog="models.report", description=__doc__)
    parser.add_argument(
        "--models-dir", type=path_argument, help="folder of models (default: the shipped ones)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments)
    costs = measure(subjects(Settings()), SECONDS_EACH)
    table_rows = rows(str(args.models_dir or ""), costs)
    if args.json:
        print(json.dumps(table_rows, indent=2))
        return 0
    console = Console()
    if not console.is_terminal:
        console.width = 150
    by_rendering = [
        {"rendering": row["rendering"]} | {name: _in_words(row[name]) for name in SCORES}
        for model in table_rows
        for row in model.pop("renderings")
    ]
    while_streaming = [row for model in table_rows for row in model.pop("behaviour")]
    console.print(_table("Shipped models", table_rows))
    if by_rendering:
        title = "Emotion on EMOPIA val: accuracy [95 %]; mean ± deviation over seeds"
        console.print(_table(title, by_rendering))
    if while_streaming:
        console.print(_table("Emotion while it streams", while_streaming))
    return 0


if __name__ == "__main__":
    sys.exit(main())
