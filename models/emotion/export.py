"""Ship a trained run: ``python -m models.emotion.export --run out/emotion/emotion-0 --tensorflow PYTHON``.

Writes ``emotion_model.tflite`` (INT8 products, float state; see ``convert``), ``emotion_model.json``
(RTNeural), the golden vectors of both TFLite runtimes and the manifest entry. Nothing is shipped unless both
runtimes follow the float network over a ten-minute stream (cosine of the 64 at least ``MIN_COSINE``).
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from firmware_py.runtimes.artefacts import load as load_artefact
from firmware_py.runtimes.rtneural import RtneuralEmotion, weights_in
from firmware_py.runtimes.tflite import RUNTIME_MODULES
from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.data import default_cache, emopia, feature_path, load, parse_condition
from models.emotion.evaluate import state_pairs
from models.emotion.network import N_HIDDEN, EmotionLstm, calibrated, load_run, rtneural
from models.shipping import SHIPPED, refuse_to_ship_onto, ship, stream_tflite, tflite_golden

Float32 = NDArray[np.float32]
# Chosen: no decision changes; ten minutes show a drift; four seconds of golden vectors reach every gate.
MIN_COSINE: Final = 0.99
STREAM_S: Final = 600.0
N_GOLDEN: Final = 48
FLOAT_NAME: Final = "emotion_model_float32"
FLOAT_TOLERANCE: Final = 1e-3
"""Float arithmetic in another order. Chosen: a thousand times its rounding."""
ORIGIN: Final[dict[str, Any]] = {
    "licence": "CC BY-NC-SA 4.0 (trained on EMOPIA: research, non-commercial)",
    "data": ["EMOPIA (Hung et al., ISMIR 2021), official train split, rendered with Debian's sound fonts"],
}
"""What the research set's model was trained on."""
GOLDEN_TOLERANCE: Final = 6e-2
"""Three INT8 steps of the last product: tanh and logistic, in float between the products, differ in the
last bit between x86 and ARM, and a product rounds the other way; garbage is off by ten times more.
Measured on both."""


def float_stream(network: EmotionLstm, features: Float32) -> tuple[Float32, Float32, Float32]:
    """Emotion ``[n, 64]``, and the state h, c ``[n, 128]`` *before* each step, streamed from zero."""
    emotion, hs, cs = [], [], []
    h = c = torch.zeros(1, 1, N_HIDDEN)
    with torch.no_grad():
        for row in torch.from_numpy(features):
            hs.append(h[0, 0].numpy())
            cs.append(c[0, 0].numpy())
            y, (h, c) = network(row[None, None], (h, c))
            emotion.append(y[0, 0].numpy())
    return np.stack(emotion), np.stack(hs), np.stack(cs)


def arrays_of(layout: dict[str, Any]) -> dict[str, Float32]:
    """The weights that ``convert.py`` reads, from the content of an RTNeural file."""
    dense, lstm, out = weights_in(layout)
    return {
        "dense_w": dense[0],
        "dense_b": dense[1],
        "lstm_w": np.concatenate(lstm[:2]),
        "lstm_b": lstm[2],
        "out_w": out[0],
        "out_b": out[1],
    }


def quantise(network: EmotionLstm, features: Float32, tensorflow: str, target: Path) -> None:
    """Write the INT8 file; a whole contiguous stream sets the ranges. Raises DataError."""
    _, h, c = float_stream(network, features)
    convert({**arrays_of(rtneural(network)), "x": features, "h": h, "c": c}, tensorflow, target)


def convert(arrays: dict[str, Float32], tensorflow: str, target: Path) -> None:
    """Write the file that ``convert.py`` makes of ``arrays``. Raises DataError."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "weights.npz"
        np.savez(source, **arrays)  # type: ignore[arg-type]
        script = Path(__file__).with_name("convert.py")
        try:
            done = subprocess.run(
                [tensorflow, str(script), str(source), str(target)],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise DataError(
                f"cannot run {tensorflow} ({error.strerror}); give --tensorflow a Python that has "
                "tensorflow-cpu 2.15.1"
            ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise DataError(f"conversion failed ({last}); give --tensorflow a Python with tensorflow-cpu 2.15.1")


def agreement(reference: Float32, other: Float32) -> dict[str, float]:
    """Cosine over the 64 (mean, lowest percentile), relative RMSE, and that of the last tenth (drift)."""
    dot = (reference * other).sum(1)
    cosine = dot / (np.linalg.norm(reference, axis=1) * np.linalg.norm(other, axis=1) + 1e-9)
    tail = slice(-len(reference) // 10, None)

    def relative(a: Float32, b: Float32) -> float:
        return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(a**2)))

    return {
        "cosine_mean": round(float(cosine.mean()), 5),
        "cosine_p1": round(float(np.percentile(cosine, 1)), 5),
        "relative_rmse": round(relative(reference, other), 4),
        "relative_rmse_last_tenth": round(relative(reference[tail], other[tail]), 4),
    }


def stream_of(cache: Path, conditions: list[str], first: int) -> Float32:
    """Ten minutes of training features, contiguous within clips; every other clip, from ``first`` (0 or 1).

    Conditions take turns; one that was not prepared for a clip gives way to the next.
    """
    rows, needed = [], round(STREAM_S * EMOTION_RATE_HZ)
    parsed = [parse_condition(name) for name in conditions]
    clips = emopia("train")
    np.random.default_rng(0).shuffle(clips)  # type: ignore[arg-type]
    for i, clip in enumerate(clips[first::2]):
        turn = [parsed[(i + k) % len(parsed)] for k in range(len(parsed))]
        ready = [c for c in turn if feature_path(cache, c, clip).exists()]
        features, _ = load(cache, (ready or turn)[0], clip)
        rows.append(features)
        needed -= len(features)
        if needed <= 0:
            break
    return np.concatenate(rows)


def export(
    network: EmotionLstm,
    calibration: Float32,
    stream: Float32,
    tensorflow: str,
    metrics: dict[str, Any],
    folder: Path,
    origin: dict[str, Any] = ORIGIN,
) -> dict[str, Any]:
    """Quantise on one stream, verify on another, ship; agreement by runtime. Raises DataError."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "emotion_model.part.tflite"
    quantise(network, calibration, tensorflow, part)
    model = part.read_bytes()
    features_name, pairs = state_pairs(model)
    reference, _, _ = float_stream(network, stream)
    found = {}
    for runtime in RUNTIME_MODULES:
        outputs = stream_tflite(model, runtime, pairs, {features_name: stream[:, None, :]})
        (emotion,) = outputs.values()
        found[runtime] = agreement(reference, emotion.reshape(len(stream), -1))
        if not found[runtime]["cosine_mean"] >= MIN_COSINE:
            part.unlink()
            raise DataError(
                f"{runtime} strays from the float network ({found[runtime]}); nothing was shipped"
            )
    golden = tflite_golden(model, pairs, {features_name: stream[:N_GOLDEN, None, :]})
    (folder / "emotion_model.json").write_text(json.dumps(_rounded(rtneural(network))), encoding="utf-8")
    target = folder / "emotion_model.tflite"
    part.rename(target)
    entry = {
        "name": "emotion_model",
        "kind": "emotion",
        "n_parameters": network.n_parameters(),
        "precision": "int8",
        "runtimes": list(RUNTIME_MODULES),
        "state": [{"input": a, "output": b} for a, b in pairs],
        "golden_tolerance": dict.fromkeys(RUNTIME_MODULES, GOLDEN_TOLERANCE),
        "metrics": {**metrics, "int8_against_float_10_min": found},
        **origin,
        "card": "emotion_model.md",
    }
    ship(entry, target, golden, folder)
    return found


