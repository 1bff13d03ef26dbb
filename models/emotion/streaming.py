"""How the estimate behaves while it streams: ``python -m models.emotion.streaming``.

``changes``: seconds from a change of mood, one clip after another, until what is heard and what is aimed at
(``mirror``) have gone 80 % of the way to where they settle, and how far they wander while nothing changes.
``trust``: confidence times presence of recordings, its mean and its maximum, and the presence of music.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.config import Settings
from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.circumplex import Circumplex
from kelly_edge.emotion.music_gate import MusicGate
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.steering import SteeringState, steer
from kelly_edge.errors import KellyError
from kelly_edge_commands import Parser, command, path_argument
from models.emotion import data
from models.emotion.acoustics import read_audio
from models.emotion.evaluate import AUDIO_SUFFIXES, RUNTIMES, open_network, stream

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SHARE: Final = 0.8
LEAST_CHANGE: Final = 0.6
"""Of valence or arousal: what changes less is no change of mood."""
SETTLED: Final = 0.4
"""Share of the second clip, its end, over which the estimate has settled."""


def listen(emotions: Float32, presence: Float32) -> Float64:
    """What the box makes of emotion vectors [n, 64] and the sound's presence [n]: ``[n, 6]``.

    Columns: valence and arousal heard, valence and arousal aimed at, trust, presence of music.
    """
    circumplex, gate, settings, state = Circumplex(), MusicGate(), Settings().emotion, SteeringState()
    rows = np.zeros((len(emotions), 6))
    for i, emotion in enumerate(emotions):
        music = gate.update(emotion, float(presence[i]))
        heard = circumplex.update(emotion, music)
        trust = heard.confidence * music
        state = steer(state, settings, "mirror", heard.valence, heard.arousal, trust)
        rows[i] = heard.valence, heard.arousal, state.valence, state.arousal, trust, music
    return rows


def seconds_to(share: float, curve: Float64, change: int, settled: float) -> float:
    """From step ``change`` until ``curve`` [n] has gone ``share`` of the way to ``settled``."""
    way = (curve[change:] - curve[change]) / (settled - curve[change])
    there = np.flatnonzero(way >= share)
    return (int(there[0]) if len(there) else len(way)) / EMOTION_RATE_HZ


def changes(heard: list[Float64]) -> dict[str, Any]:
    """Step response and steadiness over clips heard after another one, ``listen`` of each."""
    change = round(data.AFTER_S * EMOTION_RATE_HZ)
    found: dict[str, list[float]] = {"heard": [], "target": []}
    wander: dict[str, list[float]] = {"heard": [], "target": []}
    for rows in heard:
        end = rows[-round(SETTLED * (len(rows) - change)) :]
        for name, columns in (("heard", (0, 1)), ("target", (2, 3))):
            wander[name] += [float(end[:, c].std()) for c in columns]
            for c in columns:
                settled = float(end[:, c].mean())
                if abs(settled - rows[change, c]) >= LEAST_CHANGE:
                    found[name].append(seconds_to(SHARE, rows[:, c], change, settled))
    return {
        name: {
            "n": len(found[name]),
            "median_s": round(float(np.median(found[name])), 2),
            "p90_s": round(float(np.percentile(found[name], 90)), 2),
            "standard_deviation_while_steady": round(float(np.mean(wander[name])), 3),
        }
        for name in found
    }


def trusts(network: EmotionNetwork, paths: list[Path]) -> dict[str, Any]:
    """``trust`` of each recording, by file name."""
    result = {}
    for path in paths:
        features, presence = data.extract(read_audio(path))
        rows = listen(stream(network, features), presence)
        result[path.name] = {
            "trust_mean": round(float(rows[:, 4].mean()), 3),
            "trust_max": round(float(rows[:, 4].max()), 3),
            "music_max": round(float(rows[:, 5].max()), 3),
        }
    return result


@command("models.emotion.streaming", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.streaming", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["changes", "trust"])
    parser.add_argument("--condition", default="timgm-0-after", help="clips after another one (changes)")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--audio-dir", type=path_argument, help="recordings (trust; default: the clips)")
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--model", type=path_argument, help="default: the shipped model")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0])
    args = parser.parse_args(argv)
    network = open_network(args.model, args.runtime)
    if args.what == "changes":
        condition = data.parse_condition(args.condition)
        clips = [c for c in data.emopia(args.split) if data.feature_path(args.cache, condition, c).exists()]
        loaded = [data.load(args.cache, condition, c) for c in clips]
        print(json.dumps(changes([listen(stream(network, x), _sounding(p)) for x, p in loaded])))
        return 0
    folder = args.audio_dir or data.data_folder() / "clips"
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    print(json.dumps(trusts(network, paths), indent=1))
    return 0


def _sounding(presence: Float32) -> Float32:
    """The presence of a clip after another one, which the cache holds back around the change."""
    first = round((data.AFTER_S + data.GRACE_S) * EMOTION_RATE_HZ)
    return np.where(np.arange(len(presence)) < first, np.float32(1.0), presence).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
