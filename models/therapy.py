"""Does the music that is played move with its programme? A sad piece is played on and on; the box leads.

``python -m models.therapy [--from V A] [--to V A] [--minutes 10] [--seeds N] [--first N] [--out FILE.json]``
holds the music at the first emotion for half a minute, leads it to the second in the time given, and judges
windows of 20 s of it twice: by the shipped emotion model on its rendering, and by plain features of its notes
alone (``firmware_py.report.played_mood``). For each seed Spearman's correlation over time is told of valence,
of arousal, and of the way gone (valence and arousal projected onto the line from the one emotion to the
other). The piece is our own, rendered through a piano's sound font, as what is played back is.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import mido
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from firmware_py.board.map import TARGET_DTYPE, memory_board
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.processes.control import initial_knobs
from firmware_py.processes.dsp import DspStage
from firmware_py.report.course import NOTE_COLUMNS, Course
from firmware_py.report.parties import meet
from firmware_py.report.played_mood import played_mood
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from firmware_py.wiring.offline import Models, open_models
from kelly_edge.contract import (
    EMOTION_RATE_HZ,
    HEARD_DTYPE,
    HOP_SIZE,
    HOPS_PER_EMOTION_STEP,
    NOTE_DTYPE,
    SAMPLE_RATE_HZ,
)
from kelly_edge.emotion.circumplex import Circumplex
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.emotion.programme import HOLD, LEAD, Phase, Programme
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.data import render

TICKS: Final = 480
"""Per quarter note of a MIDI file. Chosen: divisible by all note values."""
BEATS_PER_BAR: Final = 4
"""By definition of the pieces."""
HELD_S: Final = 30.0
"""Time at the first emotion, before it leads. Chosen by hand."""
WINDOW_S: Final = 20.0
"""Chosen: a mood is heard in it, and ten minutes have thirty."""
ENOUGH: Final = 0.8
"""Spearman's correlation from which the music moves with its programme. Chosen as the goal of the
instrument."""

NOWHERE: Final = {"valence": 0.0, "arousal": 0.0}
"""The middle of the plane, by definition."""

Event = tuple[float, int, int]
"""(seconds, MIDI note, velocity or 0 for off)."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """A piano piece of eight bars that come again and again.

    ``chords`` are the bass and three notes above it; ``melody`` is (MIDI note, beats), a bar each.
    """

    bpm: float
    chords: dict[str, tuple[int, int, int, int]]
    harmony: tuple[str, ...]
    melody: tuple[tuple[tuple[int, int], ...], ...]
    velocities: tuple[int, int, int]
    """Of bass, chord and melody."""


LAMENT: Final = Piece(
    76.0,
    {"Am": (45, 57, 60, 64), "Dm": (50, 57, 62, 65), "F": (41, 57, 60, 65), "E": (40, 56, 59, 64)},
    ("Am", "Dm", "E", "Am", "Am", "F", "E", "Am"),
    (
        ((76, 2), (72, 1), (69, 1)), ((77, 1), (74, 2), (69, 1)), ((71, 2), (68, 1), (71, 1)), ((69, 4),),
        ((72, 1), (71, 1), (69, 2)), ((69, 1), (72, 1), (77, 2)), ((76, 1), (74, 1), (71, 1), (68, 1)),
        ((69, 4),),
    ),
    (56, 52, 70),
)  # fmt: skip
"""Slow, soft, in A minor."""
SONG: Final = Piece(
    112.0,
    {"C": (48, 60, 64, 67), "F": (53, 60, 65, 69), "G": (43, 59, 62, 67), "Am": (45, 60, 64, 69)},
    ("C", "F", "G", "C", "Am", "F", "G", "C"),
    (
        ((76, 1), (79, 1), (76, 1), (72, 1)), ((77, 1), (81, 1), (77, 2)),
        ((74, 1), (79, 1), (83, 1), (79, 1)), ((84, 2), (79, 2)),
        ((76, 1), (72, 1), (76, 2)), ((77, 1), (76, 1), (77, 1), (81, 1)),
        ((79, 1), (77, 1), (74, 1), (71, 1)), ((72, 4),),
    ),
    (72, 64, 88),
)  # fmt: skip
"""Quick and bright, in C major."""


def played(piece: Piece, seconds: float) -> list[Event]:
    """What a pianist's keys do."""
    beat_s = 60.0 / piece.bpm
    events: list[Event] = []
    bass_velocity, chord_velocity, melody_velocity = piece.velocities
    for bar in range(int(seconds / (BEATS_PER_BAR * beat_s)) + 1):
        bass, *upper = piece.chords[piece.harmony[bar % len(piece.harmony)]]
        start = bar * BEATS_PER_BAR
        struck = [(start, bass, BEATS_PER_BAR, bass_velocity)]
        struck += [(start + 1 + n, pitch, 1, chord_velocity) for n, pitch in enumerate(upper)]
        at = start
        for pitch, beats in piece.melody[bar % len(piece.melody)]:
            struck.append((at, pitch, beats, melody_velocity))
            at += beats
        for beat, pitch, beats, velocity in struck:
            events += [(beat * beat_s, pitch, velocity), ((beat + 0.95 * beats) * beat_s, pitch, 0)]
    return events


