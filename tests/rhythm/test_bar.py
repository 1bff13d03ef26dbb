"""The filter over the beats of the bar, and the vectors it is fed with."""

import numpy as np
import pytest

from kelly_edge.rhythm.bar import FIRST, METRES, N_CELLS, bar_weights, moved, next_beat
from kelly_edge.rhythm.bar_evidence import HARMONY_DELAY, beat_vectors, begin_beat, complete, take_frame


@pytest.mark.parametrize(("first", "n_beats"), list(zip(FIRST, METRES, strict=True)))
def test_a_cell_returns_after_its_own_number_of_beats(first: int, n_beats: int) -> None:
    cells = [moved(first, k) for k in range(n_beats)]
    assert cells == list(range(first, first + n_beats))
    assert moved(first, n_beats) == first
    assert moved(first, -1) == first + n_beats - 1


@pytest.mark.parametrize(("first", "n_beats"), list(zip(FIRST, METRES, strict=True)))
def test_a_belief_comes_round_with_its_bar_and_is_never_certain(first: int, n_beats: int) -> None:
    weights, scratch = bar_weights(), np.zeros(N_CELLS, np.float32)
    weights[first] += 8.0
    for k in range(2 * n_beats):
        assert int(np.argmax(weights)) == first + k % n_beats
        next_beat(weights, scratch)
    assert np.exp(weights).sum() == pytest.approx(1.0, abs=1e-3)
    assert np.exp(weights).min() > 1e-6


def test_a_beat_s_vector_is_complete_once_its_harmony_was_heard() -> None:
    vectors, period, done = beat_vectors(), 40, []
    for frame in range(4 * period):
        if frame % period == 0 and frame:
            begin_beat(float(period), vectors)
        rises = np.full(4, 1.0 if frame % (2 * period) == 0 else 0.1, np.float32)
        take_frame(rises, frame % period / period, float(period), vectors)
        if complete(vectors):
            done.append(frame)
    assert len(done) == 3
    assert all(frame % period == HARMONY_DELAY - 1 for frame in done)
    strong, weak = vectors.ring[-1, 24], vectors.ring[-2, 24]
    assert (strong, weak) == (1.0, pytest.approx(0.1))


def test_a_beat_that_comes_too_soon_after_another_is_none() -> None:
    vectors, period = beat_vectors(), 40.0
    for frame in range(20):
        take_frame(np.ones(4, np.float32), frame / period, period, vectors)
    begin_beat(period, vectors)
    begin_beat(period, vectors)
    assert vectors.begun[0] == 1.0
