"""Score the emotion model: ``python -m models.emotion.evaluate --audio-dir DIR --out PRED.csv``.

Every file streams through the same features, network and whole-clip decision as on the box. The CSV has a
row per file: path, valence, arousal, quadrant, confidence, p_q1 .. p_q4. ``--labels CSV`` (columns path and
quadrant, or path, valence_sign and arousal_sign; matched by file stem) adds scores with 95 % intervals
(bootstrap over files); ``--json`` prints them as JSON. Other inputs: ``--midi-dir DIR --font timgm`` renders
first, ``--condition timgm-0 --split val`` takes cached features.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.files.output import refuse_to_overwrite
from firmware_py.runtimes.artefacts import load as load_artefact
from firmware_py.runtimes.emotion_network import TfliteEmotion
from firmware_py.runtimes.rtneural import open_rtneural
from firmware_py.runtimes.tflite import TfliteStep
from kelly_edge.contract import N_EMOTION, QUADRANTS
from kelly_edge.emotion.circumplex import EmotionEstimate, clip_decision
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.room import room_of_clip
from kelly_edge.errors import ArtefactError, DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data
from models.emotion.acoustics import read_audio

Float32 = NDArray[np.float32]
AUDIO_SUFFIXES: Final = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"}
# Of the bootstrap: chosen so that the interval's ends are steady in the second digit. Bins of the calibration
# error: ten, after Guo et al. (2017).
N_BOOTSTRAP: Final = 2_000
N_ECE_BINS: Final = 10
RUNTIMES: Final = ("ai_edge_litert", "tflite_runtime", "rtneural_json")


def state_pairs(model: bytes) -> tuple[str, list[tuple[str, str]]]:
    """Name of the features' input, and the state's (input, output) names, from the file's signature."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    signature: dict[str, dict[str, int]] = interpreter._get_full_signature_list()["serving_default"]
    names = {
        d["index"]: d["name"] for d in interpreter.get_input_details() + interpreter.get_output_details()
    }
    ins, outs = signature["inputs"], signature["outputs"]
    return names[ins["features"]], [(names[ins[s]], names[outs[f"{s}_next"]]) for s in ("h", "c")]


def open_network(model: Path | None, runtime: str) -> EmotionNetwork:
    """The shipped model, or the file given, in one of ``RUNTIMES``. Raises ArtefactError."""
    if runtime == "rtneural_json":
        path = model or load_artefact("emotion_model").path.with_suffix(".json")
        return open_rtneural(path)
    if model is None:
        artefact = load_artefact("emotion_model")
        return TfliteEmotion(TfliteStep(artefact.content, runtime, artefact.state))
    try:
        content = model.read_bytes()
    except OSError as error:
        raise ArtefactError(f"cannot read {model} ({error.strerror}); give a .tflite file") from None
    return TfliteEmotion(TfliteStep(content, runtime, state_pairs(content)[1]))


def stream(network: EmotionNetwork, features: Float32) -> Float32:
    """Emotion vectors ``[n, 64]`` of a clip, from zero state."""
    network.reset()
    emotion = np.zeros((len(features), N_EMOTION), np.float32)
    for i, row in enumerate(features):
        emotion[i] = network.step(row)
    return emotion


@dataclass(frozen=True)
class Prediction:
    """A file and the decision about it."""

    path: str
    estimate: EmotionEstimate

    @property
    def quadrant(self) -> int:
        """0 .. 3."""
        return int(self.estimate.posterior.argmax())


def decide(
    network: EmotionNetwork, features: Float32, presence: Float32, frames: Float32 | None = None
) -> EmotionEstimate:
    """The whole-clip decision, corrected for the room where the log mel ``frames`` [n, 8, 27] are known."""
    offset = 0.0 if frames is None else room_of_clip(frames, presence).arousal
    return clip_decision(stream(network, features), presence, offset)