def rendered(events: Sequence[Event], path: Path) -> NDArray[np.float32]:
    """float32 [n] at 48 kHz, through FluidR3's piano; ``path`` is where the MIDI file may lie."""
    file, track, tick = mido.MidiFile(ticks_per_beat=TICKS), mido.MidiTrack(), 0
    file.tracks.append(track)
    for time_s, pitch, velocity in sorted(events, key=lambda e: (e[0], e[2])):
        at = round(time_s * 2 * TICKS)  # 120 beats a minute, as without a tempo
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=at - tick))
        tick = at
    file.save(path)
    return render(path, "fluid").astype(np.float32) / 32_768.0


def events_of(notes: NDArray[Any]) -> list[Event]:
    """Notes (NOTE_DTYPE [n]) as events."""
    events: list[Event] = []
    for note in notes:
        onset_s, pitch = float(note["onset_s"]), int(note["pitch"])
        events += [(onset_s, pitch, int(note["velocity"])), (onset_s + float(note["duration_s"]), pitch, 0)]
    return events


class _Mute:
    """A voice that says nothing: what is heard does not need it."""

    def process(self, hop: object, out: NDArray[np.float32], *heard: float) -> None:
        """A hop of silence."""
        out[:] = 0.0


def heard_in(samples: NDArray[np.float32], models: Models, settings: Settings) -> NDArray[Any]:
    """What the box hears in a recording, HEARD_DTYPE [n groups]."""
    board, clock = memory_board(), VirtualClock()
    voice: Any = _Mute()
    stage = DspStage(board.ends("dsp"), models.emotion, voice, settings.audio.period, clock)
    heard, groups = np.zeros((), HEARD_DTYPE), []
    for n, hop in enumerate(samples[: samples.size // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE), 1):
        clock.time_s = n * HOP_SIZE / SAMPLE_RATE_HZ
        for block in hop.reshape(-1, settings.audio.period):
            board.rings["capture"].write(block)
        stage.step()
        if n % HOPS_PER_EMOTION_STEP == 0:
            while board.rings["heard"].read(heard):
                groups.append(heard.copy())
    return np.array(groups, HEARD_DTYPE)


def led(
    heard: NDArray[Any], programme: Programme, models: Models, settings: Settings
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What the box plays to what it hears, led by ``programme``: NOTE_DTYPE [n], TARGET_DTYPE [n groups]."""
    settings = replace(settings, emotion=replace(settings.emotion, programme=programme.name))
    board, clock = memory_board(), VirtualClock()
    board.cells["knobs"].write(initial_knobs(settings, (programme.name,)))
    stage = ComposerStage(
        board.ends("composer"),
        settings,
        new_generator(settings, models.composer),
        clock,
        programmes=(programme,),
    )
    note, target = np.zeros((), NOTE_DTYPE), np.zeros((), TARGET_DTYPE)
    notes, targets = [], []
    for group in heard:
        clock.time_s = float(group["time_s"])
        board.rings["heard"].write(group)
        stage.step()
        board.cells["target"].read(target)
        targets.append(target.copy())
        while board.rings["notes"].read(note):
            notes.append(note.copy())
    return np.array(notes, NOTE_DTYPE), np.array(targets, TARGET_DTYPE)


def by_model(notes: NDArray[Any], models: Models, seconds: float, folder: Path) -> Floats:
    """Valence and arousal that the shipped model hears in the rendered notes: [n groups, 2]."""
    network, extractor, circumplex = models.emotion, FeatureExtractor(), Circumplex()
    network.reset()
    samples = rendered(events_of(notes), folder / "played.mid")[: round(seconds * SAMPLE_RATE_HZ)]
    estimates = [
        circumplex.update(network.step(extractor.features), extractor.presence)
        for hop in samples[: samples.size // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE)
        if extractor.push(hop)
    ]
    return np.array([(e.valence, e.arousal) for e in estimates])


def by_notes(notes: NDArray[Any], seconds: float) -> Floats:
    """Valence and arousal told from the notes alone, each second: [n, 2]."""
    course = Course()
    # The grid begins with the first entry.
    course.add({"kind": "emotion", "time_s": 0.0, **NOWHERE, "target": NOWHERE})
    for note in notes:
        course.add({"kind": "note", **{n: float(note[n]) for n in NOTE_COLUMNS[:-1]}})
    course.end_s = seconds
    return played_mood(meet(course))


def windows(values: Floats, seconds: float, rate_hz: float) -> Floats:
    """Means over windows of ``WINDOW_S`` from the moment it leads: [n, 2]."""
    n = round(WINDOW_S * rate_hz)
    begin = round(HELD_S * rate_hz)
    whole = values[begin : round(seconds * rate_hz)]
    return np.array([np.nanmean(whole[i : i + n], axis=0) for i in range(0, len(whole) - n + 1, n)])


def moves_with(played: Floats, start: Floats, goal: Floats) -> dict[str, float]:
    """Spearman's correlation of each with time, for a programme that leads straight on."""
    way = (played - start) @ (goal - start)
    columns = {"valence": played[:, 0], "arousal": played[:, 1], "way": way}
    return {name: round(float(spearmanr(np.arange(len(c)), c).statistic), 3) for name, c in columns.items()}


def fastest_per_min(targets: NDArray[Any]) -> float:
    """Fastest change of the target over ten seconds, per minute, from the moment it leads."""
    n = round(10.0 * EMOTION_RATE_HZ)
    whole = targets[round((HELD_S + 1.0) * EMOTION_RATE_HZ) :]
    moved = [np.abs(whole[name][n:] - whole[name][:-n]).max() for name in ("valence", "arousal")]
    return round(float(max(moved)) * 60.0 * EMOTION_RATE_HZ / n, 4)


def evaluate(start: Floats, goal: Floats, minutes: float, seeds: Sequence[int]) -> dict[str, Any]:
    """The correlations of each seed."""
    settings = Settings()
    models = open_models(settings)
    seconds = HELD_S + 60.0 * minutes
    (v, a), (to_v, to_a) = start, goal
    phases = (
        Phase(HOLD, float(v), float(a), duration_s=HELD_S),
        Phase(LEAD, float(to_v), float(to_a), duration_s=60.0 * minutes),
        Phase(HOLD, float(to_v), float(to_a)),
    )
    programme = Programme("led", "To be judged.", "models.therapy", phases)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        heard = heard_in(rendered(played(LAMENT, seconds), folder / "lament.mid"), models, settings)
        heard = heard[: round(seconds * EMOTION_RATE_HZ)]
        for seed in seeds:
            seeded = replace(settings, composer=replace(settings.composer, seed=seed))
            notes, targets = led(heard, programme, models, seeded)
            heard_so = windows(by_model(notes, models, seconds, folder), seconds, EMOTION_RATE_HZ)
            told = windows(by_notes(notes, seconds), seconds, 1.0)
            rows.append(
                {
                    "seed": seed,
                    "model": moves_with(heard_so, start, goal),
                    "notes": moves_with(told, start, goal),
                    "first_and_last_heard": [[round(float(x), 2) for x in heard_so[i]] for i in (0, -1)],
                    "fastest_per_min": fastest_per_min(targets),
                    "n_notes": len(notes),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    rate = float(np.abs(goal - start).max()) / minutes
    n_moving = sum(min(row["model"]["way"], row["notes"]["way"]) >= ENOUGH for row in rows)
    return {"rate_per_min": round(rate, 4), "n_seeds": len(rows), "n_that_move": n_moving, "seeds": rows}


@command("models.therapy", KellyError)
def main(arguments: Sequence[str] | None = None) -> int | None:
    """The command line."""
    parser = Parser(prog="python -m models.therapy", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="start", type=float, nargs=2, default=(-0.6, -0.4))
    parser.add_argument("--to", dest="goal", type=float, nargs=2, default=(0.5, 0.1))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--out", type=path_argument, help="a JSON file for all of it")
    args: argparse.Namespace = parser.parse_args(arguments)
    seeds = range(args.first, args.first + args.seeds)
    result = evaluate(np.array(args.start), np.array(args.goal), args.minutes, seeds)
    text = json.dumps(result, indent=1)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")
    print(text)
    return None


if __name__ == "__main__":
    raise SystemExit(main())
