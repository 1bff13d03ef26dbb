"""The set of runs that music must not repeat: none is missed, transposed or not, and few others are taken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.music.known_runs import N_INTERVALS, KnownRuns, interval_hashes

CANDIDATES = np.arange(21, 109)


def melody(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 80, n)


def known_of(pitches: np.ndarray, n_bytes: int = 1 << 12) -> KnownRuns:
    return KnownRuns.of(interval_hashes(pitches), n_bytes)


@given(st.integers(0, 1_000), st.integers(-12, 12))
def test_every_run_is_known_wherever_it_is_moved(seed: int, shift: int) -> None:
    pitches = melody(60, seed)
    assert known_of(pitches).has(interval_hashes(pitches + shift)).all()


def test_few_other_runs_are_taken_for_one() -> None:
    known = KnownRuns.of(interval_hashes(melody(10_016, 1)), 1 << 15)  # 26 bits per run
    assert known.has(interval_hashes(melody(10_016, 2))).mean() < 0.005


def test_the_note_that_completes_a_run_is_told() -> None:
    pitches = melody(N_INTERVALS + 1, 3)
    known = known_of(pitches)
    completed = known.completed_by((pitches[:-1] + 5).tolist(), CANDIDATES)
    assert CANDIDATES[completed].tolist() == [pitches[-1] + 5]
    longer = np.append(melody(9, 4), pitches)
    assert known.completed_by(longer[:-1].tolist(), CANDIDATES)[pitches[-1] - 21]


def test_a_run_begun_is_not_a_run() -> None:
    pitches = melody(N_INTERVALS + 1, 5)
    known = known_of(pitches)
    assert not known.completed_by(pitches[1:-1].tolist(), CANDIDATES).any()
    assert len(interval_hashes(pitches[:-1])) == 0


def test_an_empty_set_knows_nothing() -> None:
    assert not KnownRuns(np.zeros(1, np.uint8)).has(interval_hashes(melody(100, 6))).any()


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 2)])
def test_a_set_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="power of two"):
        KnownRuns(np.zeros(shape, np.uint8))