def scores(predictions: list[Prediction], quadrants: NDArray[np.int64]) -> dict[str, Any]:
    """Accuracies with 95 % bootstrap intervals, log loss, AUC of valence and arousal, and the quadrants' ECE.

    ``log_loss`` in nats, which says more about a change than accuracy does: every clip counts, however near.
    ``confidence``: the quadrants' accuracy among the least, middle and most confident third of the clips.
    """
    p = np.array([x.estimate.posterior for x in predictions])
    valence = np.array([x.estimate.valence for x in predictions])
    arousal = np.array([x.estimate.arousal for x in predictions])
    pleasant, energetic = np.isin(quadrants, (0, 3)), quadrants < 2
    hits = {
        "quadrant": p.argmax(1) == quadrants,
        "arousal": (arousal > 0) == energetic,
        "valence": (valence > 0) == pleasant,
    }
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(p), (N_BOOTSTRAP, len(p)))
    result: dict[str, Any] = {"n": len(p)}
    for name, hit in hits.items():
        low, high = np.percentile(hit[draws].mean(1), [2.5, 97.5])
        result[name] = {"accuracy": _r(hit.mean()), "ci95": [_r(low), _r(high)]}
    rows = np.arange(len(p))
    result["quadrant"]["log_loss"] = _log_loss(p[rows, quadrants])
    result["arousal"]["log_loss"] = _log_loss(0.5 + 0.5 * np.where(energetic, arousal, -arousal))
    result["valence"]["log_loss"] = _log_loss(0.5 + 0.5 * np.where(pleasant, valence, -valence))
    result["arousal"]["auc"] = _r(_auc(arousal, energetic))
    result["valence"]["auc"] = _r(_auc(valence, pleasant))
    result["quadrant"]["ece"] = _r(_ece(p, quadrants))
    ranked = hits["quadrant"][np.argsort([x.estimate.confidence for x in predictions], kind="stable")]
    thirds = [part for part in np.array_split(ranked, 3) if part.size]
    result["confidence"] = {"accuracy_by_third": [_r(part.mean()) for part in thirds]}
    return result


def _r(x: Any) -> float:
    return round(float(x), 4)


