"""Draw piano rolls of composed clips, so that their form can be seen.

``python -m models.composer.rolls DIR/Q1_000.mid … --out DIR`` writes a PNG beside each name into the folder
``--out``. Bars are those of the file; a bar that nearly repeats an earlier one (``form.NEAR``) bears the
letter and the shade of the first one of its kind, other bars have a letter only where they come again.
"""

import sys
from itertools import pairwise
from pathlib import Path
from string import ascii_uppercase
from typing import Final

import mido
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from numpy.typing import NDArray

from firmware_py.devices.files.output import refuse_to_overwrite
from kelly_edge.errors import DataError, KellyError
from kelly_edge.music.compound_word import MAJOR, N_BEATS, GridBar
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import Notes, read_midi, to_bars
from models.composer.form import NEAR, onsets, similarities

SHADES: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Colours that colour-blind readers tell apart (Okabe & Ito 2008)."""
SIZE_IN: Final = (11.0, 3.2)
"""Width and height of a picture in inches. Chosen by hand."""
DPI: Final = 90
"""Chosen: some 1,000 pixels wide, below 100 kB."""
LOUDEST: Final = 127.0
"""The highest velocity by definition of MIDI 1.0."""


def bar_lines_s(path: Path) -> NDArray[np.float64]:
    """Times of the bar lines of a file of ``generate``, which tells the tempo at each."""
    time_s, lines = 0.0, []
    for message in mido.MidiFile(path):
        time_s += message.time
        if message.type == "set_tempo":
            lines.append(time_s)
    if len(lines) < 2:
        raise DataError(f"{path}: no tempo at its bar lines; give a file of models.composer.generate")
    return np.append(lines, 2.0 * lines[-1] - lines[-2])


def bars_between(notes: Notes, lines_s: NDArray[np.float64]) -> tuple[GridBar, ...]:
    """The notes as bars of the grid."""
    places = np.arange(len(lines_s)) * N_BEATS
    beats_s = np.interp(np.arange(places[-1] + 1), places, lines_s)
    return to_bars(notes, beats_s, 0, [(0.0, 0, MAJOR)])


def kinds_of(bars: tuple[GridBar, ...]) -> list[int]:
    """For each bar the number of the first one that it nearly repeats; its own if there is none."""
    alike = similarities([onsets(bar) for bar in bars])
    kinds: list[int] = []
    for i in range(len(bars)):
        near = [j for j in range(i) if alike[i, j] > NEAR]
        kinds.append(kinds[near[0]] if near else i)
    return kinds


def draw(path: Path, out: Path) -> None:
    """The piano roll of the file ``path`` as the PNG ``out``."""
    notes, lines_s = read_midi(path), bar_lines_s(path)
    kinds = kinds_of(bars_between(notes, lines_s))
    returning = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) > 1]
    figure = Figure(SIZE_IN, DPI, layout="constrained")
    axes = figure.add_subplot()
    for number, (begin_s, end_s) in enumerate(pairwise(lines_s)):
        axes.axvline(begin_s, color="0.8", linewidth=0.6, zorder=0)
        if number < len(kinds) and kinds[number] in returning:
            which = returning.index(kinds[number])
            axes.axvspan(begin_s, end_s, color=SHADES[which % len(SHADES)], alpha=0.15, linewidth=0, zorder=0)
            letter = ascii_uppercase[which % len(ascii_uppercase)]
            axes.text((begin_s + end_s) / 2.0, 107.0, letter, ha="center", va="top", fontsize=8)
    boxes = [
        [(begin, pitch - 0.5), (end, pitch - 0.5), (end, pitch + 0.5), (begin, pitch + 0.5)]
        for begin, end, pitch in zip(notes.onset_s, notes.end_s, notes.pitch, strict=True)
    ]
    colours = [to_rgba("black", 0.25 + 0.75 * velocity / LOUDEST) for velocity in notes.velocity]
    axes.add_collection(PolyCollection(boxes, facecolors=colours))
    axes.set(xlim=(0.0, lines_s[-1]), ylim=(21, 108), xlabel="s", yticks=range(24, 109, 12), title=path.stem)
    axes.set_ylabel("MIDI note")
    out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(out)


@command("models.composer.rolls", KellyError)
def main() -> None:
    """Read the command line and draw."""
    parser = Parser(prog="models.composer.rolls", description=__doc__)
    parser.add_argument("files", nargs="+", type=path_argument, help="files of models.composer.generate")
    parser.add_argument("--out", type=path_argument, required=True, help="folder for the pictures")
    arguments = parser.parse_args()
    pictures = [arguments.out / f"{path.stem}.png" for path in arguments.files]
    refuse_to_overwrite(pictures, arguments.files)
    for path, picture in zip(arguments.files, pictures, strict=True):
        draw(path, picture)


if __name__ == "__main__":
    sys.exit(main())
