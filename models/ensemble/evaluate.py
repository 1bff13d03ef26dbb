"""Does the box play with a person? Songs, played to it, with the figures of every measure.

``python -m models.ensemble.evaluate --pop909 DIR|--lieder DIR [--songs 002,008] [--list NAME]
[--conditions fluid,timgm,fluid-wet] [--listen keyboard] [--deaf] [--tracker] [--cache DIR] [--json]`` renders
excerpts of 90 s, runs the offline instrument on them and measures it after the first 20 s. With ``--listen
keyboard`` it is given the songs' notes, and nothing is rendered. Every figure stands beside chance (the same
music some seconds late) and the human player's own. ``--deaf`` is a box that takes no notice of the chords
heard (``composer.follow_harmony: false``). ``--tracker`` runs only the ears, which takes a fraction of the
time, for the figures of beat and downbeat."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.files.midi_file import KeyboardPerformance
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, open_models
from kelly_edge.config import ComposerSettings
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, HOP_SIZE, SAMPLE_RATE_HZ, Listen
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.keyboard import KeyboardEar
from kelly_edge.errors import DataError, KellyError
from kelly_edge.rhythm.beat import BeatTracker
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.ensemble import harmony, rhythm
from models.ensemble.lieder import load_lied
from models.ensemble.measures import Family, Party, chance_of, player_of, with_interval
from models.ensemble.songs import CONDITIONS, Song, cache_folder, keys_of, load_song, song_list, sound_of
from models.keys import keys_until

Heard = NDArray[np.float32] | KeyboardPerformance
KEYS: Final = "keys"
"""The condition of songs that are heard by their notes."""
FAMILIES: Final[Mapping[str, Family]] = {"rhythm": rhythm.measure, "harmony": harmony.measure}
PARTIES: Final = ("box", "chance", "player")


def events(phase: NDArray[np.float64], period_s: NDArray[np.float64], time_s: NDArray[np.float64]) -> Any:
    """When a phase (0..1 at ``time_s``, [n]) believed at the time came round: between two readings by the
    first, or by the second where that says it has just happened. None where no period is known (0)."""
    found: list[float] = []
    for k in range(len(time_s) - 1):
        if period_s[k] <= 0.0:
            continue
        ahead_s = time_s[k] + (1.0 - phase[k]) * period_s[k]
        behind_s = time_s[k + 1] - phase[k + 1] * period_s[k + 1]
        if ahead_s >= time_s[k + 1]:
            ahead_s = behind_s
        is_new = not found or ahead_s - found[-1] > 0.4 * period_s[k]
        if time_s[k] <= ahead_s < time_s[k + 1] and is_new:
            found.append(float(ahead_s))
    return np.array(found)


def believed(heard: NDArray[Any]) -> tuple[Any, Any]:
    """Beats and downbeats of HEARD_DTYPE [n], in seconds of the stream."""
    time_s = heard["time_s"].astype(float)
    beat_s = np.where(heard["beat_confidence"] > 0.0, heard["beat_s"], 0.0).astype(float)
    beats_s = events(heard["beat_phase"].astype(float), beat_s, time_s)
    downbeats_s = events(heard["bar_phase"].astype(float), beat_s * heard["n_beats"], time_s)
    return beats_s, downbeats_s


def hear(sound: NDArray[np.float32]) -> NDArray[Any]:
    """A sound heard by the ears alone: HEARD_DTYPE [n] with the fields of the beat."""
    extractor, tracker, records = FeatureExtractor(), BeatTracker(), []
    for i in range(len(sound) // HOP_SIZE):
        if extractor.push(sound[i * HOP_SIZE : (i + 1) * HOP_SIZE]):
            record = np.zeros((), HEARD_DTYPE)
            record["time_s"] = (i + 1) * HOP_SIZE / SAMPLE_RATE_HZ
            tracker.push(extractor.frames, extractor.notes)
            tracker.fill(record)
            records.append(record)
    return np.array(records, HEARD_DTYPE)


def hear_keys(keys: KeyboardPerformance) -> NDArray[Any]:
    """What a keyboard plays, heard by the ears alone, as ``hear``."""
    ear, tracker, records = KeyboardEar(), BeatTracker(), []
    groups = range(int(keys.duration_s / GROUP_S))
    for time_s, came in keys_until(keys, ((group + 1) * GROUP_S for group in groups)):
        for key in came:
            ear.take(*key)
        ear.hear(time_s)
        tracker.push(ear.frames, ear.notes)
        record = np.zeros((), HEARD_DTYPE)
        record["time_s"] = time_s
        tracker.fill(record)
        records.append(record)
    return np.array(records, HEARD_DTYPE)


def ears_of(sound: Heard) -> Party:
    """A party that only listens."""
    heard = hear_keys(sound) if isinstance(sound, KeyboardPerformance) else hear(sound)
    beats_s, downbeats_s = believed(heard)
    none = np.zeros(0)
    return Party(none, none, np.zeros(0, np.int64), none, beats_s, downbeats_s, heard)


def box_of(sound: Heard, models: Models, settings: Settings) -> Party:
    """The box's playing to a sound or to a keyboard, through every stage on the virtual clock."""
    offline = Offline(settings, models, sound)
    records: list[NDArray[Any]] = []
    heard = np.zeros((), HEARD_DTYPE)

    def keep(_: int) -> None:
        if offline.board.cells["heard"].read(heard) and (
            not records or records[-1]["group"] != heard["group"]
        ):
            records.append(heard.copy())

    played = offline.run(after_hop=keep)
    every = np.array(records, HEARD_DTYPE)
    beats_s, downbeats_s = believed(every)
    notes, lines = played.notes, played.bars
    lines_s, lasts_s = lines["start_s"].astype(float), lines["n_beats"] * lines["beat_s"]
    first = np.searchsorted(notes["onset_s"], lines_s)
    sounds = np.append(notes["onset_s"], np.inf)[first] < lines_s + lasts_s
    return Party(
        notes["onset_s"].astype(float),
        notes["onset_s"] + notes["duration_s"].astype(float),
        notes["pitch"].astype(np.int64),
        lines_s[sounds],
        beats_s,
        downbeats_s,
        every,
    )