def export_float(stream: Float32, tensorflow: str, folder: Path) -> dict[str, Any]:
    """Ship the float32 TFLite twin of ``emotion_model.json``: what a board takes where INT8 is slower.

    Returns its largest error against the RTNeural file over ``stream``, by runtime. Raises DataError.
    """
    int8 = load_artefact("emotion_model", str(folder))
    layout = json.loads(int8.path.with_suffix(".json").read_text(encoding="utf-8"))
    target = folder / f"{FLOAT_NAME}.tflite"
    convert(arrays_of(layout), tensorflow, target)
    model = target.read_bytes()
    features_name, pairs = state_pairs(model)
    golden = tflite_golden(model, pairs, {features_name: stream[:N_GOLDEN, None, :]})
    reference = RtneuralEmotion(layout)
    wanted = np.stack([reference.step(row) for row in stream[:N_GOLDEN]])
    errors = {
        key.split("/")[1]: float(np.abs(values.reshape(N_GOLDEN, -1) - wanted).max())
        for key, values in golden.items()
        if key.startswith("output/")
    }
    if max(errors.values()) > FLOAT_TOLERANCE:
        raise DataError(f"the float32 file strays from {int8.path.with_suffix('.json')} ({errors})")
    entry = {
        **{key: int8.entry[key] for key in ("kind", "n_parameters", "licence", "data", "card")},
        "name": FLOAT_NAME,
        "precision": "float32",
        "runtimes": list(RUNTIME_MODULES),
        "state": [{"input": a, "output": b} for a, b in pairs],
        "golden_tolerance": dict.fromkeys(RUNTIME_MODULES, FLOAT_TOLERANCE),
        "metrics": {
            "emopia_val_float": int8.entry["metrics"].get("emopia_val_float", {}),
            "largest_error_against_rtneural": errors,
        },
    }
    ship(entry, target, golden, folder)
    return errors


def _rounded(value: Any) -> Any:
    """Nine significant digits: every float32 survives, the file is half the size."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value


@command("models.emotion.export", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.export", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=path_argument, help="folder of the trained run")
    what.add_argument(
        "--float32", action="store_true", help="the float32 twin of the emotion_model.json in --out"
    )
    parser.add_argument("--tensorflow", default=sys.executable, help="a Python with tensorflow-cpu 2.15.1")
    parser.add_argument(
        "--metrics", type=path_argument, help="JSON of models.emotion.evaluate to put in the manifest"
    )
    parser.add_argument("--condition", action="append", default=[], help="INT8 ranges from these (fluid-0)")
    parser.add_argument("--calibration", type=path_argument, help="JSON of models.emotion.validate")
    parser.add_argument("--cache", type=path_argument, default=default_cache())
    parser.add_argument("--out", type=path_argument, default=SHIPPED)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.float32:
        stream = stream_of(args.cache, args.condition or ["fluid-0"], 1)
        print(json.dumps(export_float(stream, args.tensorflow, args.out), indent=2))
        return 0
    sources = [*args.run.glob("*"), *(path for path in (args.metrics, args.calibration) if path)]
    refuse_to_ship_onto(sources, ["emotion_model"], args.out)
    metrics = json.loads(args.metrics.read_text(encoding="utf-8")) if args.metrics else {}
    network = load_run(args.run)
    if args.calibration:
        fitted = json.loads(args.calibration.read_text(encoding="utf-8"))
        network = calibrated(network, fitted["scale"], fitted["valence"], fitted["arousal"])
    calibration, stream = (stream_of(args.cache, args.condition or ["fluid-0"], k) for k in (0, 1))
    print(json.dumps(export(network, calibration, stream, args.tensorflow, metrics, args.out), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
