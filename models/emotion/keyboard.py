"""The mood by a keyboard's notes, fitted and measured on EMOPIA: ``python -m models.emotion.keyboard WHAT``.

``fit`` writes ``kelly_edge/emotion/symbolic_weights.py``: a multinomial logistic regression on descriptors
of the training split, read as ``KeyboardEar`` reads them while the clips are played, pedal and all. ``folds``
measures it on training songs held out, by which its strength was chosen; ``evaluate`` measures what ships on
the official validation split, which chose nothing. A clip is decided on by the mean of its readings.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from firmware_py.devices.files.midi_file import read_keyboard
from kelly_edge.contract import QUADRANTS
from kelly_edge.emotion import symbolic_weights
from kelly_edge.emotion.circumplex import WARM_UP_S, estimate_of
from kelly_edge.emotion.keyboard import FEWEST_NOTES, LIMIT, SHIPPED, NoteMemory, Regression, log_odds
from kelly_edge.emotion.symbolic import N_DESCRIPTORS, TARGETS, describe_notes
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.data import Clip, emopia
from models.emotion.evaluate import Prediction, scores
from models.emotion.weights_file import block
from models.keys import keys_until

Floats = NDArray[np.float64]
STRENGTH: Final = 0.1
"""scikit-learn's C. Chosen on folds of the training songs: .01, .1 and 1 are alike (.69 of quadrants)."""
TOUCH: Final = 16.0
"""Standard deviation, in MIDI velocity, of how much harder another keyboard tells that it was played. Chosen:
as EMOPIA's clips spread; on its folds arousal is .898 with it and .902 without, within the error."""
N_TOUCHES: Final = 4
"""Chosen by hand: more change nothing."""
VELOCITY_SCALE: Final = 32.0
"""Velocities of a unit of that target. By definition in ``symbolic``."""
N_FOLDS: Final = 5
"""Chosen by hand, as usual."""
EVERY_S: Final = 6.0
"""From one reading of a clip to the next. Chosen: few notes change in less."""
N_INPUTS: Final = len(TARGETS) + N_DESCRIPTORS
WIDTH: Final = 110
"""Columns of the numbers written. Chosen: the project's line length."""


class Readings(NamedTuple):
    """What is read while clips are played, n readings in all."""

    inputs: Floats  # [n, N_INPUTS]
    clips: NDArray[np.int64]  # [n] index of the clip
    quadrants: NDArray[np.int64]  # [n_clips]
    songs: NDArray[np.str_]  # [n_clips]


def read_clip(path: Path) -> Floats:
    """The descriptors [n, N_INPUTS] of a clip while it is played, once every ``EVERY_S`` and at its end."""
    performance, memory, rows = read_keyboard(path), NoteMemory(), []
    times_s = [*np.arange(WARM_UP_S, performance.duration_s, EVERY_S).tolist(), performance.duration_s]
    for time_s, came in keys_until(performance, times_s):
        for key in came:
            memory.take(*key)
        if len(notes := memory.rows(time_s)) >= FEWEST_NOTES:
            rows.append(np.concatenate(describe_notes(notes)))
    return np.array(rows, np.float64).reshape(-1, N_INPUTS)


def gather(clips: list[Clip]) -> Readings:
    """The readings of every clip that has one. Raises DataError without any."""
    every = [(clip, read_clip(clip.path)) for clip in clips]
    heard = [(clip, rows) for clip, rows in every if len(rows)]
    if not heard:
        raise DataError("no clip of EMOPIA is there; see models.emotion.data")
    return Readings(
        np.concatenate([rows for _, rows in heard]),
        np.repeat(np.arange(len(heard)), [len(rows) for _, rows in heard]),
        np.array([clip.quadrant for clip, _ in heard]),
        np.array([clip.song for clip, _ in heard]),
    )


