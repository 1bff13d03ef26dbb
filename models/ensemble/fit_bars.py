"""Fit the network of ``kelly_edge.rhythm.bar_evidence`` to POP909, heard from its notes.

``python -m models.ensemble.fit_bars --pop909 DIR [--songs …] [--out FILE]`` writes the numbers as
``kelly_edge/rhythm/bar_weights.py`` (the default FILE). It learns from all songs but those for evaluation:
their notes become beat vectors (``simulated``) and the annotation says which beat of the bar each is. A slow
song counts as tapped in halves as often as the ears were found to do so, and then has bars of eight. Bars of
three come from bars of four without their last beat and from practice. The same songs and seed give the same
numbers on the same machine.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from kelly_edge.errors import KellyError
from kelly_edge.rhythm.bar import FIRST, METRES, N_CELLS, PRIOR
from kelly_edge.rhythm.bar_evidence import N_COMPARED, N_WINDOW
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import Notes
from models.ensemble.practice import accompanied, beat_times
from models.ensemble.simulated import Beats, brought_to_rendered, comparisons, simulate
from models.ensemble.songs import EXCERPT_S, Song, load_song, song_list

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REPO: Final = Path(__file__).resolve().parents[2]
N_FEATURES, N_HIDDEN = 8, 32
"""Chosen: small enough for 50 µs a beat."""
N_EPOCHS, N_PER_STEP, N_PRACTICE = 4, 16, 60
"""Chosen by hand: the loss was still falling a little."""
THREES_EVERY: Final = 12
"""One song in so many is heard as one in bars of three as well. Chosen by hand."""
LIKELIEST_SHARE: Final = 0.1
"""Songs at a tempo that the ears hear less often than this are left out. Chosen by hand."""
FIRST_CELL: Final = dict(zip(METRES, FIRST, strict=True))
Row = tuple[Beats, Ints, float]


class Table(NamedTuple):
    """Inputs [n, N_COMPARED], cells [n] (-1 unknown) and weight of a piece."""

    inputs: Float32
    cells: Ints
    weight: float


def halves_share(bpm: float) -> float:
    """How often the ears tap a song of ``bpm`` in halves (35 development songs)."""
    if bpm < 60.0:
        return 0.95
    return 0.35 if bpm < 70.0 else 0.05


def cells_of(song: Song, per_beat: int) -> Ints:
    """The cell of every beat, or of every half where ``per_beat`` is 2; -1 where no metre fits."""
    n, lines = len(song.beats_s), np.searchsorted(song.beats_s, song.downbeats_s - 0.01)
    cells = np.full(per_beat * (n - 1) + 1, -1)
    usual = int(np.median(np.diff(lines))) if len(lines) > 2 else 0
    for begin, end in pairwise(lines):
        length = usual if end - begin == 2 and usual == 4 else end - begin
        if per_beat * length in FIRST_CELL and not (per_beat == 1 and length == 8):
            places = np.arange(per_beat * (end - begin))
            cells[per_beat * begin : per_beat * end] = FIRST_CELL[per_beat * length] + places
    return cells


def songs_rows(pop909: Path, names: list[str]) -> list[Row]:
    """Every song in the octaves of its tempo in which the ears may hear it."""
    rows = []
    for name in names:
        song, rng = load_song(pop909, name), np.random.default_rng(int(name))
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


class BarModel(torch.nn.Module):
    """``bar_evidence.BarNetwork`` while it learns."""

    def __init__(self, mean: Float32, scale: Float32) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale
        self.beat = torch.nn.Linear(N_COMPARED, N_FEATURES)
        self.first = torch.nn.Linear(N_FEATURES * N_WINDOW, N_HIDDEN)
        self.second = torch.nn.Linear(N_HIDDEN, N_CELLS)
        self.drop = torch.nn.Dropout(0.15)

    def forward(self, pieces: list[Float32]) -> torch.Tensor:
        """Log likelihoods of all beats of the pieces, one after another: [n, N_CELLS]."""
        windows, pad = [], torch.zeros(N_WINDOW - 1, N_FEATURES)
        for inputs in pieces:
            standard = torch.tensor((inputs - self.mean) / self.scale, dtype=torch.float32)
            features = torch.cat([pad, torch.tanh(self.beat(standard))])
            windows.append(features.unfold(0, N_WINDOW, 1).transpose(1, 2).reshape(len(inputs), -1))
        hidden = torch.relu(self.first(self.drop(torch.cat(windows))))
        return torch.as_tensor(self.second(self.drop(hidden)))

    def parts(self) -> list[Floats]:
        """The arrays of ``BarNetwork``, which reads inputs as they are."""
        layers = (self.beat, self.first, self.second)
        arrays = [p.detach().numpy().astype(float) for layer in layers for p in (layer.weight, layer.bias)]
        arrays[0] = arrays[0] / self.scale
        arrays[1] = arrays[1] - arrays[0] @ self.mean
        return arrays


def fit(tables: list[Table]) -> BarModel:
    """Cross-entropy over the cells, above their share: what the network says is evidence, no belief."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    known = [table.cells >= 0 for table in tables]
    inputs = np.concatenate([table.inputs[k] for table, k in zip(tables, known, strict=True)])
    model = BarModel(inputs.mean(0), inputs.std(0) + 0.05)
    count = np.zeros(N_CELLS)
    for table, k in zip(tables, known, strict=True):
        count += np.bincount(table.cells[k], minlength=N_CELLS) * table.weight
    share = torch.tensor(np.log(0.9 * count / count.sum() + 0.1 * np.array(PRIOR)), dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), 6e-3, weight_decay=1e-3)
    n_steps = N_EPOCHS * (len(tables) // N_PER_STEP + 1)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=n_steps + 1)
    rng = np.random.default_rng(0)
    for epoch in range(N_EPOCHS):
        order, losses = rng.permutation(len(tables)), []
        for begin in range(0, len(tables), N_PER_STEP):
            drawn = [tables[i] for i in order[begin : begin + N_PER_STEP]]
            cells = torch.tensor(np.concatenate([table.cells for table in drawn]))
            weight = np.concatenate([np.full(len(table.cells), table.weight) for table in drawn])
            weights = torch.tensor(weight * (cells.numpy() >= 0), dtype=torch.float32)
            said = model([table.inputs for table in drawn]) + share
            loss = torch.nn.functional.cross_entropy(said, cells.clamp(min=0), reduction="none")
            mean = (loss * weights).sum() / weights.sum()
            optimiser.zero_grad()
            mean.backward()
            optimiser.step()
            rate.step()
            losses.append(mean.detach().item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.3f} nats", file=sys.stderr, flush=True)
    return model.eval()


def module_text(parts: list[Floats]) -> str:
    """The Python module of the numbers."""
    rows, row = [], ""
    for number in np.concatenate([part.reshape(-1) for part in parts]):
        word = f"{number:.3g}"
        if len(row) + len(word) + 1 > 108:
            rows.append(row)
            row = ""
        row = f"{row} {word}" if row else word
    numbers = "\n".join([*rows, row])
    return f'''"""Numbers of ``bar_evidence``'s network, written by ``python -m models.ensemble.fit_bars``."""

import numpy as np

from kelly_edge.rhythm.bar import N_CELLS
from kelly_edge.rhythm.bar_evidence import N_COMPARED, N_WINDOW, BarNetwork


def _network(n_features: int, n_hidden: int, text: str) -> BarNetwork:
    shapes = [(n_features, N_COMPARED), (n_features,), (n_hidden, n_features * N_WINDOW), (n_hidden,)]
    shapes += [(N_CELLS, n_hidden), (N_CELLS,)]
    parts = np.split(np.array(text.split(), np.float32), np.cumsum([np.prod(s) for s in shapes])[:-1])
    return BarNetwork(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


BAR = _network(
    {N_FEATURES},
    {N_HIDDEN},
    """
{numbers}
""",
)
'''


@command("models.ensemble.fit_bars", KellyError)
def main() -> None:
    """Read the command line, simulate, fit, write."""
    parser = Parser(prog="models.ensemble.fit_bars", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", help="names with commas between; default: all but those for evaluation")
    parser.add_argument("--out", type=path_argument, default=REPO / "kelly_edge/rhythm/bar_weights.py")
    arguments = parser.parse_args()
    folder = arguments.pop909 / "POP909" if (arguments.pop909 / "POP909").is_dir() else arguments.pop909
    held_back = set(song_list("evaluation"))
    every = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name not in held_back)
    songs = songs_rows(arguments.pop909, arguments.songs.split(",") if arguments.songs else every)
    practice = practice_rows()
    for rows in (songs, practice):
        brought_to_rendered([beats for beats, _, _ in rows])
    rows = songs + in_threes(songs[::THREES_EVERY]) + practice
    tables = [Table(comparisons(beats.vectors, beats.period), cells, share) for beats, cells, share in rows]
    arguments.out.write_text(module_text(fit(tables).parts()), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
