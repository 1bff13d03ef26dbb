"""A key or tempo is adopted when it stays, not when it flickers."""

import pytest

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.music.following import KEY_STAYS_S, TEMPO_STAYS_S, Following, fold_tempo, follow


def test_a_key_is_adopted_after_it_has_stayed() -> None:
    state = Following()
    n_steps = round(KEY_STAYS_S * EMOTION_RATE_HZ) + 1
    for _ in range(n_steps):
        assert state.tonic == -1
        state = follow(state, 9, 0, 0.0)
    state = follow(state, 9, 0, 0.0)
    assert (state.tonic, state.mode) == (9, 0)


def test_a_flickering_key_is_never_adopted() -> None:
    state = Following()
    for step in range(500):
        state = follow(state, step % 12, 1, 0.0)
    assert state.tonic == -1


def test_a_steady_tempo_is_adopted() -> None:
    state = Following()
    for step in range(round(TEMPO_STAYS_S * EMOTION_RATE_HZ) + 2):
        state = follow(state, -1, -1, 100.0 + step % 2)
    assert state.tempo_bpm == pytest.approx(100.5, abs=0.6)


def test_tempo_folds_into_the_comfortable_octave() -> None:
    assert fold_tempo(200.0, 40.0, 160.0) == 100.0
    assert fold_tempo(30.0, 40.0, 160.0) == 60.0
    assert fold_tempo(0.0, 40.0, 160.0) == 0.0
