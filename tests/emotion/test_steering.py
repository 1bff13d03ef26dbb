"""Steering: mirror follows, iso matches then leads at a bounded rate, hold stays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.config import EmotionSettings
from kelly_edge.contract import EMOTION_RATE_HZ, PROGRAMMES
from kelly_edge.emotion.steering import (
    PROGRAMME_STEPS,
    SteeringState,
    steer,
    target_emotion,
)

SETTINGS = EmotionSettings()
unit = st.floats(-1.0, 1.0)


def run(
    programme: str, settings: EmotionSettings, seconds: float, v: float, a: float, trust: float
) -> SteeringState:
    state = SteeringState()
    for _ in range(round(seconds * EMOTION_RATE_HZ)):
        state = steer(state, settings, programme, v, a, trust)
    return state


def test_every_programme_has_its_step() -> None:
    assert set(PROGRAMME_STEPS) == set(PROGRAMMES)


def test_mirror_arrives_at_what_is_heard() -> None:
    state = run("mirror", SETTINGS, 20.0, -0.8, 0.4, 1.0)
    assert state.valence == pytest.approx(-0.8, abs=0.01)
    assert state.arousal == pytest.approx(0.4, abs=0.01)


def test_mirror_does_not_move_on_what_it_does_not_trust() -> None:
    assert run("mirror", SETTINGS, 20.0, -0.8, 0.4, 0.0).valence == 0.0


def test_iso_matches_first_and_then_leads_to_the_goal() -> None:
    settings = replace(SETTINGS, iso_match_s=30.0, iso_rate_per_min=0.5, goal_valence=0.6, goal_arousal=0.2)
    matched = run("iso", settings, 29.0, -0.7, -0.5, 1.0)
    assert matched.valence == pytest.approx(-0.7, abs=0.01)
    led = run("iso", settings, 30.0 + 180.0, -0.7, -0.5, 1.0)
    assert (led.valence, led.arousal) == pytest.approx((0.6, 0.2), abs=0.01)


def test_iso_leads_no_faster_than_its_rate() -> None:
    settings = replace(SETTINGS, iso_match_s=0.0, iso_rate_per_min=0.5, goal_valence=1.0)
    minute = run("iso", settings, 60.0, -1.0, -1.0, 1.0)
    assert minute.valence == pytest.approx(0.5, abs=0.01)


def test_silence_does_not_use_up_the_time_of_matching() -> None:
    settings = replace(SETTINGS, iso_match_s=10.0)
    assert run("iso", settings, 60.0, 0.5, 0.5, 0.0).valence == 0.0


def test_hold_stays_where_it_was_set() -> None:
    settings = replace(SETTINGS, hold_valence=0.3, hold_arousal=-0.2)
    state = run("hold", settings, 5.0, -1.0, 1.0, 1.0)
    assert (state.valence, state.arousal) == (0.3, -0.2)


@given(unit, unit, unit, unit)
def test_knobs_add_and_the_sum_stays_on_the_plane(v: float, a: float, knob_v: float, knob_a: float) -> None:
    valence, arousal = target_emotion(SteeringState(v, a), knob_v, knob_a)
    assert valence == max(-1.0, min(1.0, v + knob_v))
    assert arousal == max(-1.0, min(1.0, a + knob_a))
