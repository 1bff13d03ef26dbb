"""Measure the composer: likelihood of held-out MIDI, and whether its music has the emotion asked for.

``python -m models.composer.evaluate --midi-dir DIR [--work DIR] [--json]``: negative log likelihood in nats
a note for the MIDI files in DIR (valence and arousal unknown; density and mode are the music's own) under
the shipped INT8 graph and the float checkpoints of teacher and student, where the work folder has them;
and the graph's top-1 agreement with the checkpoint it was exported from.

``… --judge DIR``: agreement of the independent judge (``judge``) with the names (Q1_000.mid …) of generated
files, their Fréchet distance, musical measures beside EMOPIA's, and the share of clips with a run of more
than 16 notes copied from the training data (transposed copies count).

``… --form DIR``: whether bars, motives and phrases come again as in people's clips (``form``), with the
judge's agreement and distance, for generated files Q1_000.mid …; people's clips are measured beside them.
And at most what share has a copied run, by the known runs of the model's file.

``… --steering``: a 5 × 5 grid of commanded valence and arousal; Spearman correlation of arousal with
density and velocity, and of valence with the judge's.

``… --continuous``: ten minutes through the box's own stage: silences, loops and returns beside those
planned, form in every minute, the ending, drift, the envelope (``continuity``).

``… --speed``: compound words per second, the whole loop with sampling; bars that return beside new ones.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from firmware_py.runtimes.onnx import OnnxComposer, stream_rows
from kelly_edge.errors import DataError, KellyError
from kelly_edge.music.compound_word import COLUMN, NOTE, PITCH, SAMPLED, TYPE, Rows, decode, encode
from kelly_edge.music.form import NO_RETURN
from kelly_edge.music.generator import Generator
from kelly_edge.music.known_runs import KnownRuns, interval_hashes
from kelly_edge.music.sampling import HEAD, PARENT_SLOTS, SamplingSettings
from kelly_edge.music.target import Target
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.continuity import continuity
from models.composer.data import (
    Notes,
    data_folder,
    estimate_key,
    load_tokens,
    read_midi,
    to_bars,
    track_beats,
    training_runs,
)
from models.composer.form import evaluate_form, people
from models.composer.generate import compose, open_network
from models.composer.judge import FEATURES, quadrants_of, read_folder, train_judge
from models.composer.network import Composer, row_losses, struck_together
from models.composer.performance import chords_of, repeated_share
from models.composer.train import load_model

Hashes = NDArray[np.uint64]
MEASURES = ("notes_per_s", "velocity_mean", "pitch_range", "n_pitch_classes", "polyphony", "in_key")
LOGARITHMIC = ("notes_per_s",)
N_RESAMPLES = 1_000
"""Of the bootstrap. Chosen: the interval's ends are steady in the second digit."""
INT8 = "shipped_int8"
# Targets along each axis, and clips at each. Chosen: 100 clips take minutes.
GRID = (-1.0, -0.5, 0.0, 0.5, 1.0)
CLIPS_PER_POINT = 4
N_PEOPLE = 281
"""Clips of EMOPIA that form is measured on beside ours. Chosen: as many as of ours."""
CLIP_S = 40.0
"""Chosen: a clip of EMOPIA lasts about as long."""


def rows_of(path: Path, context: int | None = None) -> Rows:
    """A MIDI file as rows, at most ``context``; valence and arousal unknown."""
    notes = read_midi(path)
    if len(notes.pitch) < 16:
        raise DataError(f"{path}: fewer than 16 notes; give longer pieces")
    tonic, mode = estimate_key(notes.pitch, np.minimum(notes.end_s - notes.onset_s, 2.0))
    return encode(to_bars(notes, *track_beats(notes), [(0.0, tonic, mode)]))[:context]


@torch.no_grad()
def torch_logits(model: Composer, rows: Rows) -> list[torch.Tensor]:
    """Logits a head [1, n, size] of the rows of a piece."""
    tokens = torch.from_numpy(rows.astype(np.int64))[None]
    return model.logits(model(tokens), tokens)


