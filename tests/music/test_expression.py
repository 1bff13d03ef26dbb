"""Weights that hold loudness and register to people's."""

import numpy as np
import pytest

from kelly_edge.emotion.leading import TURNS_FROM
from kelly_edge.music import expression
from kelly_edge.music.compound_word import MAJOR, MINOR, GridNote, chord_token
from kelly_edge.music.expression import HARMONY, HIGHER, TURNING, higher, louder
from kelly_edge.music.target import Target


def lean(valence: float, arousal: float, heard: int, shift: int = 0, deviation: float = 0.0) -> float:
    """Nats in favour of an octave higher after a bar of one pitch (as played)."""
    recent = [[GridNote(0, heard - shift, 4, 64)]]
    weights = higher(recent, shift, Target(valence, arousal), deviation)
    return float(weights[25] - weights[13])


def test_the_register_is_led_towards_the_one_wanted_from_wherever_it_is() -> None:
    for wanted, deviation in ((62.0, 0.0), (65.0, 1.0), (59.0, -1.0)):
        for heard in (30, 50, 62, 90):
            expected = HIGHER * (wanted - heard)
            assert lean(0.0, 0.0, heard, 0, deviation) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("shift", [-5, 0, 6])
def test_sad_calm_music_is_led_higher_than_happy_calm_and_tense_lower_than_joyful(shift: int) -> None:
    for far in (0.1, 0.3, 1.0):
        apart = HIGHER * 2.0 * expression.PITCH_SLOPE * far * far
        assert lean(-far, -far, 60, shift) - lean(far, -far, 60, shift) == pytest.approx(apart, abs=1e-3)
        assert lean(far, far, 60, shift) - lean(-far, far, 60, shift) == pytest.approx(apart, abs=1e-3)


def test_without_music_heard_nothing_leans() -> None:
    assert not higher((), 0, Target(1.0, 1.0), 1.0).any()
    assert not louder((), Target(1.0, 1.0), 1.0).any()


@pytest.mark.parametrize("mode", [MINOR, MAJOR])
def test_chords_lean_to_major_by_the_valence_and_to_the_mode_at_hand(mode: int) -> None:
    def lean(valence: float, turning: float) -> float:
        """Nats in favour of the submediant's major triad over its minor one, which no tonic is."""
        weights = expression.harmony(Target(valence, 0.0, mode=mode, turning=turning), mode)
        return float(weights[chord_token(9, "maj")] - weights[chord_token(9, "min")])

    assert lean(0.0, 0.0) == 0.0
    assert lean(0.4, 0.0) == pytest.approx(2.0 * 0.4 * HARMONY)
    assert lean(-0.2, 0.5) == pytest.approx(2.0 * (0.5 * TURNING - 0.2 * HARMONY))
    # On the way to the change every step leans further, from either side.
    up = [lean(v, 1.0 + v / TURNS_FROM) for v in (-0.4, -0.3, -0.2, -0.1, 0.0)]
    down = [lean(v, v / TURNS_FROM - 1.0) for v in (0.4, 0.3, 0.2, 0.1, 0.0)]
    assert up == sorted(up) and up[0] < -1.0 and up[-1] > 2.0
    assert down == pytest.approx([-nats for nats in up])


def test_soft_music_is_led_louder_until_it_is_as_loud_as_asked() -> None:
    for arousal in (-1.0, 0.0, 1.0):
        asked = expression.MEAN_VELOCITY + expression.VELOCITY_SLOPE * arousal
        for velocity in (20, 66, 120):
            weights = louder([[GridNote(0, 60, 4, velocity)]], Target(0.0, arousal), 0.0)
            assert np.sign(weights[-1] - weights[0]) == np.sign(asked - velocity)
