"""What is no music is not followed; music is, soon."""

import numpy as np
import pytest

from kelly_edge.contract import EMOTION_RATE_HZ, N_EMOTION
from kelly_edge.emotion.music_gate import MusicGate
from kelly_edge.emotion.vector import slice_of


def said(log_odds: float) -> np.ndarray:
    emotion = np.zeros(N_EMOTION, np.float32)
    emotion[slice_of("music")] = log_odds
    return emotion


def after(gate: MusicGate, log_odds: float, presence: float, seconds: float) -> float:
    result = 0.0
    for _ in range(round(seconds * EMOTION_RATE_HZ)):
        result = gate.update(said(log_odds), presence)
    return result


def test_music_opens_within_a_second_and_speech_never() -> None:
    assert after(MusicGate(), 3.0, 1.0, 1.0) == 1.0
    gate = MusicGate()
    assert max(after(gate, -3.0, 1.0, 0.5) for _ in range(20)) <= 0.5
    assert after(gate, -3.0, 1.0, 10.0) == 0.0


def test_a_network_that_does_not_know_leaves_the_presence() -> None:
    assert after(MusicGate(), 0.0, 0.7, 20.0) == pytest.approx(0.7, abs=0.01)


def test_an_odd_second_within_music_is_forgiven() -> None:
    gate = MusicGate()
    after(gate, 4.0, 1.0, 10.0)
    assert after(gate, -4.0, 1.0, 0.8) == 1.0
    assert after(gate, -4.0, 1.0, 5.0) == 0.0


def test_who_speaks_after_a_long_silence_is_doubted_again() -> None:
    gate = MusicGate()
    after(gate, 4.0, 1.0, 10.0)
    after(gate, 4.0, 0.0, 120.0)
    assert after(gate, -4.0, 1.0, 1.0) < 0.2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_any_float_gives_a_presence(value: float) -> None:
    gate = MusicGate()
    for presence in (value, 1.0):
        assert 0.0 <= gate.update(said(value), presence) <= 1.0
    assert np.isfinite(gate.log_odds)
