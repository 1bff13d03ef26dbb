"""Every figure of the card and of ``models.report`` about trained networks: ``python -m
models.emotion.scorecard``.

Give the exported folder and, with ``--run``, the trained runs of several seeds. Prints the JSON that
``export --metrics`` puts into the manifest: EMOPIA val by rendering, float and INT8, the spread over the
seeds (float networks, calibrated), r with VGMIDI's human curves, and how the estimate behaves while it
streams. Renderings that are not cached are left out.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from kelly_edge.emotion.circumplex import clip_decision
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.room import room_of_clip
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data, streaming
from models.emotion.curves import DIMENSIONS, correlate, human_means
from models.emotion.evaluate import RUNTIMES, Prediction, decide, open_network, scores, stream
from models.emotion.network import calibrated, load_run, run_clips
from models.report import INT8, SEEDS, STREAMING

Float32 = NDArray[np.float32]
RENDERINGS: Final = {
    "seen_font_fluidr3": "fluid-0",
    "unseen_font_timgm6mb": "timgm-0",
    "far_font_opl3": "opl3-0",
    "timgm6mb_gain_minus_12_db": "timgm-0-quiet",
    "timgm6mb_room_noise_20_db": "timgm-0-noise_20db",
    "timgm6mb_room_noise_10_db": "timgm-0-noise_10db",
    "timgm6mb_room_impulse_response": "timgm-0-room",
    "timgm6mb_wet_room": "timgm-0-wet",
    "set_aside_font_freepats": "freepats-0",
    "freepats_wet_room": "freepats-0-wet",
    "freepats_room_noise_10_db": "freepats-0-noise_10db",
    "freepats_band": "freepats-band",
    "freepats_strings": "freepats-strings",
    "freepats_guitar": "freepats-guitar",
}
SCORES: Final = ("quadrant", "arousal", "valence")
AFTER: Final = "timgm-0-after"


def _ready(cache: Path, condition: str, clips: list[data.Clip]) -> bool:
    parsed = data.parse_condition(condition)
    paths = (data.feature_path, data.frames_path)
    return all(path(cache, parsed, clip).exists() for path in paths for clip in clips)


def room_offset(cache: Path, condition: data.Condition, clip: data.Clip) -> float:
    """What the room of a cached clip adds to its arousal. Raises DataError."""
    frames, presence, _ = data.load_frames(cache, condition, clip)
    return room_of_clip(frames, presence).arousal


Read = Callable[[list[Float32]], list[Float32]]
"""Emotion vectors of clips of features."""


def streaming_reader(network: EmotionNetwork) -> Read:
    """As the box reads: step by step."""
    return lambda clips: [stream(network, features) for features in clips]


def by_rendering(read: Read, cache: Path) -> dict[str, Any]:
    """``evaluate.scores`` of EMOPIA val for each rendering that is cached."""
    clips = data.emopia("val")
    quadrants = np.array([clip.quadrant for clip in clips])
    result = {}
    for name, condition in RENDERINGS.items():
        if _ready(cache, condition, clips):
            parsed = data.parse_condition(condition)
            features, presence = zip(*(data.load(cache, parsed, clip) for clip in clips), strict=True)
            offsets = [room_offset(cache, parsed, clip) for clip in clips]
            read_clips = zip(read(list(features)), presence, offsets, strict=True)
            heard = [clip_decision(*clip) for clip in read_clips]
            result[name] = scores([Prediction("", estimate) for estimate in heard], quadrants)
    return result


def spread(networks: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of each accuracy, from ``by_rendering`` of each."""
    result: dict[str, Any] = {}
    for name in networks[0]:
        result[name] = {}
        for score in SCORES:
            values = [found[name][score]["accuracy"] for found in networks]
            sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            result[name][score] = {"mean": round(float(np.mean(values)), 4), "sd": round(sd, 4)}
    return result


def curves(network: EmotionNetwork, cache: Path) -> dict[str, Any]:
    """r with VGMIDI's human curves, by font."""
    clips = data.vgmidi_phrases()
    people = human_means(clips)
    result: dict[str, Any] = {}
    for font in ("timgm", data.PATCHES):
        if _ready(cache, f"{font}-0", clips):
            parsed = data.parse_condition(f"{font}-0")
            heard = [
                decide(network, *data.load(cache, parsed, clip), data.load_frames(cache, parsed, clip)[0])
                for clip in clips
            ]
            result[font] = {
                name: correlate(np.array([getattr(e, name) for e in heard]), people[name])
                for name in DIMENSIONS
            }
    return result


def behaviour(network: EmotionNetwork, cache: Path) -> dict[str, Any]:
    """``streaming`` of the network: changes, inaudible changes of the sound, and trust in the clips."""
    result: dict[str, Any] = {"unheard": streaming.unheard(network)}
    clips = data.emopia("val")
    if _ready(cache, AFTER, clips):
        parsed = data.parse_condition(AFTER)
        loaded = [data.load(cache, parsed, clip) for clip in clips]
        heard = [streaming.listen(stream(network, x), streaming.sounding(p), x) for x, p in loaded]
        result["changes"] = streaming.changes(heard)
    folder = data.data_folder() / "clips"
    chosen = sorted(
        p for p in folder.iterdir() if p.stem.split("-")[0] in ("speech", "singing", "rain", "noise")
    )
    result["trust"] = streaming.trusts(network, chosen)
    return result


@command("models.emotion.scorecard", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.scorecard", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=path_argument, help="of the exported model")
    parser.add_argument("--run", type=path_argument, action="append", default=[], help="of each seed")
    parser.add_argument(
        "--calibration", type=path_argument, default=Path(__file__).with_name("calibration.json")
    )
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    fitted = json.loads(args.calibration.read_text(encoding="utf-8"))
    seeds = [
        by_rendering(partial(run_clips, calibrated(load_run(run), **fitted)), args.cache) for run in args.run
    ]
    file = args.folder / "emotion_model.tflite"
    network = open_network(file, RUNTIMES[0])
    exact = open_network(file.with_suffix(".json"), RUNTIMES[2])
    found = {
        "command": "python -m models.emotion.scorecard FOLDER --run RUN …",
        INT8: by_rendering(streaming_reader(network), args.cache),
        "emopia_val_float": by_rendering(streaming_reader(exact), args.cache),
        "vgmidi_phrases_r_int8": curves(network, args.cache),
        STREAMING: behaviour(network, args.cache),
    }
    if seeds:
        found[SEEDS] = spread(seeds)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
