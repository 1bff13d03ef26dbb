"""What fits what is played: the classes heard, soon, and none that only seem to be."""

import numpy as np
import pytest

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.music.fitting import BELONGS, EVERY_CLASS, GONE, N_TO_OPEN, OPEN_AFTER_S, Fitting


def chroma(*classes: int, others: float = 0.0) -> np.ndarray:
    shares = np.full(12, others, np.float32)
    shares[list(classes)] = 1.0
    return shares / shares.sum()


def set_of(*classes: int) -> int:
    return sum(1 << p for p in classes)


def hear(fitting: Fitting, seconds: float, shares: np.ndarray, presence: float = 1.0) -> None:
    for _ in range(round(seconds * EMOTION_RATE_HZ)):
        fitting.hear(shares, presence)


@pytest.mark.parametrize("root", range(12))
def test_a_chord_opens_at_once_with_its_classes(root: int) -> None:
    fitting, chord = Fitting(), [(root + step) % 12 for step in (0, 4, 7)]
    fitting.hear(chroma(*chord, others=0.9 * BELONGS), 1.0)
    assert fitting.is_open
    assert fitting.classes == fitting.remembered == set_of(*chord)


def test_a_single_note_waits_and_then_opens_all_the_same() -> None:
    fitting = Fitting()
    hear(fitting, OPEN_AFTER_S - 0.2, chroma(9))
    assert not fitting.is_open
    hear(fitting, 0.4, chroma(9))
    assert fitting.is_open and fitting.classes == set_of(9)


def test_a_melody_opens_with_its_third_class() -> None:
    fitting = Fitting()
    for pitch_class in (0, 2, 4):
        assert not fitting.is_open
        hear(fitting, 0.3, chroma(pitch_class))
    assert fitting.is_open and fitting.classes.bit_count() == N_TO_OPEN


def test_a_class_goes_when_it_is_no_longer_played_and_stays_remembered() -> None:
    fitting = Fitting()
    hear(fitting, 3.0, chroma(0, 4, 7))
    hear(fitting, 15.0, chroma(2, 7, 11))
    assert fitting.classes == set_of(2, 7, 11)
    assert fitting.remembered == set_of(0, 2, 4, 7, 11)


def test_a_class_between_the_two_bounds_neither_comes_nor_goes() -> None:
    share = (BELONGS + GONE) / 2.0
    between = chroma(0, 4, 7)
    between[2] = share * between[0]
    fitting = Fitting()
    hear(fitting, 5.0, between)
    assert fitting.classes == set_of(0, 4, 7)
    hear(fitting, 10.0, chroma(0, 2, 4, 7))
    hear(fitting, 30.0, between)
    assert fitting.classes == set_of(0, 2, 4, 7)


def test_without_pitches_nothing_is_foreign() -> None:
    for shares, presence in ((np.zeros(12, np.float32), 1.0), (chroma(0), 0.0)):
        fitting = Fitting()
        hear(fitting, 1.0, shares, presence)
        assert fitting.is_open and fitting.classes == EVERY_CLASS


def test_after_a_silence_nothing_is_left_of_the_other_player() -> None:
    fitting = Fitting()
    hear(fitting, 20.0, chroma(9, 1, 4))
    fitting.forget()
    assert not fitting.is_open
    fitting.hear(chroma(9, 0, 4), 0.4)
    assert fitting.classes == fitting.remembered == set_of(9, 0, 4)
