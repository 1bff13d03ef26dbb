"""Measures of form: motives and bars that come again, phrases of four bars, the steps of a melody.

All are read from bars on a grid that is tracked on the notes themselves, so that people's clips and
ours are read alike. They say nothing about what the music expresses.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.music.compound_word import MAJOR, MINOR, N_STEPS, STEPS_PER_BEAT, GridBar
from models.composer.data import Notes, estimate_key, read_midi, to_bars, track_beats
from models.composer.judge import FEATURES, Judge, features, quadrants_of

Floats = NDArray[np.float64]

N_MOTIVE: Final = 4
"""Intervals of a motive. Chosen: five notes; shorter ones recur by chance."""
NEAR: Final = 0.8
"""Cosine above which two bars are nearly the same. Chosen by hand."""
PHRASE: Final = 4
"""Bars. Chosen: the length that textbooks of form give (Caplin 1998)."""
STEP, LEAP = 2, 8
"""Semitones: a step has at most two, a leap more than a fifth. By definition."""
MEASURES: Final = ("motives", "near_repeats", "extra_at_four", "steps", "leaps")
# Of the bootstrap, and notes from which a clip is judged. Chosen: as in ``evaluate``; a melody of a few bars.
N_RESAMPLES: Final = 1_000
MIN_NOTES: Final = 16
VELOCITY, REGISTER, BASS_SHARE, DENSITY = (
    FEATURES.index(name) for name in ("velocity_mean", "pitch_mean", "bass_share", "notes_per_s")
)


def bars_and_mode(notes: Notes) -> tuple[tuple[GridBar, ...], int]:
    """Notes on the grid tracked on them, in C, and the token of their mode."""
    tonic, mode = estimate_key(notes.pitch, np.minimum(notes.end_s - notes.onset_s, 2.0))
    return to_bars(notes, *track_beats(notes), [(0.0, tonic, mode)]), mode


def melody(bars: Sequence[GridBar]) -> NDArray[np.int64]:
    """The upper line, (step, pitch) [n, 2]: the highest note that begins in each beat."""
    tops: dict[int, tuple[int, int]] = {}
    for number, bar in enumerate(bars):
        for note in bar.notes:
            step = N_STEPS * number + note.position
            beat = step // STEPS_PER_BEAT
            tops[beat] = max(tops.get(beat, (0, 0)), (note.pitch, -step))
    return np.array([(-step, pitch) for _, (pitch, step) in sorted(tops.items())], np.int64).reshape(-1, 2)


def motives(line: NDArray[np.int64]) -> float:
    """Share of a line's runs of ``N_MOTIVE`` intervals that occur again with the same rhythm."""
    moves = np.diff(line, axis=0)
    runs = [moves[i : i + N_MOTIVE].tobytes() for i in range(len(moves) - N_MOTIVE + 1)]
    counts = Counter(runs)
    return float(np.mean([counts[run] > 1 for run in runs])) if runs else 0.0


def onsets(bar: GridBar) -> Floats:
    """How many notes of each pitch class begin at each step: [16, 12]."""
    table = np.zeros((N_STEPS, 12))
    for note in bar.notes:
        table[note.position, note.pitch % 12] += 1.0
    return table


def similarities(tables: Sequence[Floats]) -> Floats:
    """Cosines of the tables of bars: [n, n]; 0 with a bar without notes."""
    rows = np.array([table.ravel() for table in tables])
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return np.asarray(rows @ rows.T)


def near_repeats(bars: Sequence[GridBar]) -> float:
    """Share of bars, of those with two notes or more, that nearly repeat an earlier one."""
    tables = [onsets(bar) for bar in bars if len(bar.notes) >= 2]
    if len(tables) < 2:
        return 0.0
    alike = similarities(tables)
    return float(np.mean([alike[i, :i].max() > NEAR for i in range(1, len(alike))]))


def extra_at_four(bars: Sequence[GridBar]) -> float:
    """How much more bars are like those four before than those three and five before, in pitch and rhythm.

    NaN if there are too few.
    """
    if len(bars) <= PHRASE + 1:
        return float("nan")
    pitches = [onsets(bar) for bar in bars]
    rhythms = [(table.sum(1) > 0.0).astype(np.float64) for table in pitches]
    alike = (similarities(pitches) + similarities(rhythms)) / 2.0
    before, at, after = (float(np.diagonal(alike, PHRASE + i).mean()) for i in (-1, 0, 1))
    return at - (before + after) / 2.0


