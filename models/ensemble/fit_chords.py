"""Learn the numbers of ``kelly_edge.harmony``: templates from sound, progressions from annotations.

``python -m models.ensemble.fit_chords --pop909 DIR [--cache DIR] [--out FILE]`` writes the numbers as
``kelly_edge/harmony/learned.py`` (the default FILE). Templates: a softmax regression, one for every root,
of the triad annotated ``LATE_S`` before each hop group on what is heard of it, the key among it, on the
development songs but the first ``N_JUDGED``, which judge. Progressions: counted relative to the key in
POP909's other songs, those for evaluation and development left out. The same songs give the same numbers on
the same machine.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from kelly_edge.contract import GROUP_S, HOP_SIZE, N_CHORDS, N_PITCH_CLASSES
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.errors import DataError, KellyError
from kelly_edge.harmony.chords import N_QUALITIES, NO_CHORD, transposed
from kelly_edge.harmony.hearing import N_VIEWS, RELATIVE_MAJOR, trust_in_key, view
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.ensemble.harmony import ACCIDENTALS, LETTERS, as_triad, chords_of
from models.ensemble.songs import CONDITIONS, cache_folder, load_song, song_list, sound_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
N_JUDGED: Final = 8
"""Development songs that train nothing here. Chosen: enough to tell recipes apart."""
LATE_S: Final = 0.1
"""Delay of the hearing behind the chord annotated. Chosen: less than half the window of the spectrum."""
PENALTY: Final = 1e-3
"""On the squares of the weights. Chosen by hand."""
USUAL: Final = 12.0
"""How many progressions of any song a chord's own are mixed with. Chosen by hand."""
OUT: Final = Path(__file__).resolve().parents[2] / "kelly_edge" / "harmony" / "learned.py"
HEAD: Final = '"""What was learned of chords, as ``python -m models.ensemble.fit_chords`` writes it."""\n'


