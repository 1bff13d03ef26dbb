"""Compose MIDI files with the shipped composer and the box's own sampling.

``python -m models.composer.generate --quadrant Q1|--valence V --arousal A --n 10 --seconds 40 --seed 0
--out DIR [--model FILE.onnx]`` writes DIR/Q1_000.mid … (or DIR/va_000.mid …), one performance a file.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from firmware_py.devices.files.output import refuse_to_overwrite
from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.onnx import OnnxComposer, open_composer
from kelly_edge.contract import QUADRANTS
from kelly_edge.errors import ArtefactError, ConfigError, KellyError, OutputError
from kelly_edge.music.generator import Generator
from kelly_edge.music.notes import Bar
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target
from kelly_edge.shared.command_line import Parser, command, path_argument

QUADRANT_SIGNS = dict(zip(QUADRANTS, ((1, 1), (-1, 1), (-1, -1), (1, -1)), strict=True))
NEAR, FAR = 0.2, 1.0
"""Distance of a quadrant's targets from the axes: drawn evenly, so that every level of a sign occurs.
Chosen for that reason."""
# Chosen: what sequencers write in a Standard MIDI File; more bars than any length asked; the dominant and the
# tonic.
TICKS_PER_BEAT = 480
MAX_BARS = 2_000
ENDING_BARS = 2
LIMITS = {
    "valence": (-1.0, 1.0),
    "arousal": (-1.0, 1.0),
    "n": (1, 100_000),
    "seconds": (1.0, 3_600.0),
    "seed": (0, 2**31),
    "temperature": (0.1, 2.0),
    "guidance": (0.0, 5.0),
}
"""Options that are numbers, with their limits. Chosen: the range of the circumplex, and far more clips
than anybody makes."""


def draw_target(quadrant: str | None, seed: int) -> Target | None:
    """A point of a quadrant."""
    if quadrant is None:
        return None
    distance = np.random.default_rng([seed, 2]).uniform(NEAR, FAR, 2)
    valence, arousal = QUADRANT_SIGNS[quadrant]
    return Target(valence * float(distance[0]), arousal * float(distance[1]))


def compose(generator: Generator, target: Target, seconds: float, ends: bool = False) -> list[Bar]:
    """Bars for ``target`` until they last ``seconds``; where it ``ends`` the last two are its ending."""
    bars: list[Bar] = []
    length_s = last_s = 0.0
    while length_s < seconds and len(bars) < MAX_BARS:
        ending = ENDING_BARS * (ends and length_s + (ENDING_BARS + 0.5) * last_s >= seconds)
        bars.append(generator.compose_bar(replace(target, ending=ending)))
        last_s = bars[-1].n_beats * 60.0 / bars[-1].tempo_bpm
        length_s += last_s
    return bars


def write_midi(bars: list[Bar], path: Path, seconds: float, target: Target | None = None) -> None:
    """A type 0 file with the bars' tempi and, as text, the emotion asked for; notes that would begin after
    ``seconds`` are left out.

    Raises
    ------
    OutputError: the file cannot be written.
    """
    import mido

    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = []
    if target is not None:
        asked = f"valence {target.valence:.4f} arousal {target.arousal:.4f}"
        events.append((0, 0, mido.MetaMessage("text", text=asked)))
    line_beats, line_s = 0.0, 0.0
    sounding: dict[int, list[int]] = {}
    notes: list[list[int]] = []
    for bar in bars:
        at = round(line_beats * TICKS_PER_BEAT)
        events.append((at, 0, mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(bar.tempo_bpm))))
        for note in bar.notes:
            if line_s + note.onset_beats * 60.0 / bar.tempo_bpm >= seconds:
                continue
            begin = round((line_beats + note.onset_beats) * TICKS_PER_BEAT)
            end = begin + max(1, round(note.duration_beats * TICKS_PER_BEAT) - 1)
            if note.pitch in sounding:
                # Struck again, also in the next bar: its end would be taken for the end of this one.
                sounding[note.pitch][1] = min(sounding[note.pitch][1], begin)
            sounding[note.pitch] = [begin, end, note.pitch, note.velocity]
            notes.append(sounding[note.pitch])
        line_beats += bar.n_beats
        line_s += bar.n_beats * 60.0 / bar.tempo_bpm
    for begin, end, pitch, velocity in notes:
        events.append((begin, 2, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((end, 1, mido.Message("note_off", note=pitch)))
    track = mido.MidiTrack()
    now = 0
    for at, _, message in sorted(events, key=lambda event: event[:2]):
        track.append(message.copy(time=at - now))
        now = at
    file = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(track)
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file.save(beside)
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); give --out a folder of yours"
        ) from None


def open_network(model: Path | None) -> OnnxComposer:
    """The graph at ``model``, or the shipped one, proved by its golden vectors."""
    if model is None:
        return open_composer(load("transformer_model"))
    if not model.is_file():
        raise ArtefactError(
            f"--model {model}: no such file; export one with python -m models.composer.export"
        )
    return OnnxComposer(model)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise ``ConfigError`` for a number out of its limits, or an emotion given twice or not at all."""
    for name, (low, high) in LIMITS.items():
        value = getattr(arguments, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"--{name} {value}: not within {low}..{high}")
    point = (arguments.valence, arguments.arousal)
    if (point != (None, None)) if arguments.quadrant else None in point:
        raise ConfigError("emotion: give --quadrant, or --valence and --arousal")


@command("models.composer.generate", KellyError)
def main() -> None:
    """Read the command line and write the files."""
    parser = Parser(prog="models.composer.generate", description=__doc__)
    parser.add_argument("--quadrant", choices=QUADRANTS, help="emotion by quadrant")
    parser.add_argument("--valence", type=float, help="-1..1, with --arousal instead of --quadrant")
    parser.add_argument("--arousal", type=float, help="-1..1")
    parser.add_argument("--n", type=int, default=1, help="number of files")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first file; the next ones count up")
    parser.add_argument("--out", type=path_argument, required=True, help="folder for the files")
    parser.add_argument("--model", type=path_argument, help="a step graph; default: the shipped model")
    parser.add_argument("--temperature", type=float, default=SamplingSettings.temperature)
    parser.add_argument("--guidance", type=float, default=SamplingSettings.guidance)
    arguments = parser.parse_args()
    prefix = arguments.quadrant or "va"
    check_arguments(arguments)
    outputs = [arguments.out / f"{prefix}_{i:03d}.mid" for i in range(arguments.n)]
    refuse_to_overwrite(outputs, [arguments.model] if arguments.model else [])
    network = open_network(arguments.model)
    settings = SamplingSettings(temperature=arguments.temperature, guidance=arguments.guidance)
    for i in range(arguments.n):
        target = draw_target(arguments.quadrant, arguments.seed + i)
        if target is None:
            target = Target(arguments.valence, arguments.arousal)
        generator = Generator(network, settings, arguments.seed + i)
        bars = compose(generator, target, arguments.seconds, ends=True)
        write_midi(bars, arguments.out / f"{prefix}_{i:03d}.mid", arguments.seconds, target)


if __name__ == "__main__":
    sys.exit(main())
