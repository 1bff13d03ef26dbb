"""Fit the network of ``kelly_edge.rhythm.bar_evidence`` to POP909, as rendered and from its notes alone.

``python -m models.ensemble.fit_bars --pop909 DIR [--songs …] [--n-rendered N] [--held-out K] [--cache DIR]
[--kept DIR] [--out FILE]`` writes the numbers as ``kelly_edge/rhythm/bar_weights.py`` (the default FILE). It
learns from all songs but those for evaluation. Development songs and a draw of others are rendered and tapped
by the ears themselves (``heard_beats``); the annotation says which beat of the bar each is. All songs become
beat vectors too (``simulated``), brought to the mean and spread of those rendered: a slow song as tapped in
halves as often as the ears were found to do so, and then with bars of eight. Bars of three come from bars of
four without their last beat and from practice. ``--held-out K`` leaves out songs whose number K divides and
says how well their rendered beats are placed. What was tapped and simulated stays in ``--kept`` and is read
from there the next time: give an empty folder when the ears have changed. The same songs and seed give the
same numbers on the same machine.
"""

import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import Notes
from models.ensemble.bar_model import Table, fit, judge, log_share, module_text
from models.ensemble.heard_beats import (
    FIRST_CELL,
    TappedBeats,
    cells_of,
    cells_tapped,
    heard_of,
    tapped_beats,
)
from models.ensemble.practice import accompanied, beat_times, draw
from models.ensemble.simulated import Beats, bring_to, comparisons, simulate
from models.ensemble.songs import EXCERPT_S, Song, cache_folder, load_song, song_list, sound_of

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REPO: Final = Path(__file__).resolve().parents[2]
N_RENDERED: Final = 105
"""Songs rendered beside those for development. Chosen: minutes on one core."""
ROTA: Final = ("fluid", "timgm", "fluid", "fluid-wet")
"""Conditions of the songs rendered, in turn."""
RENDERED_WEIGHT: Final = 2.0
"""Of a beat as rendered, beside one from notes alone. Chosen by hand."""
LEAST_BEATS: Final = 12
"""Shorter stretches of a tempo say nothing of bars. Chosen: three bars."""
N_PRACTICE: Final = 60
"""Pieces drawn, of each kind. Chosen by hand."""
THREES_EVERY: Final = 12
"""One song in so many is heard as one in bars of three as well. Chosen by hand."""
LIKELIEST_SHARE: Final = 0.1
"""Songs at a tempo that the ears hear less often than this are left out. Chosen by hand."""
Row = tuple[Beats, Ints, float]


def rendered_songs(folder: Path, n: int) -> list[tuple[str, str]]:
    """Names and conditions: the development songs, and ``n`` others that are not for evaluation."""
    development, held_back = song_list("development"), set(song_list("evaluation"))
    others = sorted(path.name for path in folder.iterdir() if path.is_dir())
    others = [name for name in others if name not in held_back and name not in set(development)]
    drawn = [str(name) for name in np.random.default_rng(5).permutation(others)[:n]]
    turns = [(name, ROTA[i % len(ROTA)]) for i, name in enumerate(development + drawn)]
    return list(dict.fromkeys([(name, "fluid") for name in development] + turns))


def heard_rows(sound: Float32, song: Song) -> list[Row]:
    """A song as the ears tap it: a row for every stretch of a tempo."""
    return rows_of_tapped(tapped_beats(*heard_of(sound)), song)


def rendered_rows(pop909: Path, name: str, condition: str, cache: Path) -> list[Row]:
    """A song as the ears tap it in a condition."""
    song = load_song(pop909, name)
    return heard_rows(sound_of(song, condition, cache), song)


def rows_of_tapped(tapped: TappedBeats, song: Song) -> list[Row]:
    """Rows of the beats tapped in a song."""
    cells, rows = cells_tapped(song, tapped), []
    bounds = [0, *np.flatnonzero(tapped.is_new[1:]) + 1, len(cells)]
    for begin, end in pairwise(bounds):
        if end - begin >= LEAST_BEATS:
            beats = Beats(tapped.vectors[begin:end], tapped.period[begin:end], np.arange(begin, end))
            rows.append((beats, cells[begin:end], RENDERED_WEIGHT))
    return rows


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


def drawn_rows() -> list[Row]:
    """Synthesised pieces (``practice.draw``) as the ears tap them."""
    rng, rows = np.random.default_rng(7), []
    for _ in range(N_PRACTICE):
        piece = draw(rng)
        rows += heard_rows(piece.sound, piece_song(piece.beats_s, piece.downbeats_s))
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
    parser.add_argument(
        "--n-rendered", type=int, default=N_RENDERED, help="songs rendered beside development"
    )
    parser.add_argument("--held-out", type=int, default=0, help="leave out songs whose number this divides")
    parser.add_argument("--cache", type=path_argument, default=cache_folder(), help="folder of renderings")
    parser.add_argument(
        "--kept", type=path_argument, default=cache_folder() / "beats", help="what was tapped"
    )
    parser.add_argument("--out", type=path_argument, default=REPO / "kelly_edge/rhythm/bar_weights.py")
    arguments = parser.parse_args()
    folder = arguments.pop909 / "POP909" if (arguments.pop909 / "POP909").is_dir() else arguments.pop909
    held_back = set(song_list("evaluation"))
    every = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in held_back)
    names = arguments.songs.split(",") if arguments.songs else every

    def is_held_out(name: str) -> bool:
        return bool(arguments.held_out) and int(name) % arguments.held_out == 0

    heard: dict[bool, list[Row]] = {False: [], True: []}
    for name, condition in rendered_songs(folder, arguments.n_rendered):
        if name in names:
            make = partial(rendered_rows, arguments.pop909, name, condition, arguments.cache)
            heard[is_held_out(name)] += kept_rows(arguments.kept, f"{name}-{condition}", make)
    songs: list[Row] = []
    for name in names:
        if not is_held_out(name):
            make = partial(song_rows, arguments.pop909, name)
            songs += kept_rows(arguments.kept, f"{name}-notes", make)
    practice = kept_rows(arguments.kept, "practice", practice_rows)
    for rows in (songs, practice):
        bring_to([beats for beats, _, _ in rows], [beats for beats, _, _ in heard[False]])
    tables = tables_of(
        heard[False]
        + songs
        + in_threes(songs[::THREES_EVERY])
        + practice
        + kept_rows(arguments.kept, "drawn", drawn_rows)
    )
    model = fit(tables)
    if heard[True]:
        loss, right = judge(model, tables_of(heard[True]), log_share(tables))
        print(f"held out: {loss:.3f} nats, {right:.3f} of the beats right", file=sys.stderr)
    arguments.out.write_text(module_text(model.parts()), encoding="utf-8")


def tables_of(rows: list[Row]) -> list[Table]:
    """What the network reads of the rows, and what it should answer."""
    return [Table(comparisons(beats.vectors, beats.period), cells, weight) for beats, cells, weight in rows]


if __name__ == "__main__":
    sys.exit(main())