def onnx_logits(network: OnnxComposer, rows: Rows) -> list[torch.Tensor]:
    """The same through the step graph and its own tables of heads."""
    tables, n_heads = network.tables, len(SAMPLED)
    contexts = np.concatenate([tables.start[None], stream_rows(network, rows[:-1])])
    for (head, column), table in zip(PARENT_SLOTS, tables.parents, strict=True):
        contexts[:, head] += table[rows[:, column]]
    contexts[:, HEAD[PITCH]] += tables.together[struck_together(torch.from_numpy(rows)).numpy()]
    hidden = np.maximum(contexts, 0.0)
    logits = [hidden[:, i] @ tables.weights[i] + tables.biases[i] for i in range(n_heads)]
    return [torch.from_numpy(found)[None] for found in logits]


def is_float_of(model: Composer, network: OnnxComposer) -> bool:
    """Whether the step graph was exported from this checkpoint: their tables are the same numbers."""
    start = model.start.detach().numpy()
    return start.shape == network.tables.start.shape and bool(np.all(start == network.tables.start))


def note_losses(logits: list[torch.Tensor], rows: Rows) -> NDArray[np.float64]:
    """Nats of every note row: all its families together."""
    losses = row_losses(logits, torch.from_numpy(rows.astype(np.int64))[None])[0].sum(-1)
    return losses.numpy()[rows[:, TYPE] == NOTE].astype(np.float64)


def top1_agreement(a: list[torch.Tensor], b: list[torch.Tensor], rows: Rows) -> tuple[int, int]:
    """(equal, all) most likely tokens, over the families that apply."""
    equal = total = 0
    for family, x, y in zip(SAMPLED, a, b, strict=True):
        applies = rows[:, COLUMN["type"]] == family.row if family.row else np.ones(len(rows), bool)
        same = (x.argmax(-1) == y.argmax(-1))[0].numpy()[applies]
        equal, total = equal + int(same.sum()), total + len(same)
    return equal, total


