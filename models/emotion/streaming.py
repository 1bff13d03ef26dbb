"""How the estimate behaves while it streams: ``python -m models.emotion.streaming``.

``changes``: seconds from a change of mood, one clip after another, until the emotion heard and the target
(``mirror``) have gone 80 % of the way to where they settle, and how far they wander while nothing changes.
``trust``: confidence times presence of recordings, its mean and its maximum, and the presence of music.
``unheard``: how far the decision on plain chords moves with inaudible changes: tuning, rumble, DC."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from firmware_py.settings import Settings
from kelly_edge.contract import EMOTION_RATE_HZ, SAMPLE_RATE_HZ, BuiltIn
from kelly_edge.emotion.circumplex import EmotionEstimate
from kelly_edge.emotion.mood import Mood
from kelly_edge.emotion.network import EmotionNetwork
from kelly_edge.emotion.programme import built_in
from kelly_edge.emotion.steering import SteeringState, steer
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data, melodies
from models.emotion.acoustics import read_audio
from models.emotion.evaluate import AUDIO_SUFFIXES, RUNTIMES, decide, open_network, stream

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SHARE: Final = 0.8
"""Share of the way from which a change counts as completed. Chosen: beside half of it, what control
engineers report."""
BEFORE_S: Final = 2.0
"""The emotion heard before the change is a mean over this time. Chosen by hand."""
LEAST_CHANGE: Final = 0.6
"""Least difference of valence or arousal that counts as a change of mood. Chosen: about from one quadrant's
middle to the next."""
UNHEARD_SEED: Final = 3
"""Chosen by nobody: the first one taken."""
SETTLED: Final = 0.4
"""Share of the second clip, its end, over which the estimate has settled. Chosen by hand."""


def listen(
    emotions: Float32, presence: Float32, features: Float32 | None = None, frames: Float32 | None = None
) -> Float64:
    """The box's readings of emotion vectors [n, 64] and the sound's presence [n]: ``[n, 6]``.

    Columns: valence and arousal heard, valence and arousal aimed at, trust, presence of music. Without
    ``features`` [n, 128] the network is heard alone, without ``frames`` [n, 8, 27] no room.
    """
    mood, settings, state = Mood(), Settings().emotion, SteeringState()
    mirror = built_in(settings)[BuiltIn.MIRROR]
    rows = np.zeros((len(emotions), 6))
    for i, emotion in enumerate(emotions):
        read, mel = (None if part is None else part[i] for part in (features, frames))
        heard = mood.update(emotion, read, mel, float(presence[i]))
        trust = heard.confidence * mood.presence
        state = steer(state, mirror, settings.slew_per_s, heard.valence, heard.arousal, trust)
        rows[i] = heard.valence, heard.arousal, state.valence, state.arousal, trust, mood.presence
    return rows


def response(curves: list[Float64], change: int) -> Float64:
    """Mean over ``curves`` ([n] each), per step, of the share of the way to the value where each settles."""
    length = max(len(curve) - change for curve in curves)
    shares = np.full((len(curves), length), np.nan)
    for row, curve in zip(shares, curves, strict=True):
        before = curve[max(change - _steps(BEFORE_S), 0) : change].mean()
        way = (curve[change:] - before) / (_settled(curve, change).mean() - before)
        row[: len(way)] = way
    mean: Float64 = np.nanmean(shares, 0)
    return mean


def _steps(seconds: float) -> int:
    return round(seconds * EMOTION_RATE_HZ)


def _settled(curve: Float64, change: int) -> Float64:
    return curve[-round(SETTLED * (len(curve) - change)) :]


def changes(heard: list[Float64]) -> dict[str, Any]:
    """Step response and steadiness over clips heard after another one, ``listen`` of each."""
    change = _steps(data.AFTER_S)
    result = {}
    for name, columns in (("heard", (0, 1)), ("target", (2, 3))):
        every = [rows[:, c] for rows in heard for c in columns]
        far = [x for x in every if abs(_settled(x, change).mean() - x[change]) >= LEAST_CHANGE]
        mean = response(far, change)
        seconds = {share: int(np.argmax(mean >= share)) / EMOTION_RATE_HZ for share in (0.5, SHARE)}
        wander = float(np.mean([_settled(x, change).std() for x in every]))
        result[name] = {
            "n": len(far),
            "seconds_to_50_percent": round(seconds[0.5], 2),
            "seconds_to_80_percent": round(seconds[SHARE], 2),
            "standard_deviation_while_steady": round(wander, 3),
        }
    return result


def trusts(network: EmotionNetwork, paths: list[Path]) -> dict[str, Any]:
    """``trust`` of each recording, by file name."""
    result = {}
    for path in paths:
        sound = data.hear(read_audio(path))
        rows = listen(stream(network, sound.features), sound.presence, sound.features, sound.frames)
        result[path.name] = {
            "trust_mean": round(float(rows[:, 4].mean()), 3),
            "trust_max": round(float(rows[:, 4].max()), 3),
            "music_max": round(float(rows[:, 5].max()), 3),
        }
    return result


def unheard(network: EmotionNetwork) -> dict[str, float]:
    """The furthest that valence moves with tuning, arousal with 20 Hz at the music's level and with DC."""
    made = melodies.chords(np.random.default_rng(UNHEARD_SEED))
    moved = {"tuning_50_cents_valence": 0.0, "rumble_arousal": 0.0, "dc_arousal": 0.0}
    t = np.arange(made.size) / melodies.RATE_HZ

    def decided(sound: Float64) -> EmotionEstimate:
        audio = soxr.resample(0.1 * sound / np.abs(made).max(), melodies.RATE_HZ, SAMPLE_RATE_HZ)
        return decide(network, *data.hear(audio.astype(np.float32)))

    plain = decided(made)
    for cents in (-50, -32, 32, 50):
        ratio = 2.0 ** (cents / 1_200.0)
        tuned = np.interp(np.arange(0.0, made.size - 1.0, ratio), np.arange(made.size), made)
        shift = abs(decided(tuned).valence - plain.valence)
        moved["tuning_50_cents_valence"] = max(moved["tuning_50_cents_valence"], shift)
    rumble = np.sqrt(2.0) * made.std() * np.sin(2.0 * np.pi * 20.0 * t)
    moved["rumble_arousal"] = abs(decided(made + rumble).arousal - plain.arousal)
    # Of a signal whose peak is 0.1.
    moved["dc_arousal"] = abs(decided(made + 0.2 * np.abs(made).max()).arousal - plain.arousal)
    return {name: round(value, 3) for name, value in moved.items()}


