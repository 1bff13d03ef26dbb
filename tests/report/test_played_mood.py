"""What notes alone tell of a mood and of a harmony: of notes that were made, and of people's music."""

import os
from pathlib import Path

import numpy as np
import pytest

from firmware_py.report.course import Course
from firmware_py.report.parties import meet
from firmware_py.report.pitch_classes import best_keys, dissonance, key_name
from firmware_py.report.played_mood import played_mood
from models.emotion.symbolic import read_notes

EMOPIA = (
    Path(os.environ.get("KELLY_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    / "emopia"
    / "midis"
)
EVERY = 8


def mood_of(rows: np.ndarray) -> np.ndarray:
    """Mean valence and arousal of notes [n, 4]: onset, duration, pitch, velocity."""
    course = Course()
    for onset, duration, pitch, velocity in rows:
        course.notes.extend([onset, duration, pitch, velocity, 0])
    course.end_s = float((rows[:, 0] + rows[:, 1]).max())
    mood = played_mood(meet(course))
    mean: np.ndarray = np.nanmean(mood, 0)
    return mean


def tune(scale: tuple[int, ...], gap_s: float, velocity: float) -> np.ndarray:
    onsets = np.arange(0.0, 30.0, gap_s)
    steps = np.array(scale)[np.arange(len(onsets)) % len(scale)]
    return np.stack([onsets, np.full(len(onsets), gap_s), 60.0 + steps, np.full(len(onsets), velocity)], 1)


def test_major_is_pleasant_and_quick_and_loud_is_excited() -> None:
    major, minor = (0, 4, 7, 12, 5, 9, 11, 2), (0, 3, 7, 12, 5, 8, 11, 2)
    happy, sad = mood_of(tune(major, 0.15, 95.0)), mood_of(tune(minor, 0.9, 40.0))
    tense, calm = mood_of(tune(minor, 0.15, 95.0)), mood_of(tune(major, 0.9, 40.0))
    assert min(happy[0], calm[0]) > 0.2 > -0.1 > max(sad[0], tense[0])
    assert min(happy[1], tense[1]) > 0.3 > -0.3 > max(sad[1], calm[1])


@pytest.mark.slow
@pytest.mark.skipif(not EMOPIA.is_dir(), reason="EMOPIA's recordings are not here (set KELLY_DATA)")
def test_it_tells_most_of_peoples_moods() -> None:
    files = sorted(EMOPIA.glob("*.mid"))[::EVERY]
    moods = np.array([mood_of(read_notes(path)) for path in files])
    quadrants = np.array([int(path.name[1]) for path in files])
    assert np.mean((moods[:, 0] > 0.0) == np.isin(quadrants, (1, 4))) > 0.65
    assert np.mean((moods[:, 1] > 0.0) == np.isin(quadrants, (1, 2))) > 0.7


def test_keys_and_clashes() -> None:
    chroma = np.zeros((5, 12))
    chroma[0, [0, 2, 4, 5, 7, 9, 11]] = 3, 1, 2, 1, 3, 1, 1
    chroma[1, [9, 11, 0, 2, 4, 5, 8]] = 3, 1, 2, 1, 3, 1, 1
    chroma[2, [0, 7]] = chroma[3, [0, 1]] = 1
    clarity, keys = best_keys(chroma)
    assert [key_name(int(key)) for key in keys[:2]] == ["C major", "A minor"]
    assert clarity[0] > 0.8 and np.isnan(clarity[4]) and np.isnan(keys[4])
    clash = dissonance(chroma)
    assert clash[2] == pytest.approx(0.0) and clash[3] == pytest.approx(1.0)
    assert 0.0 < clash[0] < 0.6 and np.isnan(clash[4])
    # Transposed it is as dissonant and as clear.
    moved = np.roll(chroma, 5, axis=1)
    np.testing.assert_allclose(dissonance(moved), clash)
    np.testing.assert_allclose(best_keys(moved)[0], clarity)
