"""Steering: mirror follows, iso matches then leads at a bounded rate, hold stays; files may say others."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.config import EmotionSettings
from kelly_edge.contract import EMOTION_RATE_HZ, PROGRAMMES
from kelly_edge.emotion.leading import Leading, Wish, lead, mode_to_play, tempo_to_play
from kelly_edge.emotion.programme import Phase, Programme, built_in
from kelly_edge.emotion.steering import (
    Lead,
    SteeringState,
    left_s,
    new_session,
    steer,
    target_emotion,
)
from kelly_edge.emotion.steering import lead_of as lead_of_programme

SETTINGS = EmotionSettings()
unit = st.floats(-1.0, 1.0)


def of(programme: str, settings: EmotionSettings) -> Programme:
    return built_in(settings)[PROGRAMMES.index(programme)]


def lead_of(state: SteeringState, settings: EmotionSettings, programme: str) -> Lead | None:
    return lead_of_programme(state, of(programme, settings))


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
        state = steer(state, of(programme, settings), settings.slew_per_s, v, a, trust)
    return state


def test_every_built_in_programme_has_its_number() -> None:
    assert [programme.name for programme in built_in(SETTINGS)] == list(PROGRAMMES)


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
            before, state = state, steer(state, of(programme, settings), slew_per_s, v, a, trust)
            step = max(abs(state.valence - before.valence), abs(state.arousal - before.arousal))
            assert step <= slew_per_s / EMOTION_RATE_HZ + 1e-9
            assert -1.0 <= state.valence <= 1.0
            assert -1.0 <= state.arousal <= 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_a_number_moves_nothing(bad: float) -> None:
    before = run("mirror", SETTINGS, 10.0, 0.5, 0.5, 1.0)
    for values in ((bad, 0.0, 1.0), (0.0, bad, 1.0), (0.0, 0.0, bad)):
        after = steer(before, of("mirror", SETTINGS), SETTINGS.slew_per_s, *values)
        assert after == before


@given(unit, unit, unit, unit)
def test_knobs_add_and_the_sum_stays_on_the_plane(v: float, a: float, knob_v: float, knob_a: float) -> None:
    valence, arousal = target_emotion(SteeringState(v, a), knob_v, knob_a)
    assert valence == max(-1.0, min(1.0, v + knob_v))
    assert arousal == max(-1.0, min(1.0, a + knob_a))


# --- programmes of files ------------------------------------------------------------------------
GROUP_S = 1.0 / EMOTION_RATE_HZ


def going(
    programme: Programme, seconds: float, v: float, a: float, state: SteeringState | None = None
) -> SteeringState:
    state = state or SteeringState()
    for _ in range(round(seconds * EMOTION_RATE_HZ)):
        state = steer(state, programme, 0.5, v, a, 1.0)
    return state


def planned(*some: Phase, name: str = "planned") -> Programme:
    return Programme(name, "w", "s", some)


def led_in(seconds: float, valence: float, arousal: float) -> Phase:
    return Phase("lead", valence, arousal, duration_s=seconds)


CALM = Programme(
    "calm", "w", "s", (Phase("match", duration_s=20.0), led_in(600.0, 0.5, 0.1), Phase("hold", 0.5, 0.1))
)


def test_a_lead_in_a_time_arrives_then_and_goes_straight_from_where_she_was() -> None:
    matched = going(CALM, 20.1, -0.6, -0.4)
    assert (matched.phase, matched.valence, matched.arousal) == (
        1,
        pytest.approx(-0.6, abs=0.01),
        pytest.approx(-0.4, abs=0.01),
    )
    state = matched
    for tenth in range(1, 10):
        # Whatever is heard meanwhile.
        state = going(CALM, 60.0, 0.9, 0.9, state=state)
        assert state.valence == pytest.approx(-0.6 + 1.1 * tenth / 10, abs=0.01)
        assert state.arousal == pytest.approx(-0.4 + 0.5 * tenth / 10, abs=0.01)
    assert going(CALM, 59.0, 0.9, 0.9, state=state).phase == 1
    arrived = going(CALM, 61.0, 0.9, 0.9, state=state)
    assert (arrived.phase, arrived.valence, arrived.arousal) == (2, 0.5, 0.1)


def test_she_who_is_there_already_is_led_nowhere() -> None:
    state = going(CALM, 320.0, 0.5, 0.1)
    assert (state.phase, state.valence, state.arousal) == (1, pytest.approx(0.5), pytest.approx(0.1))


def test_time_left_is_told_of_the_phase_and_of_the_whole() -> None:
    plan = Programme(
        "p",
        "w",
        "s",
        (Phase("match", duration_s=30.0), led_in(100.0, 1.0, 0.0), Phase("rest", duration_s=9.0)),
    )
    assert left_s(going(plan, 10.0, 0.0, 0.0), plan) == (
        pytest.approx(20.0, abs=0.1),
        pytest.approx(129.0, abs=0.1),
    )
    assert left_s(going(CALM, 1.0, 0.0, 0.0), CALM)[1] == math.inf
    rated = Programme(
        "r", "w", "s", (Phase("lead", 1.0, 0.0, rate_per_min=0.5), Phase("hold", 1.0, 0.0, duration_s=5.0))
    )
    assert left_s(going(rated, 60.0, 0.0, 0.0), rated)[1] == pytest.approx(65.0, abs=0.2)


def test_before_a_session_the_mood_is_followed_and_no_time_counts() -> None:
    state = SteeringState()
    for _ in range(round(100.0 * EMOTION_RATE_HZ)):
        state = steer(state, CALM, 0.5, -0.6, -0.4, 1.0, is_on=False)
    assert (state.phase, state.phase_s, state.valence) == (0, 0.0, pytest.approx(-0.6, abs=0.01))


def test_hold_interrupts_a_programme_within_its_phase() -> None:
    state = going(CALM, 200.0, -0.6, -0.4)
    held = run("hold", SETTINGS, 60.0, 0.0, 0.0, 1.0, state)
    assert (held.phase, held.phase_s) == (state.phase, state.phase_s)
    assert going(CALM, 10.0, 0.0, 0.0, state=held).valence == pytest.approx(
        going(CALM, 10.0, 0.0, 0.0, state=state).valence, abs=1e-6
    )


def test_a_programme_whose_file_has_become_shorter_begins_anew() -> None:
    state = going(CALM, 700.0, -0.6, -0.4)
    assert going(Programme("calm", "w", "s", CALM.phases[:1]), 0.1, 0.0, 0.0, state=state).phase == 0


TWO_LEADS = Programme(
    "two",
    "w",
    "s",
    (
        Phase("match", duration_s=5.0),
        led_in(60.0, 0.5, 0.8),
        led_in(60.0, -0.5, -0.8),
        Phase("lead", 0.4, 0.0, rate_per_min=1.0),
    ),
)


def test_mode_and_tempo_go_on_from_phase_to_phase() -> None:
    state, leading, tempi, modes = SteeringState(), Leading(), [], []
    for _ in range(round(300.0 * EMOTION_RATE_HZ)):
        state = steer(state, TWO_LEADS, 0.5, -0.6, -0.6, 1.0)
        wish = Wish(state.valence, state.arousal, 0.0, 0.0, lead_of_programme(state, TWO_LEADS))
        leading = lead(leading, 0, 80.0, wish)
        tempi.append(tempo_to_play(leading, wish))
        modes.append(mode_to_play(leading, wish))
    # 96 bpm * 1.5 ** 1.6 in a minute is the fastest that is led anywhere here.
    assert max(abs(b - a) for a, b in itertools.pairwise(tempi)) < 0.2
    assert max(tempi) == pytest.approx(96.0 * 1.5**0.8, rel=0.01)
    assert tempi[-1] == pytest.approx(96.0, rel=0.01)
    changes = [i for i in range(1, len(modes)) if modes[i] != modes[i - 1]]
    assert [modes[i] for i in changes] == [1, 0, 1]


targets = st.tuples(unit, unit)
phases = st.one_of(
    st.builds(lambda s: Phase("match", duration_s=s), st.floats(1.0, 20.0)),
    st.builds(lambda s: Phase("rest", duration_s=s), st.floats(1.0, 20.0)),
    st.builds(lambda s, t: Phase("hold", *t, duration_s=s), st.floats(1.0, 20.0), targets),
    st.builds(lambda s, t: Phase("lead", *t, duration_s=s), st.floats(1.0, 20.0), targets),
    st.builds(lambda r, t: Phase("lead", *t, rate_per_min=r), st.floats(0.01, 2.0), targets),
)
programmes = st.builds(
    lambda name, some: Programme(name, "w", "s", tuple(some)),
    st.sampled_from(["one", "two"]),
    st.lists(phases, min_size=1, max_size=5),
)


@given(
    programmes,
    programmes,
    st.floats(0.05, 2.0),
    st.lists(
        st.tuples(
            st.sampled_from(["one", "two", "hold", "session", "off"]),
            st.floats(0.0, 5.0),
            unit,
            unit,
            st.floats(0.0, 1.0),
        ),
        max_size=8,
    ),
)
def test_of_any_programmes_the_target_never_moves_faster_than_what_leads_it(
    one: Programme,
    two: Programme,
    slew: float,
    taps: list[tuple[str, float, float, float, float]],
) -> None:
    chosen = {"one": replace(one, name="one"), "two": replace(two, name="two"), "hold": of("hold", SETTINGS)}
    state, programme, is_on = SteeringState(), chosen["one"], True
    for what, seconds, v, a, trust in taps:
        state = new_session(state) if what == "session" else state
        is_on = what != "off"
        programme = chosen.get(what, programme)
        for _ in range(round(seconds * EMOTION_RATE_HZ)):
            before, state = state, steer(state, programme, slew, v, a, trust, is_on)
            moved = (abs(state.valence - before.valence), abs(state.arousal - before.arousal))
            assert max(moved) <= slew * GROUP_S + 1e-9
            assert all(
                -1.0 <= x <= 1.0 for x in (state.valence, state.arousal, state.own_valence, state.own_arousal)
            )
            goes_on = before.n_begun == state.n_begun and before.programme == programme.name and is_on
            phase = programme.phases[before.phase] if goes_on else Phase("match")
            if phase.mode == "lead" and not programme.interrupts:
                own = (
                    abs(state.own_valence - before.own_valence),
                    abs(state.own_arousal - before.own_arousal),
                )
                allowed = (
                    (phase.rate_per_min / 60.0,) * 2
                    if phase.rate_per_min
                    else (
                        abs(phase.valence - before.from_valence) / phase.duration_s,
                        abs(phase.arousal - before.from_arousal) / phase.duration_s,
                    )
                )
                assert all(x <= most * GROUP_S + 1e-9 for x, most in zip(own, allowed, strict=True))
