"""Everything the card and ``models.report`` say of trained networks: ``python -m models.emotion.scorecard``.

Give the exported folders of several seeds, first the one that ships. Prints the JSON that
``export --metrics`` puts into the manifest: EMOPIA val by rendering, float and INT8, the spread over the
seeds, r with VGMIDI's human curves, and how the estimate behaves while it streams. Renderings that are not
cached are left out.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.errors import KellyError
from kelly_edge_commands import Parser, command, path_argument
from models.emotion import data, streaming
from models.emotion.curves import DIMENSIONS, correlate, human_means
from models.emotion.evaluate import RUNTIMES, Prediction, decide, open_network, scores, stream

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
TRUSTED_OR_NOT: Final = ("speech", "singing", "rain", "noise", "orchestra", "trumpet", "piano")
AFTER: Final = "timgm-0-after"


def _ready(cache: Path, condition: str, clips: list[data.Clip]) -> bool:
    parsed = data.parse_condition(condition)
    return all(data.feature_path(cache, parsed, clip).exists() for clip in clips)


def by_rendering(network: EmotionNetwork, cache: Path) -> dict[str, Any]:
    """``evaluate.scores`` of EMOPIA val for each rendering that is cached."""
    clips = data.emopia("val")
    quadrants = np.array([clip.quadrant for clip in clips])
    result = {}
    for name, condition in RENDERINGS.items():
        if _ready(cache, condition, clips):
            parsed = data.parse_condition(condition)
            heard = [decide(network, *data.load(cache, parsed, clip)) for clip in clips]
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
            heard = [decide(network, *data.load(cache, parsed, clip)) for clip in clips]
            result[font] = {
                name: correlate(np.array([getattr(e, name) for e in heard]), people[name])
                for name in DIMENSIONS
            }
    return result


def behaviour(network: EmotionNetwork, cache: Path) -> dict[str, Any]:
    """``streaming`` of the network: changes, what nobody hears, and trust in the clips."""
    result: dict[str, Any] = {"unheard": streaming.unheard(network)}
    clips = data.emopia("val")
    if _ready(cache, AFTER, clips):
        parsed = data.parse_condition(AFTER)
        loaded = [data.load(cache, parsed, clip) for clip in clips]
        heard = [streaming.listen(stream(network, x), streaming.sounding(p)) for x, p in loaded]
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
    parser.add_argument("folder", type=path_argument, nargs="+", help="exported, the shipped one first")
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    args = parser.parse_args(argv)
    files = [folder / "emotion_model.tflite" for folder in args.folder]
    seeds = [by_rendering(open_network(file, RUNTIMES[0]), args.cache) for file in files]
    first = open_network(files[0], RUNTIMES[0])
    found = {
        "command": "python -m models.emotion.scorecard FOLDER …",
        "emopia_val_int8_ai_edge_litert": seeds[0],
        "emopia_val_float": by_rendering(
            open_network(files[0].with_suffix(".json"), RUNTIMES[2]), args.cache
        ),
        "emopia_val_int8_seeds": {"seeds": list(range(len(seeds))), **spread(seeds)},
        "vgmidi_phrases_r_int8": curves(first, args.cache),
        "streaming_int8": behaviour(first, args.cache),
    }
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