def interval(values: list[NDArray[np.float64]]) -> list[float]:
    """95 % interval of the mean over all notes, pieces resampled."""
    rng = np.random.default_rng(0)
    sums, counts = np.array([v.sum() for v in values]), np.array([len(v) for v in values])
    picks = rng.integers(0, len(values), (N_RESAMPLES, len(values)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    return [round(float(q), 4) for q in np.quantile(means, [0.025, 0.975])]


def likelihood(pieces: list[Rows], work: Path, model_path: Path | None) -> dict[str, Any]:
    """NLL a note of each network there is, and what INT8 changed."""
    result: dict[str, Any] = {
        "n_pieces": len(pieces),
        "n_notes": int(sum((p[:, TYPE] == NOTE).sum() for p in pieces)),
    }
    networks = {n: work / f"{n}-best.pt" for n in ("teacher", "student")}
    models = {name: load_model(path) for name, path in networks.items() if path.exists()}
    network = open_network(model_path)
    source = next((name for name, model in models.items() if is_float_of(model, network)), None)
    losses: dict[str, list[NDArray[np.float64]]] = {}
    equal = total = 0
    for rows in pieces:
        logits = {name: torch_logits(model, rows) for name, model in models.items()}
        logits[INT8] = onnx_logits(network, rows)
        if source is not None:
            same, of = top1_agreement(logits[source], logits[INT8], rows)
            equal, total = equal + same, total + of
        for name, found in logits.items():
            losses.setdefault(name, []).append(note_losses(found, rows))
    for name, values in losses.items():
        mean = float(np.concatenate(values).mean())
        result[name] = {"nll_per_note": round(mean, 4), "interval_95": interval(values)}
    if source is not None:
        result["int8_of"] = source
        result["int8_top1_agreement"] = round(equal / total, 4)
    return result


def copied_share(folder: Path, tokens: Path) -> float:
    """Share of the clips in ``folder`` that copy a run of more than ``N_INTERVALS`` training notes."""
    known = training_runs(tokens)
    return share_with_runs(folder, lambda hashes: np.isin(hashes, known))


def share_with_runs(folder: Path, is_known: Callable[[Hashes], NDArray[np.bool_]]) -> float:
    """Share of the clips in ``folder`` with a run whose hash (``interval_hashes``) ``is_known``."""
    clips = [read_midi(path) for path in sorted(folder.glob("*.mid"))]
    found = [bool(is_known(interval_hashes(clip.pitch[by_grid(clip)])).any()) for clip in clips]
    return float(np.mean(found))


def by_grid(notes: Notes) -> NDArray[np.int64]:
    """Order of notes by onset, those of a chord upwards."""
    return np.lexsort((notes.pitch, chords_of(notes.onset_s)))


def repeated_bars(pieces: list[Rows]) -> float:
    """Mean share of bars that repeat one of the bars before, of bars with at least two notes."""
    shares = []
    for rows in pieces:
        bars = [frozenset((n.position, n.pitch) for n in bar.notes) for bar in decode(rows)]
        shares.append(repeated_share([bar for bar in bars if len(bar) >= 2]))
    return float(np.mean(shares))


def judge_folder(folder: Path, work: Path) -> dict[str, Any]:
    """Agreement, Fréchet distance and musical measures of generated clips, beside people's."""
    judge, human = train_judge(data_folder() / "emopia")
    names, x = read_folder(folder)
    asked = quadrants_of(names)
    rng = np.random.default_rng(0)
    agreement = judge.agreement(x, asked)
    resampled = [judge.agreement(x[p], asked[p]) for p in rng.integers(0, len(x), (200, len(x)))]
    measures = {}
    for name in MEASURES:
        column = FEATURES.index(name)
        ours, theirs = x[:, column].mean(), judge.human[:, column].mean()
        both = (np.exp(ours), np.exp(theirs)) if name in LOGARITHMIC else (ours, theirs)
        measures[name] = [round(float(value), 3) for value in both]
    return {
        "n_clips": len(names),
        "agreement": {k: round(v, 3) for k, v in agreement.items()},
        "interval_95": {
            k: [round(float(q), 3) for q in np.quantile([r[k] for r in resampled], [0.025, 0.975])]
            for k in agreement
        },
        "frechet": round(judge.frechet(x), 2),
        "judge_on_emopia_val": {k: round(v, 3) for k, v in human.items()},
        "measures_ours_and_emopia": measures,
        "repeated_bars_ours_and_emopia": [
            round(repeated_bars(pieces), 4)
            for pieces in (
                [rows_of(path) for path in sorted(folder.glob("*.mid"))],
                load_tokens(work / "tokens.npz", "emopia", "train"),
            )
        ],
        "share_with_copied_run": round(copied_share(folder, work / "tokens.npz"), 3),
    }


def form_folder(folder: Path, known_runs: KnownRuns) -> dict[str, Any]:
    """Measures of form of generated clips, beside people's, and at most how many of them copy."""
    emopia = data_folder() / "emopia"
    judge, human = train_judge(emopia)
    paths = sorted(folder.glob("*.mid"))
    if not paths:
        raise DataError(f"--form {folder}: no .mid files; give a folder of generated clips")
    return {
        "ours": evaluate_form(paths, judge),
        "people": evaluate_form(people(emopia, N_PEOPLE), judge),
        # The file's filter misses no run of its training data; some that it has are none.
        "share_with_known_run_at_most": round(share_with_runs(folder, known_runs.has), 3),
        "judge_on_emopia_val": {k: round(v, 3) for k, v in human.items()},
    }


def notes_of(network: OnnxComposer, target: Target, seed: int, seconds: float = CLIP_S) -> Notes:
    """A performance as notes in seconds, without a file."""
    rows, line_s = [], 0.0
    for bar in compose(Generator(network, SamplingSettings(), seed), target, seconds):
        beat_s = 60.0 / bar.tempo_bpm
        for note in bar.notes:
            begin_s = line_s + note.onset_beats * beat_s
            rows.append((begin_s, begin_s + note.duration_beats * beat_s, note.pitch, note.velocity))
        line_s += bar.n_beats * beat_s
    table = np.array(sorted(rows), np.float64).reshape(-1, 4)
    return Notes(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64))


def steering(model_path: Path | None) -> dict[str, Any]:
    """Spearman correlations over a grid of commanded valence and arousal."""
    from scipy.stats import spearmanr

    from models.composer.judge import features

    judge, _ = train_judge(data_folder() / "emopia")
    network = open_network(model_path)
    rows = []
    for i, valence in enumerate(GRID):
        for j, arousal in enumerate(GRID):
            for k in range(CLIPS_PER_POINT):
                notes = notes_of(network, Target(valence, arousal), 1_000 * k + 10 * i + j)
                if len(notes.pitch) < 4:
                    continue
                x = features(notes)
                rows.append((valence, arousal, x[0], x[2], judge.valence.decision_function([x])[0]))
    table = np.array(rows)
    return {
        "n_clips": len(table),
        "spearman_arousal_density": round(float(spearmanr(table[:, 1], table[:, 2])[0]), 3),
        "spearman_arousal_velocity": round(float(spearmanr(table[:, 1], table[:, 3])[0]), 3),
        "spearman_valence_judge": round(float(spearmanr(table[:, 0], table[:, 4])[0]), 3),
    }


def speed(model_path: Path | None, seconds: float = 600.0) -> dict[str, Any]:
    """Words a second of ``seconds`` of music at one thread, of bars that return too, and peak memory."""
    generator = Generator(open_network(model_path), SamplingSettings(), 1)
    compose(generator, Target(0.3, 0.3), 20.0)
    length_s, n_words, spent_s = 0.0, {True: 0, False: 0}, {True: 0.0, False: 0.0}
    while length_s < seconds:
        began_s = time.process_time()
        bar = generator.compose_bar(Target(0.3, 0.3))
        took_s = time.process_time() - began_s
        score = generator.score
        returns = score is not None and score.places[len(score.written) - 1].like != NO_RETURN
        n_words[returns] += 1 + len(bar.notes)
        spent_s[returns] += took_s
        length_s += bar.n_beats * 60.0 / bar.tempo_bpm
    total, total_s = sum(n_words.values()), sum(spent_s.values())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "words_per_s": round(total / total_s),
        "n_words": total,
        "ms_per_word": round(1e3 * total_s / total, 3),
        "ms_per_word_of_new_bars": round(1e3 * spent_s[False] / max(1, n_words[False]), 3),
        "ms_per_word_of_returning_bars": round(1e3 * spent_s[True] / max(1, n_words[True]), 3),
        "peak_rss_mb_with_torch": round(peak_mb),
    }


