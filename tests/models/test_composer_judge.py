"""The judge: its features and distances on music whose answer is known."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the judge needs scipy and scikit-learn (pip install .[train])")

from models.composer.data import Notes
from models.composer.judge import FEATURES, features, frechet_distance, quadrants_of


def scale_notes(steps: tuple[int, ...], gap_s: float, velocity: int) -> Notes:
    pitch = 60 + np.array(steps * 6)
    onset = np.arange(len(pitch)) * gap_s
    return Notes(onset, onset + gap_s, pitch, np.full(len(pitch), velocity))


MAJOR = (0, 4, 7, 12, 2, 5, 9, 11, 0, 4, 7)
MINOR = (0, 3, 7, 12, 2, 5, 8, 10, 0, 3, 7)


def value(notes: Notes, name: str) -> float:
    return float(features(notes)[FEATURES.index(name)])


def test_there_is_one_value_a_feature() -> None:
    assert features(scale_notes(MAJOR, 0.25, 60)).shape == (len(FEATURES),)


def test_density_velocity_and_polyphony_are_what_was_played() -> None:
    notes = scale_notes(MAJOR, 0.25, 60)
    assert np.exp(value(notes, "notes_per_s")) == pytest.approx(4.0)
    assert value(notes, "velocity_mean") == 60.0
    assert value(notes, "polyphony") == pytest.approx(1.0)


@pytest.mark.parametrize("moved", range(12))
def test_major_and_minor_differ_in_every_key(moved: int) -> None:
    for steps, sign in ((MAJOR, 1), (MINOR, -1)):
        notes = scale_notes(steps, 0.25, 60)
        notes = Notes(notes.onset_s, notes.end_s, notes.pitch + moved, notes.velocity)
        assert sign * value(notes, "mode_difference") > 0
        assert sign * value(notes, "third") > 0


def test_the_frechet_distance_is_zero_to_itself_and_grows_with_the_means() -> None:
    x = np.random.default_rng(0).normal(size=(400, 5))
    assert abs(frechet_distance(x, x)) < 1e-6
    assert frechet_distance(x + 1.0, x) == pytest.approx(5.0, rel=1e-6)


def test_quadrants_are_read_from_names() -> None:
    assert quadrants_of(["Q1_000", "Q4_abc_3"]).tolist() == [1, 4]
