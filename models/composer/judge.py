"""An independent judge of generated MIDI: does it sound like the emotion it was asked for?

Features are read from the MIDI itself, in seconds, with key profiles of their own (Krumhansl-Kessler); no
part of the composer is used. Two logistic regressions (valence, arousal) and one over the four quadrants
are trained on the clips people labelled in EMOPIA's training split. The Fréchet distance compares the
Gaussians of two sets of standardised features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import QUADRANTS
from kelly_edge.errors import DataError
from models.composer.data import Notes, read_midi, read_splits

Floats = NDArray[np.float64]

# Probe-tone profiles (Krumhansl & Kessler 1982).
KRUMHANSL_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
KRUMHANSL_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
# Definition of the major scale and of all degrees of the minor scales, in semitones above the tonic.
MAJOR_SCALE: Final = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALES: Final = (0, 2, 3, 5, 7, 8, 10, 11)
FEATURES: Final = (
    "notes_per_s", "onsets_per_s", "velocity_mean", "velocity_sd", "velocity_p90", "pitch_mean", "pitch_sd",
    "pitch_range", "pitch_p10", "pitch_p90",
    "duration_log_mean", "duration_log_sd", "gap_log_mean", "gap_log_sd",
    "polyphony", "n_pitch_classes", "class_entropy", "in_key", "major_correlation", "minor_correlation",
    "mode_difference", "third", "sixth", "seventh", "fourth", "step_share", "leap_share", "bass_share",
)  # fmt: skip


def features(notes: Notes) -> Floats:
    """The values of ``FEATURES`` for a clip of at least four notes; shape [28]."""
    pitch, velocity = notes.pitch, notes.velocity
    length_s = float(notes.end_s.max() - notes.onset_s.min())
    duration = np.maximum(notes.end_s - notes.onset_s, 0.02)
    onsets = np.unique(np.round(notes.onset_s / 0.05))
    gaps = np.log(np.diff(onsets) * 0.05)
    weights = np.minimum(duration, 2.0)
    histogram = np.bincount(pitch % 12, weights / weights.sum(), minlength=12)
    scores = np.array(
        [
            [np.corrcoef(np.roll(profile, tonic), histogram)[0, 1] for tonic in range(12)]
            for profile in (KRUMHANSL_MAJOR, KRUMHANSL_MINOR)
        ]
    )
    major = scores[0].max() >= scores[1].max()
    degrees = np.roll(histogram, -int(scores[0 if major else 1].argmax()))
    low, high = np.percentile(pitch, [10, 90])
    top = np.abs(np.diff(pitch[velocity >= np.median(velocity)]))
    entropy = -float(np.sum(histogram * np.log(histogram + 1e-9)))
    values = [
        np.log(len(pitch) / length_s), np.log(len(onsets) / length_s),
        velocity.mean(), velocity.std(), np.percentile(velocity, 90),
        pitch.mean(), pitch.std(), np.ptp(pitch), low, high,
        np.log(duration).mean(), np.log(duration).std(), gaps.mean(), gaps.std(),
        duration.sum() / length_s, (histogram > 0.01).sum(), entropy,
        degrees[list(MAJOR_SCALE if major else MINOR_SCALES)].sum(), scores[0].max(), scores[1].max(),
        scores[0].max() - scores[1].max(), degrees[4] - degrees[3], degrees[9] - degrees[8],
        degrees[11] - degrees[10], degrees[5], (top <= 2).mean(), (top >= 7).mean(), (pitch < 48).mean(),
    ]  # fmt: skip
    return np.nan_to_num(np.array(values, np.float64))


def read_folder(folder: Path, names: Sequence[str] | None = None) -> tuple[list[str], Floats]:
    """Names and features [n, 28] of the MIDI files of a folder (only ``names``, if given)."""
    found, rows = [], []
    for path in sorted(folder.glob("*.mid")):
        if names is not None and path.stem not in names:
            continue
        notes = read_midi(path)
        if len(notes.pitch) >= 4:
            found.append(path.stem)
            rows.append(features(notes))
    if not rows:
        raise DataError(f"{folder}: no MIDI file with notes; give a folder of .mid files")
    return found, np.array(rows)


def quadrants_of(names: Sequence[str]) -> NDArray[np.int64]:
    """Quadrant 1..4 of file names that begin with Q1..Q4.

    Raises
    ------
    DataError: a name does not.
    """
    for name in names:
        if name[:2] not in QUADRANTS:
            raise DataError(f"{name}.mid: its name does not begin with {', '.join(QUADRANTS)}; rename it")
    return np.array([int(name[1]) for name in names])


@dataclass(frozen=True)
class Judge:
    """Classifiers trained on human clips, and the features they were trained on."""

    quadrant: Any
    valence: Any
    arousal: Any
    human: Floats
    """Features [n, 28] of the training clips."""

    def agreement(self, x: Floats, asked: NDArray[np.int64]) -> dict[str, float]:
        """Share of clips judged as ``asked`` (quadrants 1..4): four quadrants, valence sign, arousal sign."""
        return {
            "four_quadrants": float(np.mean(self.quadrant.predict(x) == asked)),
            "valence": float(np.mean(self.valence.predict(x) == np.isin(asked, (1, 4)))),
            "arousal": float(np.mean(self.arousal.predict(x) == np.isin(asked, (1, 2)))),
        }

    def frechet(self, x: Floats) -> float:
        """Fréchet distance of standardised features to the human clips'."""
        return frechet_distance(standardise(x, self.human), standardise(self.human, self.human))


def standardise(x: Floats, reference: Floats) -> Floats:
    """``x`` in standard deviations from the mean of ``reference``."""
    scaled: Floats = (x - reference.mean(0)) / (reference.std(0) + 1e-9)
    return scaled


def frechet_distance(x: Floats, y: Floats) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of rows."""
    from scipy.linalg import sqrtm

    covariance_x, covariance_y = np.cov(x.T), np.cov(y.T)
    root = np.real(sqrtm(covariance_x @ covariance_y))
    difference = x.mean(0) - y.mean(0)
    return float(difference @ difference + np.trace(covariance_x + covariance_y - 2.0 * root))


def train_judge(emopia: Path) -> tuple[Judge, dict[str, float]]:
    """The judge, and its own agreement with people on EMOPIA's validation split."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    splits = read_splits(emopia)
    train = [name for name, split in splits.items() if split == "train"]
    names, x = read_folder(emopia / "midis", train)
    y = quadrants_of(names)
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2_000)).fit(x, target)
        for target in (y, np.isin(y, (1, 4)), np.isin(y, (1, 2)))
    ]
    judge = Judge(models[0], models[1], models[2], x)
    held_out, x_val = read_folder(
        emopia / "midis", [name for name, split in splits.items() if split == "val"]
    )
    return judge, {
        **judge.agreement(x_val, quadrants_of(held_out)),
        "frechet": judge.frechet(x_val),
        "n": len(held_out),
    }
