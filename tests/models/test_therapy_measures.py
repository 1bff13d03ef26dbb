"""models.therapy: the measures find music that moves with its programme, and none in music that does not."""

import numpy as np
import pytest

from firmware_py.board.map import TARGET_DTYPE
from kelly_edge.contract import EMOTION_RATE_HZ, NOTE_DTYPE

pytest.importorskip("scipy", reason="scipy is not installed; pip install -e '.[test]'")

from models.therapy import (
    HELD_S,
    LAMENT,
    WINDOW_S,
    by_notes,
    events_of,
    fastest_per_min,
    moves_with,
    played,
    windows,
)

START, GOAL = np.array([-0.6, -0.4]), np.array([0.5, 0.1])


def on_the_way(n: int, noise: float, seed: int = 0) -> np.ndarray:
    shares = np.linspace(0.0, 1.0, n)[:, None]
    return START + shares * (GOAL - START) + np.random.default_rng(seed).normal(0.0, noise, (n, 2))


def test_music_that_goes_straight_on_moves_with_its_programme_and_noise_does_not() -> None:
    assert moves_with(on_the_way(30, 0.0), START, GOAL) == {"valence": 1.0, "arousal": 1.0, "way": 1.0}
    back = on_the_way(30, 0.0)[::-1]
    assert moves_with(back, START, GOAL)["way"] == -1.0
    noise = [on_the_way(30, 5.0, seed) for seed in range(20)]
    assert max(moves_with(played, START, GOAL)["way"] for played in noise) < 0.8


def test_windows_begin_when_it_leads() -> None:
    seconds = HELD_S + 10 * WINDOW_S
    values = np.repeat(np.r_[np.full(int(HELD_S), 9.0), np.arange(200) // WINDOW_S][:, None], 2, 1)
    assert windows(values, seconds, 1.0)[:, 0].tolist() == list(range(10))


def test_the_fastest_change_is_told_per_minute() -> None:
    n = round((HELD_S + 120.0) * EMOTION_RATE_HZ)
    targets = np.zeros(n, TARGET_DTYPE)
    targets["valence"] = np.maximum(0.0, np.arange(n) / EMOTION_RATE_HZ - HELD_S) * 0.11 / 60.0
    assert fastest_per_min(targets) == pytest.approx(0.11, abs=2e-3)


def test_quick_loud_major_is_told_above_slow_soft_minor() -> None:
    def piece(classes: tuple[int, ...], every_s: float, velocity: int) -> np.ndarray:
        notes = np.zeros(int(60.0 / every_s), NOTE_DTYPE)
        notes["onset_s"] = np.arange(len(notes)) * every_s
        notes["duration_s"], notes["velocity"] = every_s, velocity
        notes["pitch"] = [60 + classes[i % len(classes)] for i in range(len(notes))]
        return notes

    happy = by_notes(piece((0, 4, 7, 12), 0.15, 100), 60.0)
    sad = by_notes(piece((0, 3, 7, 8), 0.8, 45), 60.0)
    assert happy.shape == (60, 2)
    assert (np.nanmean(happy, 0) > np.nanmean(sad, 0) + 0.3).all()


def test_the_lament_lasts_as_long_as_asked_and_every_note_ends() -> None:
    events = played(LAMENT, 30.0)
    assert 30.0 <= max(time_s for time_s, _, _ in events) < 30.0 + 2 * 4 * 60.0 / LAMENT.bpm
    assert sum(velocity > 0 for _, _, velocity in events) == sum(velocity == 0 for _, _, velocity in events)
    note = np.zeros(1, NOTE_DTYPE)
    note["onset_s"], note["duration_s"], note["pitch"], note["velocity"] = 1.0, 0.5, 60, 80
    assert events_of(note) == [(1.0, 60, 80), (1.5, 60, 0)]
