"""Fit the networks of ``kelly_edge.rhythm.bar_evidence`` to POP909, as rendered and from its notes alone.

``python -m models.ensemble.fit_bars --pop909 DIR [--songs …] [--held-out K] [--cache DIR] [--kept DIR]
[--out FILE]`` writes the numbers as ``kelly_edge/rhythm/bar_weights.py`` (the default FILE). It learns from
all songs but those for evaluation. Those named under ``rendered`` in ``songs.yaml`` are rendered and tapped
by the ears themselves (``heard_beats``); the annotation says which beat of the bar each is. All songs
become beat vectors too (``simulated``): a slow song as tapped in halves as often as the ears were found to
do so, and then with bars of eight. Bars of three come from bars of four without their last beat and from
practice. ``--held-out K`` leaves out songs whose number K divides and says how well their rendered beats
are placed. What was heard and simulated stays in ``--kept`` and is read from there the next time: give an
empty folder when what comes before the beat has changed. The same songs and seeds give the same numbers on
the same machine. Some minutes on one core where everything is kept; some hours where it must be rendered.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import Notes
from models.ensemble.bar_model import N_NETWORKS, Stretch, fit, judge, module_text, network_parts
from models.ensemble.heard_beats import (
    FIRST_CELL,
    TappedBeats,
    cells_of,
    cells_tapped,
    heard_and_kept,
    steps_of,
    tapped_beats,
)
from models.ensemble.practice import accompanied, beat_times, draw
from models.ensemble.simulated import Beats, comparisons, simulate
from models.ensemble.songs import EXCERPT_S, Song, cache_folder, load_song, song_list, sound_of

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REPO: Final = Path(__file__).resolve().parents[2]
LEAST_BEATS: Final = 12
"""Shorter stretches of a tempo say nothing of bars. Chosen: three bars."""
N_PRACTICE: Final = 60
"""Pieces drawn, of each kind. Chosen by hand."""
THREES_EVERY: Final = 12
"""One song in so many is heard as one in bars of three as well. Chosen by hand."""
LIKELIEST_SHARE: Final = 0.1
"""Songs at a tempo that the ears hear less often than this are left out. Chosen by hand."""
SPREAD: Final = 0.05
"""Added to the spread of an input, so that one that hardly changes stays small. Chosen by hand."""
Row = tuple[Beats, Ints, float]


def stretches_of(tapped: TappedBeats, song: Song) -> list[Stretch]:
    """Beats tapped in a song, cut where another tempo begins."""
    cells, steps, stretches = cells_tapped(song, tapped.begin_s, tapped.period), tapped.steps, []
    bounds = [0, *np.flatnonzero(steps.is_new[1:]) + 1, len(steps.beat)]
    for begin, end in pairwise(bounds):
        whole = Stretch(tapped.compared, cells, 1.0, steps.some(0, end))
        stretch = whole.later(begin)
        n = int(stretch.steps.beat.max(initial=-1)) + 1
        if n >= LEAST_BEATS:
            stretches.append(stretch._replace(inputs=stretch.inputs[:n], cells=stretch.cells[:n]))
    return stretches


def rendered_stretches(pop909: Path, key: str, cache: Path, kept: Path) -> list[Stretch]:
    """A rendering by its key, name and condition (``005-fluid``), as the ears tap it."""
    name, condition = key.split("-", 1)
    song = load_song(pop909, name)
    heard = heard_and_kept(kept / "heard", key, lambda: sound_of(song, condition, cache))
    return stretches_of(tapped_beats(*heard), song)


def drawn_stretches(kept: Path) -> list[Stretch]:
    """Synthesised pieces (``practice.draw``) as the ears tap them."""
    rng, stretches = np.random.default_rng(7), []
    for i in range(N_PRACTICE):
        piece = draw(rng)
        heard = heard_and_kept(kept / "heard", f"drawn-{i}", lambda sound=piece.sound: sound)  # type: ignore[misc]
        stretches += stretches_of(tapped_beats(*heard), piece_song(piece.beats_s, piece.downbeats_s))
    return stretches


def simulated_stretches(rows: Sequence[Row]) -> list[Stretch]:
    """Beats of which the filter has no other evidence."""
    return [
        Stretch(comparisons(beats.vectors, beats.period), cells, share, steps_of(0))
        for beats, cells, share in rows
    ]


def standardised(stretches: Sequence[Stretch]) -> tuple[list[Stretch], Float32, Float32]:
    """Inputs less their mean, over their spread; and these. Notes alone differ from renderings in both."""
    every = np.concatenate([stretch.inputs for stretch in stretches])
    mean, scale = every.mean(0), every.std(0) + np.float32(SPREAD)
    return [stretch._replace(inputs=(stretch.inputs - mean) / scale) for stretch in stretches], mean, scale


def kept_rows(folder: Path, key: str, make: Callable[[], list[Row]]) -> list[Row]:
    """The rows of ``key`` as they lie in ``folder``, or made and put there."""
    path = folder / f"{key}.npz"
    if path.is_file():
        with np.load(path) as file:
            n = len(file.files) // 5
            return [
                (
                    Beats(file[f"vectors{i}"], file[f"period{i}"], file[f"number{i}"]),
                    file[f"cells{i}"],
                    float(file[f"weight{i}"]),
                )
                for i in range(n)
            ]
    rows = make()
    arrays: dict[str, NDArray[Any]] = {}
    for i, (beats, cells, weight) in enumerate(rows):
        arrays |= {f"{name}{i}": part for name, part in beats._asdict().items()}
        arrays |= {f"cells{i}": cells, f"weight{i}": np.array(weight)}
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, **arrays)
    partial.replace(path)
    return rows


def piece_song(beats_s: Floats, downbeats_s: Floats) -> Song:
    """A piece without notes, for its annotation."""
    none = np.zeros(0)
    notes = Notes(none, none, none.astype(np.int64), none.astype(np.int64))
    return Song("", Path(), notes, beats_s, downbeats_s, ())


def halves_share(bpm: float) -> float:
    """How often the ears tap a song of ``bpm`` in halves (35 development songs)."""
    if bpm < 60.0:
        return 0.95
    return 0.35 if bpm < 70.0 else 0.05


def song_rows(pop909: Path, name: str) -> list[Row]:
    """A song from its notes, in the octaves of its tempo in which the ears may hear it."""
    song, rows, rng = load_song(pop909, name), [], np.random.default_rng(int(name))
    n, bpm = len(song.beats_s), 60.0 / float(np.median(np.diff(song.beats_s)))
    for per_beat in (1, 2):
        share = halves_share(bpm) if per_beat == 2 else 1.0 - halves_share(bpm)
        if share <= LIKELIEST_SHARE:
            continue
        place = np.arange(per_beat * (n - 1) + 1) / per_beat
        grid_s = np.interp(place, np.arange(n), song.beats_s)
        beats = simulate(song.notes, grid_s, EXCERPT_S, rng)
        rows.append((beats, cells_of(song, per_beat)[beats.number], share))
    return rows


def in_threes(rows: list[Row]) -> list[Row]:
    """Bars of four without their last beat."""
    made = []
    for beats, cells, share in rows:
        if np.mean((cells >= 0) & (cells < 4)) > 0.7:
            kept = cells != 3
            moved = np.where((cells >= 0) & (cells < 3), cells + FIRST_CELL[3], -1)
            made.append((Beats(*(part[kept] for part in beats)), moved[kept], share))
    return made


def practice_rows() -> list[Row]:
    """Accompaniments in three and in four."""
    rng, rows, seconds = np.random.default_rng(9), [], 30.0
    for _ in range(N_PRACTICE):
        bpm, n_beats = float(np.exp(rng.uniform(np.log(60.0), np.log(150.0)))), int(rng.choice((3, 3, 4)))
        n = int(seconds * bpm / 60.0) + 1
        beats_s = beat_times(bpm * (1.0 + 0.01 * rng.standard_normal(n)), rng.uniform(0.1, 0.8))
        parts, swing = int(rng.choice((1, 2, 2, 4))), float(rng.choice((0.5, 0.6, 0.667)))
        tonic, chord_bars = int(rng.integers(12)), int(rng.choice((1, 1, 2)))
        played = accompanied(beats_s, n_beats, parts, swing, tonic, chord_bars)
        begin_s, length_s, pitch, gain = np.array(played).T
        notes = Notes(begin_s, begin_s + length_s, pitch.astype(np.int64), (64 * gain).astype(np.int64))
        beats = simulate(notes, beats_s, seconds, rng)
        rows.append((beats, beats.number % n_beats + FIRST_CELL[n_beats], 1.0 - halves_share(bpm)))
    return rows


@command("models.ensemble.fit_bars", KellyError)
def main() -> None:
    """Read the command line, render, simulate, fit, write."""
    parser = Parser(prog="models.ensemble.fit_bars", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", help="names with commas between; default: all but those for evaluation")
    parser.add_argument("--held-out", type=int, default=0, help="leave out songs whose number this divides")
    parser.add_argument("--cache", type=path_argument, default=cache_folder(), help="folder of renderings")
    parser.add_argument(
        "--kept", type=path_argument, default=cache_folder(), help="what was heard and simulated"
    )
    parser.add_argument("--out", type=path_argument, default=REPO / "kelly_edge/rhythm/bar_weights.py")
    arguments = parser.parse_args()
    folder = arguments.pop909 / "POP909" if (arguments.pop909 / "POP909").is_dir() else arguments.pop909
    held_back = set(song_list("evaluation"))
    every = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in held_back)
    names = arguments.songs.split(",") if arguments.songs else every

    def is_held_out(name: str) -> bool:
        return bool(arguments.held_out) and int(name) % arguments.held_out == 0

    heard: dict[bool, list[Stretch]] = {False: [], True: []}
    for key in song_list("rendered"):
        if (name := key.split("-")[0]) in names:
            heard[is_held_out(name)] += rendered_stretches(
                arguments.pop909, key, arguments.cache, arguments.kept
            )
    rows: list[Row] = []
    for name in names:
        if not is_held_out(name):
            make = partial(song_rows, arguments.pop909, name)
            rows += kept_rows(arguments.kept / "beats", f"{name}-notes", make)
    rows += in_threes(rows[::THREES_EVERY])
    rows += kept_rows(arguments.kept / "beats", "practice", practice_rows)
    rendered, mean, scale = standardised(heard[False] + drawn_stretches(arguments.kept))
    simulated, _, _ = standardised(simulated_stretches(rows))
    models = [fit(rendered + simulated, seed) for seed in range(N_NETWORKS)]
    for model in models:
        told = ", ".join(f"{trust:.3f}" for trust in model.trusts.tolist())
        print(f"trust in accents, harmony and network, and power: {told}", file=sys.stderr)
    if heard[True]:
        judged = [stretch._replace(inputs=(stretch.inputs - mean) / scale) for stretch in heard[True]]
        print(f"held out: {judge(models, judged):.3f} of the beats right", file=sys.stderr)
    arguments.out.write_text(module_text(network_parts(models, mean, scale)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