def figures_of(song: Song, box: Party) -> dict[str, dict[str, float]]:
    """Figures of box, chance and player by party."""
    table: dict[str, dict[str, float]] = {party: {} for party in PARTIES}
    for family in FAMILIES.values():
        table["box"] |= family(song, box)
        table["chance"] |= chance_of(family, song, box)
        table["player"] |= family(song, player_of(song))
    return table


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means with intervals over songs (a song is the mean of its conditions)."""
    names = list(rows[0]["figures"]["box"])
    result: dict[str, Any] = {}
    songs = sorted({row["song"] for row in rows})
    for name in names:
        result[name] = {}
        for party in PARTIES:
            by_song = []
            for song in songs:
                values = [row["figures"][party][name] for row in rows if row["song"] == song]
                known = [v for v in values if np.isfinite(v)]
                by_song.append(float(np.mean(known)) if known else float("nan"))
            result[name][party] = with_interval(by_song)
    return result


def _print(result: Mapping[str, Any]) -> None:
    print(f"{'':22}{'box':>28}{'chance':>10}{'player':>10}")
    for name, by_party in result["summary"].items():
        box = by_party["box"]
        told = f"{box['mean']:.3f} [{box['low']:.3f}, {box['high']:.3f}]"
        print(f"{name:22}{told:>28}{by_party['chance']['mean']:>10.3f}{by_party['player']['mean']:>10.3f}")


@command("models.ensemble.evaluate", KellyError)
def main() -> None:
    """Read the command line, play, measure, print."""
    parser = Parser(prog="models.ensemble.evaluate", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, help="folder of POP909")
    parser.add_argument("--lieder", type=path_argument, help="folder of the Lieder instead")
    parser.add_argument("--deaf", action="store_true", help="take no notice of the chords heard")
    parser.add_argument("--songs", help="names with commas between; default: those of --list")
    parser.add_argument("--list", choices=("evaluation", "development", "lieder"), help="of songs.yaml")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="with commas between")
    parser.add_argument("--listen", choices=(Listen.MICROPHONE, Listen.KEYBOARD), default=Listen.MICROPHONE)
    parser.add_argument("--tracker", action="store_true", help="only the ears: beats and downbeats")
    parser.add_argument("--cache", type=path_argument, default=cache_folder(), help="folder of renderings")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    if (arguments.pop909 is None) == (arguments.lieder is None):
        raise DataError("songs: give --pop909 or --lieder, the folder of one of the two")
    is_lieder = arguments.lieder is not None
    default = "lieder" if is_lieder else "evaluation"
    names = arguments.songs.split(",") if arguments.songs else song_list(arguments.list or default)
    is_keyboard = arguments.listen == Listen.KEYBOARD
    conditions = [KEYS] if is_keyboard else arguments.conditions.split(",")
    if not is_keyboard and (unknown := [c for c in conditions if c not in CONDITIONS]):
        raise DataError(f"no condition {unknown[0]}; give some of {', '.join(CONDITIONS)}")
    settings = Settings(composer=ComposerSettings(follow_harmony=not arguments.deaf))
    cache = arguments.cache
    songs = (
        load_lied(arguments.lieder, name, cache / "lieder")
        if is_lieder
        else load_song(arguments.pop909, name)
        for name in names
    )
    result = evaluate(songs, conditions, cache, None if arguments.tracker else settings)
    if arguments.json:
        print(json.dumps(result))
    else:
        _print(result)


def evaluate(
    songs: Iterable[Song], conditions: Sequence[str], cache: Path, settings: Settings | None
) -> dict[str, Any]:
    """Every song in every condition, or with ``KEYS`` by its notes, to a box with these settings, or to its
    ears alone: rows, and their summary."""
    models = None if settings is None else open_models(settings)
    rows: list[dict[str, Any]] = []
    for song in songs:
        for condition in conditions:
            sound = keys_of(song) if condition == KEYS else sound_of(song, condition, cache)
            box = ears_of(sound) if models is None or settings is None else box_of(sound, models, settings)
            rows.append({"song": song.name, "condition": condition, "figures": figures_of(song, box)})
            told = rows[-1]["figures"]["box"]
            shown = " ".join(
                f"{k} {told[k]:.2f}"
                for k in ("beat_f", "downbeat_f", "grid_share", "bar_lines", "in_chord", "consonant")
            )
            print(f"{song.name} {condition}: {shown}", file=sys.stderr, flush=True)
    by_condition = {c: summary([row for row in rows if row["condition"] == c]) for c in conditions}
    return {"summary": summary(rows), "conditions": by_condition, "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