@command("models.emotion.streaming", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.streaming", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["changes", "trust", "unheard"])
    parser.add_argument("--condition", default="timgm-0-after", help="clips after another one (changes)")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--network-alone", action="store_true", help="without the linear reading (changes)")
    parser.add_argument("--audio-dir", type=path_argument, help="recordings (trust; default: the clips)")
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--model", type=path_argument, help="default: the shipped model")
    parser.add_argument("--runtime", choices=RUNTIMES, default=RUNTIMES[0])
    args = parser.parse_args(argv)
    network = open_network(args.model, args.runtime)
    if args.what == "unheard":
        print(json.dumps(unheard(network)))
        return 0
    if args.what == "changes":
        condition = data.parse_condition(args.condition)
        clips = [c for c in data.emopia(args.split) if data.feature_path(args.cache, condition, c).exists()]
        if not clips:
            raise DataError(f"no features of {condition.name} in {args.cache}; prepare them first")
        loaded = [data.load(args.cache, condition, c) for c in clips]
        heard = [
            listen(stream(network, x), sounding(p), None if args.network_alone else x) for x, p in loaded
        ]
        print(json.dumps(changes(heard)))
        return 0
    folder = args.audio_dir or data.data_folder() / "clips"
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    print(json.dumps(trusts(network, paths), indent=1))
    return 0


def sounding(presence: Float32) -> Float32:
    """The presence of a clip after another one, which the cache holds back around the change."""
    first = round((data.AFTER_S + data.GRACE_S) * EMOTION_RATE_HZ)
    return np.where(np.arange(len(presence)) < first, np.float32(1.0), presence).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