def in_other_hands(readings: Readings) -> Readings:
    """The readings, and each ``N_TOUCHES`` times more as by keyboards of other touch."""
    rng, every = np.random.default_rng(0), [readings.inputs]
    for _ in range(N_TOUCHES):
        harder = rng.normal(0.0, TOUCH / VELOCITY_SCALE, len(readings.quadrants))
        inputs = readings.inputs.copy()
        inputs[:, TARGETS.index("velocity")] += harder[readings.clips]
        every.append(inputs)
    return readings._replace(inputs=np.concatenate(every), clips=np.tile(readings.clips, N_TOUCHES + 1))


def fit(readings: Readings, chosen: NDArray[np.bool_] | None = None) -> Regression:
    """From all readings, or those ``chosen``, by keyboards of every touch."""
    rows = np.ones(len(readings.inputs), bool) if chosen is None else chosen
    readings, rows = in_other_hands(readings), np.tile(rows, N_TOUCHES + 1)
    inputs, quadrants = readings.inputs[rows], readings.quadrants[readings.clips[rows]]
    centre, scale = inputs.mean(0), inputs.std(0) + 1e-6
    # Readings of one clip are nearly the same: so many fewer count.
    strength = STRENGTH * len(readings.quadrants) / len(readings.inputs)
    model = LogisticRegression(C=strength, max_iter=500, class_weight="balanced")
    model.fit(np.clip((inputs - centre) / scale, -LIMIT, LIMIT), quadrants)
    return Regression(centre, scale, model.coef_, model.intercept_)


def decide(readings: Readings, odds: Floats) -> list[Prediction]:
    """A decision a clip, from the log odds [n, 4] of its readings."""
    clips = range(len(readings.quadrants))
    return [Prediction("", estimate_of(odds[readings.clips == clip].mean(0))) for clip in clips]


def held_out(readings: Readings) -> Floats:
    """Log odds [n, 4] of every reading by weights that no clip of its song was fitted with."""
    songs, odds = np.unique(readings.songs), np.empty((len(readings.inputs), len(QUADRANTS)))
    np.random.default_rng(1).shuffle(songs)
    for fold in range(N_FOLDS):
        held = np.isin(readings.songs, songs[fold::N_FOLDS])[readings.clips]
        regression = fit(readings, ~held)
        odds[held] = [log_odds(row, regression) for row in readings.inputs[held]]
    return odds


def write(path: Path, regression: Regression) -> None:
    """The module of the numbers."""
    numbers = "\n".join(block(values, 5, WIDTH) for values in regression)
    path.write_text(
        '"""Numbers of ``keyboard``\'s regression, by ``python -m models.emotion.keyboard fit``."""\n\n'
        "import numpy as np\n\n"
        f"N_INPUTS, N_QUADRANTS = {N_INPUTS}, {len(QUADRANTS)}\n"
        '"""By definition: targets and descriptors of ``symbolic``; quadrants."""\n'
        f'_NUMBERS = """\n{numbers}\n"""\n'
        "_ROWS = np.array(_NUMBERS.split(), np.float64)\n"
        "_EDGES = np.cumsum([N_INPUTS, N_INPUTS, N_QUADRANTS * N_INPUTS])\n"
        "CENTRES, SCALES, WEIGHTS, BIASES = np.split(_ROWS, _EDGES)\n"
        "WEIGHTS = WEIGHTS.reshape(N_QUADRANTS, N_INPUTS)\n",
        encoding="utf-8",
    )


@command("models.emotion.keyboard", KellyError)
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = Parser(prog="python -m models.emotion.keyboard", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["fit", "folds", "evaluate"])
    parser.add_argument("--out", type=path_argument, default=Path(symbolic_weights.__file__ or ""))
    args = parser.parse_args(argv)
    readings = gather(emopia("val" if args.what == "evaluate" else "train"))
    if args.what == "fit":
        write(args.out, fit(readings))
        return 0
    shipped = np.array([log_odds(row, SHIPPED) for row in readings.inputs])
    odds: dict[str, Any] = {"folds": held_out, "evaluate": lambda _: shipped}
    print(json.dumps(scores(decide(readings, odds[args.what](readings)), readings.quadrants)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