def _log_loss(p: NDArray[Any]) -> float:
    """Mean of ``-log p``, of the probabilities given to the truth."""
    return _r(-np.log(np.maximum(p, 1e-6)).mean())


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    if positive.all() or not positive.any():
        return float("nan")
    a, b = score[positive], score[~positive]
    return float((a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean())


def _ece(p: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    confidence, hit = p.max(1), p.argmax(1) == label
    bins = np.minimum((confidence * N_ECE_BINS).astype(int), N_ECE_BINS - 1)
    return float(
        sum(
            (bins == b).mean() * abs(confidence[bins == b].mean() - hit[bins == b].mean())
            for b in np.unique(bins)
        )
    )


def read_labels(path: Path) -> dict[str, int]:
    """File stem to quadrant 0 .. 3. Raises DataError."""
    signs = {"11": 0, "-11": 1, "-1-1": 2, "1-1": 3}
    try:
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and "quadrant" in rows[0]:
            return {Path(r["path"]).stem: QUADRANTS.index(r["quadrant"]) for r in rows}
        return {
            Path(r["path"]).stem: signs[f"{int(float(r['valence_sign']))}{int(float(r['arousal_sign']))}"]
            for r in rows
        }
    except (OSError, KeyError, ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot use the labels in {path} ({error}); give columns path and quadrant (Q1 .. Q4), or path, "
            "valence_sign and arousal_sign (-1 or 1)"
        ) from None


def _clips(args: argparse.Namespace) -> Iterator[tuple[str, data.Sound]]:
    """Every input: its path, and what is heard of it."""
    extractor = FeatureExtractor()
    if args.condition:
        clips = data.vgmidi_phrases() if args.split == "vgmidi" else data.emopia(args.split)
        for clip in clips:
            condition = data.parse_condition(args.condition)
            frames, *_ = data.load_frames(args.cache, condition, clip)
            yield str(clip.path), data.Sound(*data.load(args.cache, condition, clip), frames)
        return
    folder = args.audio_dir or args.midi_dir
    suffixes = AUDIO_SUFFIXES if args.audio_dir else {".mid", ".midi"}
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes) if folder.is_dir() else []
    if not paths:
        raise DataError(f"no {', '.join(sorted(suffixes))} in {folder}; give a folder of recordings")
    for path in paths:
        if args.audio_dir:
            audio = read_audio(path)
        else:
            audio = data.render(path, args.font).astype(np.float32) / 32_768.0
        yield str(path), data.hear(audio, extractor)


def write_predictions(path: Path, predictions: list[Prediction]) -> None:
    """The CSV, written beside and renamed."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["path", "valence", "arousal", "quadrant", "confidence", *(f"p_{q.lower()}" for q in QUADRANTS)]
        )
        for x in predictions:
            e = x.estimate
            numbers = [f"{v:.5f}" for v in (e.confidence, *e.posterior)]
            writer.writerow([x.path, f"{e.valence:.5f}", f"{e.arousal:.5f}", QUADRANTS[x.quadrant], *numbers])
    part.rename(path)


@command("models.emotion.evaluate", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.evaluate", description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--audio-dir", type=path_argument, help="recordings: wav, flac, ogg, mp3")
    source.add_argument("--midi-dir", type=path_argument, help="MIDI files, rendered with --font")
    source.add_argument("--condition", help="cached features of a condition (fluid-0)")
    parser.add_argument("--font", choices=sorted(data.FONTS), default="fluid")
    parser.add_argument("--split", choices=["train", "val", "vgmidi"], default="val")
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--model", type=path_argument, help="default: the shipped model")
    parser.add_argument(
        "--no-room", action="store_true", help="without the correction for the room, as the free set"
    )
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0])
    parser.add_argument("--out", type=path_argument, help="CSV of predictions")
    parser.add_argument("--labels", type=path_argument, help="CSV of labels (a condition has its own)")
    parser.add_argument("--json", action="store_true", help="scores as JSON")
    args = parser.parse_args(argv)
    if args.out:
        folder = args.audio_dir or args.midi_dir
        heard = sorted(folder.iterdir()) if folder is not None and folder.is_dir() else []
        refuse_to_overwrite([args.out], [*heard, *(p for p in (args.labels, args.model) if p)])
    network = open_network(args.model, args.runtime)
    predictions = [
        Prediction(path, decide(network, *(sound[:2] if args.no_room else sound)))
        for path, sound in _clips(args)
    ]
    if args.out:
        write_predictions(args.out, predictions)
    labels = read_labels(args.labels) if args.labels else {}
    if args.condition:
        clips = data.vgmidi_phrases() if args.split == "vgmidi" else data.emopia(args.split)
        labels = {c.path.stem: c.quadrant for c in clips} | labels
    known = [x for x in predictions if Path(x.path).stem in labels]
    if labels and not known:
        raise DataError(f"no file of the input is in {args.labels}; file stems must agree")
    if known:
        result = scores(known, np.array([labels[Path(x.path).stem] for x in known]))
        print(json.dumps(result) if args.json else _table(result))
    elif args.out:
        print(f"{len(predictions)} files, predictions in {args.out}")
    return 0


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['n']} files"]
    for name in ("quadrant", "arousal", "valence"):
        row = result[name]
        more = " ".join(f"{k} {row[k]}" for k in ("auc", "log_loss", "ece") if k in row)
        lines.append(
            f"{name:10} {row['accuracy']:.3f}  95 % [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]  {more}"
        )
    thirds = ", ".join(f"{x:.3f}" for x in result["confidence"]["accuracy_by_third"])
    lines.append(f"quadrant accuracy of the least, middle and most confident third: {thirds}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