@command("models.composer.evaluate", KellyError)
def main() -> None:
    """Read the command line, measure, print."""
    parser = Parser(prog="models.composer.evaluate", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--midi-dir", type=path_argument, help="folder of held-out MIDI files")
    what.add_argument("--judge", type=path_argument, help="folder of generated files, Q1_000.mid …")
    what.add_argument("--form", type=path_argument, help="folder of generated files, Q1_000.mid …")
    what.add_argument("--steering", action="store_true")
    what.add_argument("--continuous", action="store_true")
    what.add_argument("--speed", action="store_true")
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/composer"), help="folder with the checkpoints"
    )
    parser.add_argument("--model", type=path_argument, help="a step graph; default: the shipped model")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.midi_dir:
        paths = sorted(arguments.midi_dir.glob("*.mid"))
        if not paths:
            raise DataError(f"--midi-dir {arguments.midi_dir}: no .mid files; give a folder that has some")
        network = open_network(arguments.model)
        pieces = [rows_of(path, network.context) for path in paths]
        result = likelihood(pieces, arguments.work, arguments.model)
    elif arguments.judge:
        result = judge_folder(arguments.judge, arguments.work)
    elif arguments.form:
        result = form_folder(arguments.form, open_network(arguments.model).known_runs)
    elif arguments.continuous:
        result = continuity(open_network(arguments.model))
    else:
        result = steering(arguments.model) if arguments.steering else speed(arguments.model)
    print(json.dumps(result, indent=None if arguments.json else 2))


if __name__ == "__main__":
    sys.exit(main())
