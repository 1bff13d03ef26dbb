"""The free emotion model: excerpts of POP909 and the Lieder, rendered, labelled by their notes.

``python -m models.free.emotion prepare|train|export --work out/free``. ``prepare`` cuts and renders (it
resumes); ``train`` uses ``models.emotion.train`` with the computed labels and calibrates on held-out songs;
``export`` puts the INT8 and float32 files into the free set. Fonts: FluidR3 and MuseScore General (MIT),
and strings of our own. Neither clips, labels, scales nor constants come from EMOPIA or VGMIDI: the features
reach the network in the scales of these excerpts, which ``folded`` puts into its first layer.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from kelly_edge.emotion.circumplex import clip_log_odds
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import data_folder
from models.emotion.data import Clip, feature_path, load, parse_condition, prepare, prepare_others
from models.emotion.export import export, export_float
from models.emotion.network import EmotionLstm, calibrated, run_clips
from models.emotion.train import Example, TrainConfig, examples, other_examples, train
from models.emotion.validate import fit_calibration, judge
from models.free.excerpts import cut_all, labelled
from models.shipping import folder_of

Float32 = NDArray[np.float32]
CONDITIONS: Final = (
    "random-0",
    "random-1",
    "random-2",
    "random-0-place",
    "random-1-quiet_place",
    "fluid-0",
    "muse-0-place",
    "fluid-0-place",
)
"""Sounds that the excerpts are heard through: drawn strings, a piano of each font, rooms. Chosen: drawn
strings take a fifth of the time that a font takes."""
OTHERS: Final = ("not_music", "melodies")
"""What is no excerpt: speech and noises that are synthesised, and plain melodies; no recording."""
OTHERS_EVERY: Final = 3
"""Of those sounds one in so many is learned from. Chosen: about as many as renderings."""
N_SONGS: Final = (160, 80)
"""Songs of POP909 and of the Lieder. Chosen: minutes of a busy core."""
EVERY: Final = 3
"""Each condition hears one excerpt in so many, so that each is heard more than twice. Chosen: minutes
of a busy core."""
ORIGIN: Final = {
    "licence": "MIT: trained on renderings of POP909 (MIT) and OpenScore Lieder (CC0 1.0) alone",
    "data": [
        "POP909 (MIT), rendered",
        "OpenScore Lieder Corpus (CC0 1.0), rendered",
        "FluidR3 GM sound font (MIT), for rendering",
        "MuseScore General Lite sound font (MIT), for rendering",
        "strings, melodies and noises synthesised by this project (MIT)",
        "speech that espeak-ng (GPL-3.0-or-later), flite and festival (MIT-CMU) say, to tell it from music",
    ],
}
TRAIN: Final = TrainConfig(
    conditions=list(CONDITIONS),
    others=list(OTHERS),
    epochs=8,
    batch=32,
    crop=160,
    learning_rate=3e-3,
    dropout=0.35,
    weight_decay=0.03,
    graded=0.0,
    distil=0.9,
)
"""As models/emotion/emotion.yaml, with more passes over fewer clips. ``distil``: nearly all of a label is
what the cues say, with its doubt. Chosen by hand, before anything was measured."""


def _ready(cache: Path, clips: list[Clip]) -> list[tuple[str, Clip]]:
    return [
        (name, clip)
        for name in CONDITIONS
        for clip in clips
        if feature_path(cache, parse_condition(name), clip).exists()
    ]


def prepare_all(work: Path) -> None:
    """Cut, render and extract what is not there yet."""
    for name in cut_all(data_folder("pop909", "lieder"), N_SONGS, work / "excerpts"):
        print(name, flush=True)
    clips = labelled(work / "excerpts").clips
    # One clip of each condition after another: what is there when it is stopped is a sample of all.
    running = [prepare(work, parse_condition(name), clips, False, EVERY) for name in CONDITIONS]
    while running:
        running = [job for job in running if next(job, None) is not None]
        print(f"\r{len(_ready(work, clips))} renderings", end="", flush=True)
    for kind in OTHERS:
        for done in prepare_others(work, kind):
            print(f"\r{kind} {done}", end="", flush=True)
    print()


def scales(data: list[Example]) -> tuple[Float32, Float32]:
    """Mean and spread [128] of the features of the excerpts while music sounds."""
    heard = np.concatenate([e.features[e.presence > 0.5] for e in data if e.quadrant >= 0])
    return heard.mean(0), np.maximum(heard.std(0), 0.1).astype(np.float32)


def folded(network: EmotionLstm, mean: Float32, spread: Float32) -> EmotionLstm:
    """The same network for features that are not standardised by ``mean`` and ``spread`` [128]."""
    result = EmotionLstm()
    result.load_state_dict(network.state_dict())
    with torch.no_grad():
        result.dense.weight /= torch.from_numpy(spread)
        result.dense.bias -= result.dense.weight @ torch.from_numpy(mean)
    return result.eval()


def train_all(work: Path, others: Path) -> None:
    """Train, calibrate on held-out songs and keep ``emotion_model.pt``; ``others``: cache of what is no
    excerpt."""
    torch.set_num_threads(1)
    found = labelled(work / "excerpts")
    train_clips = [clip for clip in found.clips if clip.split == "train"]
    held_clips = [clip for clip in found.clips if clip.split != "train"]
    data = examples(work, list(CONDITIONS), train_clips, skip_missing=True)
    held = examples(work, list(CONDITIONS), held_clips, skip_missing=True)
    mean, spread = scales(data)
    print(f"{len(train_clips)} excerpts, {len(data)} renderings, {len(held)} held out")
    data += other_examples(others, list(OTHERS))[::OTHERS_EVERY]
    data = [replace(e, features=(e.features - mean) / spread) for e in data]
    teacher = {name: row.astype(np.float32) for name, row in found.posteriors.items()}
    network = folded(
        train(TRAIN, data, teacher, work / "emotion.log", work / "emotion-last.pt"), mean, spread
    )
    heard = run_clips(network, [e.features for e in held])
    odds = np.stack([clip_log_odds(y, e.presence) for y, e in zip(heard, held, strict=True)])
    truth = np.array([e.quadrant for e in held])
    fitted = fit_calibration(odds, truth)
    scored = {"calibration": fitted, "held_out_songs": judge(odds, truth), "renderings": len(data)}
    (work / "emotion.json").write_text(json.dumps(scored, indent=1), encoding="utf-8")
    network = calibrated(network, fitted["scale"], fitted["valence"], fitted["arousal"])
    torch.save(network.state_dict(), work / "emotion_model.pt")
    print(json.dumps(scored))


def stream(work: Path, first: int) -> Float32:
    """Features of every other training excerpt, one after another, from ``first`` (0 or 1): some ten
    minutes."""
    clips = [clip for clip in labelled(work / "excerpts").clips if clip.split == "train"]
    ready = _ready(work, clips)
    np.random.default_rng(0).shuffle(ready)  # type: ignore[arg-type]
    return np.concatenate([load(work, parse_condition(name), clip)[0] for name, clip in ready[first:50:2]])


def export_all(work: Path, tensorflow: str) -> None:
    """Ship both files into the free set."""
    network = EmotionLstm()
    network.load_state_dict(torch.load(work / "emotion_model.pt", weights_only=True))
    metrics = json.loads((work / "emotion.json").read_text(encoding="utf-8"))
    folder = folder_of("free")
    streams = stream(work, 0), stream(work, 1)
    print(export(network.eval(), *streams, tensorflow, metrics, folder, ORIGIN))
    print(export_float(streams[1], tensorflow, folder))
    print(yaml.safe_dump(metrics))


@command("models.free.emotion", KellyError)
def main() -> None:
    """Read the command line."""
    parser = Parser(prog="models.free.emotion", description=__doc__)
    parser.add_argument("command", choices=["prepare", "train", "export"])
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/free"), help="excerpts, features, runs"
    )
    parser.add_argument("--others", type=path_argument, help="cache with what is no excerpt; default: --work")
    parser.add_argument("--tensorflow", default=sys.executable, help="a Python with tensorflow-cpu 2.15.1")
    arguments = parser.parse_args()
    if arguments.command == "prepare":
        prepare_all(arguments.work)
    elif arguments.command == "train":
        train_all(arguments.work, arguments.others or arguments.work)
    else:
        export_all(arguments.work, arguments.tensorflow)


if __name__ == "__main__":
    sys.exit(main())