def steps_and_leaps(line: NDArray[np.int64]) -> tuple[float, float]:
    """Shares of a line's intervals that are steps and leaps."""
    sizes = np.abs(np.diff(line[:, 1]))
    if not len(sizes):
        return 0.0, 0.0
    return float(np.mean(sizes <= STEP)), float(np.mean(sizes >= LEAP))


def form_of(bars: Sequence[GridBar]) -> Floats:
    """The values of ``MEASURES`` for a clip: [5]."""
    line = melody(bars)
    return np.array([motives(line), near_repeats(bars), extra_at_four(bars), *steps_and_leaps(line)])


def summary(values: Floats) -> dict[str, Any]:
    """Mean and 95 % interval of each measure over clips [n, 5], clips resampled."""
    result: dict[str, Any] = {"n_clips": len(values)}
    for name, column in zip(MEASURES, values.T, strict=True):
        known = column[~np.isnan(column)]
        picks = np.random.default_rng(0).integers(0, len(known), (N_RESAMPLES, len(known)))
        low, high = np.quantile(known[picks].mean(1), [0.025, 0.975])
        result[name] = [round(float(v), 4) for v in (known.mean(), low, high)]
    return result


def people(emopia: Path, n_clips: int) -> list[Path]:
    """About ``n_clips`` of EMOPIA's clips, evenly spaced by name; all if there are fewer."""
    paths = sorted((emopia / "midis").glob("*.mid"))
    return paths[:: max(1, len(paths) // n_clips)][:n_clips]


def asked_valence(path: Path) -> float | None:
    """The valence a clip was composed for, as ``generate`` leaves it in the file; None where it does not."""
    import mido

    texts = [m.text for track in mido.MidiFile(path).tracks for m in track if m.type == "text"]
    found = next((m for text in texts if (m := re.match(r"valence (-?[\d.]+) arousal", text))), None)
    return float(found[1]) if found else None


def evaluate_form(paths: Sequence[Path], judge: Judge) -> dict[str, Any]:
    """Form, agreement and distance of generated clips, Q1_000.mid …, and valence within each mode."""
    from scipy.stats import spearmanr

    named = [(path, read_midi(path)) for path in paths]
    clips = [(path, notes) for path, notes in named if len(notes.pitch) >= MIN_NOTES]
    read = [bars_and_mode(notes) for _, notes in clips]
    x = np.array([features(notes) for _, notes in clips])
    heard = judge.valence.decision_function(x)
    asked = [asked_valence(path) for path, _ in clips]
    within = {}
    for name, token in (("minor", MINOR), ("major", MAJOR)):
        chosen = [i for i, (_, mode) in enumerate(read) if mode == token and asked[i] is not None]
        if len(chosen) >= 10:
            rho = spearmanr([asked[i] for i in chosen], heard[chosen])[0]
            within[name] = [round(float(rho), 3), len(chosen)]
    quadrants = quadrants_of([path.stem for path, _ in clips])
    minor = np.array([mode == MINOR for _, mode in read])
    return {
        "form": summary(np.array([form_of(bars) for bars, _ in read])),
        "frechet": round(judge.frechet(x), 2),
        "agreement": {k: round(v, 3) for k, v in judge.agreement(x, quadrants).items()},
        "valence_within_mode_and_clips": within,
        "by_quadrant": {
            f"Q{q}": {
                "minor": round(float(minor[quadrants == q].mean()), 2),
                "velocity": round(float(x[quadrants == q, VELOCITY].mean()), 1),
                "pitch": round(float(x[quadrants == q, REGISTER].mean()), 1),
                "bass_share": round(float(x[quadrants == q, BASS_SHARE].mean()), 2),
                "notes_per_s": round(float(np.exp(x[quadrants == q, DENSITY]).mean()), 2),
            }
            for q in sorted(set(quadrants.tolist()))
        },
    }