def views_of(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """What is heard of the chord in each hop group of a sound: [n, ``N_VIEWS``, 12]."""
    extractor, views = FeatureExtractor(), []
    for hop in sound[: sound.size // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE):
        if extractor.push(hop):
            views.append(np.zeros((N_VIEWS, N_PITCH_CLASSES), np.float32))
            trust = trust_in_key(extractor.key_posterior)
            view(extractor.notes, extractor.tonic, extractor.mode, trust, views[-1])
    return np.array(views)


def examples(pop909: Path, names: Sequence[str], cache: Path) -> tuple[Floats, Ints]:
    """Views [n, ``N_VIEWS``, 12] and triads that sounded, of songs rendered in turn in every condition."""
    every_view, every_triad = [], []
    for number, name in enumerate(names):
        song = load_song(pop909, name)
        views = views_of(sound_of(song, CONDITIONS[number % len(CONDITIONS)], cache))
        chords = chords_of(song)
        index = chords.at((np.arange(len(views)) + 1) * GROUP_S - LATE_S)
        triads = np.where(index >= 0, chords.triad[np.maximum(index, 0)], NO_CHORD)
        every_view.append(views[triads != NO_CHORD])
        every_triad.append(triads[triads != NO_CHORD])
    return np.concatenate(every_view).astype(np.float64), np.concatenate(every_triad)


def fit_templates(views: Floats, triads: Ints) -> tuple[Floats, float]:
    """Weights [2, ``N_VIEWS``, 12] of major and minor, and the bias of minor."""
    # Seen from every root, the same weights score all of its chords: [n, 12, 12 * N_VIEWS].
    seen = np.stack([np.roll(views, -root, 2).reshape(len(views), -1) for root in range(N_PITCH_CLASSES)], 1)
    n, size = len(triads), seen.shape[2]
    rows = np.arange(n)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights = parameters[:-1].reshape(N_QUALITIES, size)
        scores = (seen @ weights.T + np.array([0.0, parameters[-1]])).reshape(n, N_CHORDS)
        scores -= scores.max(1, keepdims=True)
        shares = np.exp(scores)
        shares /= shares.sum(1, keepdims=True)
        value = -np.log(shares[rows, triads]).mean() + PENALTY * (parameters**2).sum()
        shares[rows, triads] -= 1.0
        slope = shares.reshape(n, N_PITCH_CLASSES, N_QUALITIES) / n
        by_weight = np.einsum("nrq,nrd->qd", slope, seen)
        gradient = np.concatenate([by_weight.ravel(), [slope[:, :, 1].sum()]])
        return float(value), gradient + 2.0 * PENALTY * parameters

    found = minimize(loss, np.zeros(N_QUALITIES * size + 1), jac=True, method="L-BFGS-B").x
    return found[:-1].reshape(N_QUALITIES, N_VIEWS, N_PITCH_CLASSES), float(found[-1])


def keys_of(lines: Iterable[str]) -> list[tuple[float, int]]:
    """Begin and (relative) major tonic of each key of a song's ``key_audio.txt``."""
    keys = []
    for line in lines:
        if match := re.match(r"([\d.]+)\s+[\d.]+\s+([A-G])([b#]?):(maj|min)", line):
            tonic = LETTERS[match[2]] + ACCIDENTALS[match[3]] + RELATIVE_MAJOR * (match[4] == "min")
            keys.append((float(match[1]), tonic % N_PITCH_CLASSES))
    return keys


def count_progressions(pop909: Path, left_out: Iterable[str]) -> Floats:
    """How often a chord (column) follows another (row) in C major or A minor: [24, 24]."""
    counts = np.zeros((N_CHORDS, N_CHORDS))
    folder = pop909 / "POP909" if (pop909 / "POP909").is_dir() else pop909
    names = sorted(path.name for path in folder.iterdir() if (path / "key_audio.txt").is_file())
    for name in sorted({*names} - {*left_out}):
        keys = keys_of((folder / name / "key_audio.txt").read_text(encoding="utf-8").splitlines())
        before = NO_CHORD
        for line in (
            (folder / name / "chord_midi.txt").read_text(encoding="utf-8").splitlines() if keys else ()
        ):
            begin, _, chord = line.split()
            tonic = [tonic for begin_s, tonic in keys if begin_s <= float(begin) or begin_s == keys[0][0]][-1]
            triad = transposed(as_triad(chord), -tonic)
            if triad not in (before, NO_CHORD) and before != NO_CHORD:
                counts[before, triad] += 1.0
            before = triad
    return counts


def per_mille(counts: Floats) -> Ints:
    """Counts as shares of a thousand, mixed with the usual ones; nothing follows itself."""
    usual = counts.sum(0) / max(counts.sum(), 1.0)
    mixed = counts + USUAL * usual + 0.1
    np.fill_diagonal(mixed, 0.0)
    shares = np.maximum(np.round(1_000.0 * mixed / mixed.sum(1, keepdims=True)), 1.0).astype(np.int64)
    np.fill_diagonal(shares, 0)
    return shares


def as_module(weights: Floats, bias: float, progressions: Ints) -> str:
    """The text of ``learned.py``."""
    lines = [HEAD, "from typing import Final\n", "# fmt: off", "TEMPLATES: Final = ("]
    for quality in weights:
        lines += ["  (", *(f"    ({', '.join(f'{w:.2f}' for w in row)})," for row in quality), "  ),"]
    lines += [
        ")",
        '"""Weights of a chord\'s views (``hearing``) by semitones above its root: [2, 5, 12]; fitted."""',
        f"TEMPLATE_BIASES: Final = (0.0, {bias:.2f})",
        '"""Added to the score, for major and for minor; fitted with the templates."""\n',
        "PROGRESSIONS: Final = (",
        *(f"    ({', '.join(map(str, row))})," for row in progressions),
        ")",
        '"""Per mille: the chord (column) that follows a chord (row) where the key is C major or A minor, as '
        "numbered",
        'in ``chords``; nothing follows itself. Counted in POP909."""',
        "# fmt: on",
    ]
    return "\n".join(lines) + "\n"


@command("models.ensemble.fit_chords", KellyError)
def main() -> None:
    """Read the command line, learn, write."""
    parser = Parser(prog="models.ensemble.fit_chords", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--cache", type=path_argument, default=cache_folder(), help="folder of renderings")
    parser.add_argument("--out", type=path_argument, default=OUT, help="where the numbers go")
    arguments = parser.parse_args()
    development = song_list("development")
    counts = count_progressions(arguments.pop909, [*song_list("evaluation"), *development])
    if not counts.any():
        raise DataError(f"no chords in {arguments.pop909}; give the folder of POP909")
    views, triads = examples(arguments.pop909, development[N_JUDGED:], arguments.cache)
    weights, bias = fit_templates(views, triads)
    arguments.out.write_text(as_module(weights, bias, per_mille(counts)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
