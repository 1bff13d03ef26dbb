"""Fit the two small networks of ``kelly_edge.rhythm.evidence`` to the development songs and to practice.

``python -m models.ensemble.fit --pop909 DIR [--songs …] [--cache DIR] [--out FILE]`` writes the numbers as
``kelly_edge/rhythm/weights.py`` (the default FILE). A class is known where the annotation says which beat of
a bar of three or four a moment belongs to. Minutes on one core; the same songs and seed give the same numbers
on the same machine.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES
from kelly_edge.errors import KellyError
from kelly_edge.rhythm.beat import DELAY_S
from kelly_edge.rhythm.evidence import (
    DOWN,
    MIDDLE,
    N_ACCENT,
    N_CLASSES,
    N_HARMONY,
    OTHER,
    ROLE_SHARE,
    Network,
    accent_inputs,
    evidence_state,
    harmony_inputs,
)
from kelly_edge.rhythm.pulse import HARMONY_LAG, N_BINS
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.ensemble.heard_beats import heard_of
from models.ensemble.practice import Practice, draw
from models.ensemble.songs import CONDITIONS, Song, cache_folder, load_songs, song_list, sound_of

Float32 = NDArray[np.float32]
Ints = NDArray[np.int64]
N_HIDDEN: Final = {"ACCENTS": 16, "HARMONY": 12}
"""Chosen by hand: the work of a hop stays in microseconds."""
N_EPOCHS: Final = {"ACCENTS": 3, "HARMONY": 8}
"""Passes over the songs, by network. Chosen by hand."""
N_PRACTICE: Final = 120
"""Drawn pieces beside the songs: clicks, drums, waltzes, swing. Chosen by hand."""
REPO: Final = Path(__file__).resolve().parents[2]
PRIOR: Final = np.repeat(np.array(ROLE_SHARE) / N_BINS, N_BINS)


def inputs_of(frames: Float32, notes: Float32) -> tuple[Float32, Float32]:
    """Inputs of the two networks: [n_frames, 28] and [n_groups, 15]."""
    state = evidence_state()
    accents = np.zeros((len(frames), N_ACCENT), np.float32)
    harmony = np.zeros((len(notes), N_HARMONY), np.float32)
    for group, activations in enumerate(notes):
        for i in range(group * N_FRAMES, (group + 1) * N_FRAMES):
            accent_inputs(frames[i], state, accents[i])
        harmony_inputs(activations, state, harmony[group])
    return accents, harmony


def classes_at(piece: Song | Practice, times_s: NDArray[np.float64]) -> Ints:
    """The class of every moment; -1 where it is not known."""
    beats_s, lines = piece.beats_s, np.searchsorted(piece.beats_s, piece.downbeats_s - 0.01)
    place, length = np.full(len(beats_s) + 2, -1), np.zeros(len(beats_s) + 2, int)
    for begin, end in pairwise(lines):
        place[begin:end], length[begin:end] = np.arange(end - begin), end - begin
    at = np.interp(times_s, beats_s, np.arange(len(beats_s)), left=np.nan, right=np.nan)
    is_known = np.isfinite(at)
    bins = np.floor(np.where(is_known, at, 0.0) * N_BINS + 0.5).astype(int)
    beat, bin_ = bins // N_BINS, bins % N_BINS
    role = np.full(len(times_s), OTHER)
    role[(place[beat] == 2) & (length[beat] == 4)] = MIDDLE
    role[place[beat] == 0] = DOWN
    is_known &= (place[beat] >= 0) & ((length[beat] == 3) | (length[beat] == 4))
    return np.where(is_known, role * N_BINS + bin_, -1)


def fit(inputs: Float32, classes: Ints, n_hidden: int, n_epochs: int) -> tuple[Network, float]:
    """The network and its mean information in nats (a guess by the shares has none)."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    known = classes >= 0
    x, y = inputs[known], torch.tensor(classes[known])
    centre, scale = x.mean(0), x.std(0) + 1e-3
    standard = torch.tensor((x - centre) / scale, dtype=torch.float32)
    model = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], n_hidden), torch.nn.ReLU(), torch.nn.Linear(n_hidden, N_CLASSES)
    )
    optimiser = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
    prior = torch.tensor(np.log(PRIOR), dtype=torch.float32)
    loss_of = torch.nn.CrossEntropyLoss()
    losses: list[float] = []
    for epoch in range(n_epochs):
        order = torch.randperm(len(y))
        for begin in range(0, len(y), 1_024):
            drawn = order[begin : begin + 1_024]
            loss = loss_of(model(standard[drawn]) + prior, y[drawn])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if epoch == n_epochs - 1:
                losses.append(loss.detach().item())
    first, second = (
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in (model[0], model[2])
    )
    weight = first[0] / scale
    network = Network(weight, first[1] - weight @ centre, second[0], second[1])
    return network, float(-(PRIOR * np.log(PRIOR)).sum() - np.mean(losses))


