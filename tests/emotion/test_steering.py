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
    lead_of,
    new_session,
    steer,
    target_emotion,
)

SETTINGS = EmotionSettings()
unit = st.floats(-1.0, 1.0)


def run(
    programme: str,
    settings: EmotionSettings,
    seconds: float,
    v: float,
    a: float,
    trust: float,
    state: SteeringState | None = None,
) -> SteeringState:
    state = state or SteeringState()
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


ISO = replace(SETTINGS, iso_match_s=30.0, iso_rate_per_min=0.5, goal_valence=0.6, goal_arousal=0.2)


def test_a_programme_begins_when_it_is_chosen() -> None:
    mirrored = run("mirror", ISO, 300.0, -0.7, -0.5, 1.0)
    matched = run("iso", ISO, 29.0, -0.7, -0.5, 1.0, mirrored)
    assert matched.valence == pytest.approx(-0.7, abs=0.01)
    assert lead_of(matched, ISO, "iso") is None
    assert lead_of(run("iso", ISO, 2.0, -0.7, -0.5, 1.0, matched), ISO, "iso") is not None


def test_a_new_session_matches_again_from_the_middle() -> None:
    led = run("iso", ISO, 300.0, -0.7, -0.5, 1.0)
    assert (led.valence, led.arousal) == (0.6, 0.2)
    silent = run("iso", ISO, 5.0, 0.0, 0.0, 0.0, new_session(led))
    assert (silent.valence, silent.arousal) == (0.0, 0.0)
    second = run("iso", ISO, 29.0, 0.5, 0.8, 1.0, silent)
    assert (second.valence, second.arousal) == pytest.approx((0.5, 0.8), abs=0.01)


def test_after_hold_iso_goes_on_from_where_it_was() -> None:
    led = run("iso", ISO, 90.0, -0.7, -0.5, 1.0)
    held = run("hold", ISO, 120.0, 0.9, 0.9, 1.0, led)
    assert (held.valence, held.arousal) == (ISO.hold_valence, ISO.hold_arousal)
    back = run("iso", ISO, 4.0, 0.9, 0.9, 1.0, held)
    # As if nobody had held it: 4 s further.
    assert back.valence == pytest.approx(run("iso", ISO, 94.0, -0.7, -0.5, 1.0).valence, abs=1e-9)
    assert back.led == pytest.approx(0.5 / 60.0 * 64.0, abs=0.01)


def test_hold_within_matching_takes_nothing_from_the_time_of_matching() -> None:
    matching = run("iso", ISO, 20.0, -0.7, -0.5, 1.0)
    back = run("iso", ISO, 9.0, -0.7, -0.5, 1.0, run("hold", ISO, 60.0, -0.7, -0.5, 1.0, matching))
    assert lead_of(back, ISO, "iso") is None


def test_a_new_session_within_hold_begins_the_programme_after_it_anew() -> None:
    held = run("hold", ISO, 10.0, -0.7, -0.5, 1.0, run("iso", ISO, 90.0, -0.7, -0.5, 1.0))
    back = run("iso", ISO, 29.0, -0.7, -0.5, 1.0, new_session(held))
    assert lead_of(back, ISO, "iso") is None


@given(
    st.floats(0.05, 2.0),
    st.lists(
        st.tuples(
            st.sampled_from([*PROGRAMMES, "new session"]),
            st.floats(0.0, 40.0),
            st.floats(-1.0, 1.0),
            st.floats(-1.0, 1.0),
            st.floats(0.0, 1.0),
        ),
        max_size=8,
    ),
    unit,
    unit,
    unit,
    unit,
)
def test_whatever_is_tapped_the_target_moves_no_faster_than_its_rate(
    slew_per_s: float,
    taps: list[tuple[str, float, float, float, float]],
    goal_v: float,
    goal_a: float,
    hold_v: float,
    hold_a: float,
) -> None:
    settings = replace(
        ISO,
        iso_match_s=5.0,
        slew_per_s=slew_per_s,
        goal_valence=goal_v,
        goal_arousal=goal_a,
        hold_valence=hold_v,
        hold_arousal=hold_a,
    )
    state, programme = SteeringState(), "mirror"
    for what, seconds, v, a, trust in taps:
        if what == "new session":
            state = new_session(state)
        else:
            programme = what
        for _ in range(round(seconds * EMOTION_RATE_HZ / 8.0)):
            before, state = state, steer(state, settings, programme, v, a, trust)
            step = max(abs(state.valence - before.valence), abs(state.arousal - before.arousal))
            assert step <= slew_per_s / EMOTION_RATE_HZ + 1e-9
            assert -1.0 <= state.valence <= 1.0
            assert -1.0 <= state.arousal <= 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_moves_nothing(bad: float) -> None:
    before = run("mirror", SETTINGS, 10.0, 0.5, 0.5, 1.0)
    for values in ((bad, 0.0, 1.0), (0.0, bad, 1.0), (0.0, 0.0, bad)):
        assert steer(before, SETTINGS, "mirror", *values) == before


@given(unit, unit, unit, unit)
def test_knobs_add_and_the_sum_stays_on_the_plane(v: float, a: float, knob_v: float, knob_a: float) -> None:
    valence, arousal = target_emotion(SteeringState(v, a), knob_v, knob_a)
    assert valence == max(-1.0, min(1.0, v + knob_v))
    assert arousal == max(-1.0, min(1.0, a + knob_a))
