"""Hear rooms blindly: ``python -m models.emotion.rooms``.

``fit`` writes the regression of ``kelly_edge.emotion.room`` from the cached frames of conditions with drawn
rooms and without; ``rank`` says how well it ranks rooms of songs that it was not fitted to (Spearman's r),
in rooms alone and over all. Both hear EMOPIA's training split.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from kelly_edge.emotion import room_weights
from kelly_edge.emotion.room import RoomCounter, statistics
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion import data
from models.emotion.weights_file import biases_and_numbers

Float64 = NDArray[np.float64]
READINGS: Final = ("drr_db", "log2_rt60", "snr_db")
NONE: Final = {"drr_db": 12.0, "rt60_s": 0.2, "snr_db": 60.0}
"""What stands for a clip without a room or noise. Chosen by hand."""
STRENGTH: Final = 30.0
"""Of the ridge. Chosen: weaker ones rank held songs a little better, and take drawn dry tones for a room."""
LEAST_DEVIATION: Final = 0.05
"""A share that hardly varies in training says nothing: it is scaled by at least this. Chosen by hand."""
N_FOLDS: Final = 5
"""Folds of songs. Chosen as elsewhere in training."""
SHORTEST_CONDITION: Final = 10
"""Clips below which a condition is not told. Chosen by hand."""


class Rooms(NamedTuple):
    """Statistics [n, 108] of clips, the truth [n, 3] in the order of ``READINGS``, and the songs."""

    statistics: Float64
    truth: Float64
    is_room: NDArray[np.bool_]
    songs: NDArray[Any]


def gather(cache: Path) -> Rooms:
    """Every training condition whose frames are cached, the wet ones too. Raises DataError without any, and
    without any in a room."""
    clips = data.emopia("train")
    conditions = [
        *data.TRAIN_CONDITIONS,
        data.Condition("fluid", 0, "wet"),
        data.Condition("csound", 0, "wet"),
    ]
    rows = []
    for condition in conditions:
        cached = [c for c in clips if data.frames_path(cache, condition, c).exists()]
        if condition.treatment in (*data.AFTER, "microphone") or len(cached) < SHORTEST_CONDITION:
            continue
        for clip in cached:
            frames, presence, told = data.load_frames(cache, condition, clip)
            counter = RoomCounter()
            for group, weight in zip(frames, presence, strict=True):
                counter.push(group, float(weight))
            known = NONE | told
            truth = known["drr_db"], np.log2(known["rt60_s"]), known["snr_db"]
            rows.append((statistics(counter.counts), truth, "drr_db" in told, clip.song))
    if not rows:
        raise DataError(f"no frames in {cache}; run python -m models.emotion.data prepare")
    if not any(row[2] for row in rows):
        raise DataError(f"no clip in {cache} is in a drawn room; prepare fluid-0-place and others like it")
    x, truth, is_room, songs = zip(*rows, strict=True)
    return Rooms(np.stack(x).astype(np.float64), np.array(truth), np.array(is_room), np.array(songs))


def fit(x: Float64, truth: Float64) -> tuple[Float64, Float64]:
    """Weights [3, 108] and biases [3] of the ridge regression."""
    mean, scale = x.mean(0), np.maximum(x.std(0), LEAST_DEVIATION)
    model = Ridge(STRENGTH).fit((x - mean) / scale, truth)
    weights = model.coef_ / scale
    return weights, model.intercept_ - weights @ mean


def ranks(rooms: Rooms) -> dict[str, dict[str, float]]:
    """Spearman's r of each reading with the truth, songs held out in folds."""
    songs = np.unique(rooms.songs)
    np.random.default_rng(1).shuffle(songs)
    heard = np.empty_like(rooms.truth)
    for fold in range(N_FOLDS):
        held = np.isin(rooms.songs, songs[fold::N_FOLDS])
        weights, biases = fit(rooms.statistics[~held], rooms.truth[~held])
        heard[held] = rooms.statistics[held] @ weights.T + biases
    chosen = {"all": np.ones(len(heard), bool), "in_rooms": rooms.is_room}
    return {
        name: {
            key: round(float(spearmanr(heard[rows, i], rooms.truth[rows, i])[0]), 3)
            for key, rows in chosen.items()
        }
        for i, name in enumerate(READINGS)
    }


def write(path: Path, weights: Float64, biases: Float64) -> None:
    """The module of the numbers."""
    path.write_text(
        '"""Numbers of the regression of ``room``, written by ``python -m models.emotion.rooms fit``."""\n\n'
        "import numpy as np\n\n"
        f'N_READINGS = {len(READINGS)}\n"""DRR in dB, log2 of RT60 in seconds, SNR in dB. By definition."""\n'
        + biases_and_numbers(biases, weights, 5)
        + "WEIGHTS = np.array(_NUMBERS.split(), np.float64).reshape(N_READINGS, -1)\n",
        encoding="utf-8",
    )


@command("models.emotion.rooms", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.rooms", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["fit", "rank"])
    parser.add_argument("--cache", type=path_argument, default=data.default_cache())
    parser.add_argument("--out", type=path_argument, default=Path(room_weights.__file__ or ""))
    args = parser.parse_args(argv)
    rooms = gather(args.cache)
    if args.what == "rank":
        print(json.dumps({"n": len(rooms.songs), "n_rooms": int(rooms.is_room.sum()), **ranks(rooms)}))
        return 0
    write(args.out, *fit(rooms.statistics, rooms.truth))
    return 0


if __name__ == "__main__":
    sys.exit(main())