def module_text(networks: dict[str, Network]) -> str:
    """The Python module of the numbers."""
    lines = [
        '"""Numbers of the networks of ``evidence``, written by ``python -m models.ensemble.fit``."""',
        "",
        "import numpy as np",
        "",
        "from kelly_edge.rhythm.evidence import N_CLASSES, Network",
        "",
        "",
        "def _network(n_in: int, n_hidden: int, text: str) -> Network:",
        "    numbers = np.array(text.split(), np.float32)",
        "    sizes = (n_in * n_hidden, n_hidden, n_hidden * N_CLASSES, N_CLASSES)",
        "    first, bias, second, second_bias = np.split(numbers, np.cumsum(sizes)[:-1])",
        "    first, second = first.reshape(n_hidden, n_in), second.reshape(N_CLASSES, n_hidden)",
        "    return Network(first, bias, second, second_bias)",
        "",
        "",
    ]
    for name, network in networks.items():
        numbers = np.concatenate([part.reshape(-1) for part in network])
        n_hidden, n_in = network.first.shape
        lines += [f"{name} = _network({n_in}, {n_hidden}, " + '"""']
        row = ""
        for number in numbers:
            word = f"{number:.3g}"
            if len(row) + len(word) + 1 > 108:
                lines.append(row)
                row = ""
            row = f"{row} {word}" if row else word
        lines += [row, '""")', ""]
    return "\n".join(lines)


@command("models.ensemble.fit", KellyError)
def main() -> None:
    """Read the command line, render, fit, write."""
    parser = Parser(prog="models.ensemble.fit", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", help="names with commas between; default: the development songs")
    parser.add_argument("--cache", type=path_argument, default=cache_folder(), help="folder of renderings")
    parser.add_argument("--out", type=path_argument, default=REPO / "kelly_edge" / "rhythm" / "weights.py")
    arguments = parser.parse_args()
    names = arguments.songs.split(",") if arguments.songs else song_list("development")
    table: dict[str, list[tuple[Float32, Ints]]] = {"ACCENTS": [], "HARMONY": []}
    for song in load_songs(arguments.pop909, names):
        for condition in CONDITIONS:
            accents, harmony = inputs_of(*heard_of(sound_of(song, condition, arguments.cache)))
            learn(table, song, accents, harmony)
            print(song.name, condition, file=sys.stderr, flush=True)
    practise(table)
    arguments.out.write_text(module_text(fit_all(table)), encoding="utf-8")


def practise(table: dict[str, list[tuple[Float32, Ints]]]) -> None:
    """Add synthesised pieces."""
    rng = np.random.default_rng(5)
    for _ in range(N_PRACTICE):
        piece = draw(rng)
        learn(table, piece, *inputs_of(*heard_of(piece.sound)))


def learn(
    table: dict[str, list[tuple[Float32, Ints]]], piece: Song | Practice, accents: Float32, harmony: Float32
) -> None:
    """Add a piece's inputs with their classes to ``table``."""
    end_s = (np.arange(len(accents)) + 1) / FRAME_RATE_HZ
    table["ACCENTS"].append((accents, classes_at(piece, end_s - DELAY_S)))
    group_s = (np.arange(len(harmony)) + 1) / EMOTION_RATE_HZ
    table["HARMONY"].append((harmony, classes_at(piece, group_s - DELAY_S - HARMONY_LAG / FRAME_RATE_HZ)))


def fit_all(table: dict[str, list[tuple[Float32, Ints]]]) -> dict[str, Network]:
    """Both networks, with their information printed."""
    networks = {}
    for name, parts in table.items():
        inputs, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
        networks[name], nats = fit(inputs, classes, N_HIDDEN[name], N_EPOCHS[name])
        print(f"{name}: {nats:.3f} nats of {len(inputs)} moments", file=sys.stderr)
    return networks


if __name__ == "__main__":
    sys.exit(main())
