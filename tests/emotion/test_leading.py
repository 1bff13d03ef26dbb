"""Mode and tempo: heard where the box follows, the goal's where it leads, a hand's where one asks."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.emotion.leading import (
    ASKS,
    Leading,
    Wish,
    arousal_at,
    lead,
    mode_to_play,
    tempo_at,
    tempo_to_play,
    turning,
)
from kelly_edge.emotion.steering import Lead

MAJOR, MINOR, FREE = 1, 0, -1
unit = st.floats(-1.0, 1.0)
modes = st.sampled_from([MAJOR, MINOR])


def following(valence: float = 0.0, arousal: float = 0.0, knob_v: float = 0.0, knob_a: float = 0.0) -> Wish:
    return Wish(valence, arousal, knob_v, knob_a, None)


def leading(valence: float, lead: Lead, arousal: float = 0.0) -> Wish:
    return Wish(valence, arousal, 0.0, 0.0, lead)


def mode_of(heard: int, wish: Wish, before: Leading | None = None) -> int:
    return mode_to_play(lead(before or Leading(), heard, 0.0, wish), wish)


@given(modes, unit, unit, st.floats(-0.14, 0.14), st.floats(-0.14, 0.14))
def test_whoever_follows_keeps_the_mode_and_tempo_heard(
    heard: int, v: float, a: float, knob_v: float, knob_a: float
) -> None:
    wish = following(v, a, knob_v, knob_a)
    state = lead(Leading(), heard, 104.0, wish)
    assert mode_to_play(state, wish) == heard
    assert tempo_to_play(state, wish) == 104.0


@pytest.mark.parametrize(
    ("heard", "valence", "knob", "mode"),
    [
        (MINOR, -1.0, 1.0, MAJOR),
        (MINOR, -0.6, 1.0, MAJOR),
        (MINOR, -0.6, 0.6, MAJOR),
        (MINOR, -0.9, 0.5, MINOR),  # Still sad: less so is not glad.
        (MINOR, -0.6, 0.0, MINOR),
        (MAJOR, 1.0, -1.0, MINOR),
        (MAJOR, 0.9, -0.5, MAJOR),
        (MAJOR, -0.9, 0.5, MAJOR),  # Up never turns major into minor,
        (MINOR, 0.9, -0.5, MINOR),  # and down never minor into major.
        (FREE, -0.6, 1.0, MAJOR),
        (FREE, -0.6, 0.0, FREE),
    ],
)
def test_a_hand_on_the_valence_knob(heard: int, valence: float, knob: float, mode: int) -> None:
    assert mode_of(heard, following(valence, knob_v=knob)) == mode


@given(
    modes, unit, st.sampled_from([-1.0, 1.0]), st.sampled_from([None, Lead(0.6, 0.2, 0.3), Lead(-0.6, 0, 2)])
)
def test_a_knob_at_its_end_always_has_its_mode(heard: int, v: float, knob: float, to: Lead | None) -> None:
    assert mode_of(heard, Wish(v, 0.0, knob, 0.0, to)) == (MAJOR if knob > 0.0 else MINOR)


@given(modes, unit, unit, unit)
def test_more_of_the_valence_knob_never_turns_the_mode_back(heard: int, v: float, a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert mode_of(heard, following(v, knob_v=low)) <= mode_of(heard, following(v, knob_v=high))


def test_the_mode_a_hand_asked_for_does_not_flap_at_the_border() -> None:
    state, modes = Leading(), []
    for n in range(200):
        wish = following(-0.75 + 0.05 * math.sin(n), knob_v=0.5)
        state = lead(state, MINOR, 0.0, wish)
        modes.append(mode_to_play(state, wish))
    assert len(set(modes)) == 1
    # Nor where the knob itself trembles about the place from which it asks.
    for n in range(200):
        wish = following(0.2, knob_v=ASKS + 0.04 * math.sin(n))
        state = lead(state, MINOR, 0.0, wish)
        modes.append(mode_to_play(state, wish))
    assert sum(a != b for a, b in itertools.pairwise(modes)) <= 1


@given(modes, unit, unit)
def test_on_the_way_to_the_goal_the_mode_changes_once_at_most_and_ends_as_the_goals(
    heard: int, start: float, goal: float
) -> None:
    state = lead(Leading(), heard, 0.0, following(start))
    played = [heard]
    for n in range(51):
        wish = leading(start + (goal - start) * n / 50.0 if n < 50 else goal, Lead(goal, 0.0, 0.1 * n))
        state = lead(state, heard, 0.0, wish)
        played.append(mode_to_play(state, wish))
    assert sum(a != b for a, b in itertools.pairwise(played)) <= 1
    if goal != 0.0:
        assert played[-1] == (MAJOR if goal > 0.0 else MINOR)


def turned(heard: int, valence: float, to: Lead | None, knob: float = 0.0) -> float:
    wish = Wish(valence, 0.0, knob, 0.0, to)
    return turning(lead(lead_from(heard), heard, 0.0, wish), wish)


def lead_from(heard: int) -> Leading:
    return lead(Leading(), heard, 0.0, following())


@pytest.mark.parametrize(
    ("heard", "valence", "goal", "expected"),
    [
        (MINOR, -0.6, 0.5, 0.0),  # Still far from the change.
        (MINOR, -0.4, 0.5, 0.0),
        (MINOR, -0.3, 0.5, 0.25),
        (MINOR, -0.1, 0.5, 0.75),
        (MINOR, 0.0, 0.5, 1.0),
        (MINOR, 0.1, 0.5, 0.0),  # The mode has changed.
        (MAJOR, -0.1, 0.5, 0.0),  # It is the goal's already.
        (MINOR, -0.1, -0.5, 0.0),
        (FREE, -0.1, 0.5, 0.0),
        (MAJOR, 0.3, -0.5, -0.25),
        (MAJOR, 0.1, -0.5, -0.75),
        (MAJOR, -0.1, -0.5, 0.0),
        (MAJOR, 0.1, 0.0, 0.0),
    ],
)
def test_music_turns_by_degrees_to_the_mode_that_it_is_led_to(
    heard: int, valence: float, goal: float, expected: float
) -> None:
    assert turned(heard, valence, Lead(goal, 0.0, share=0.5)) == pytest.approx(expected)


def test_music_that_follows_or_that_a_hand_turns_does_not_turn_by_degrees() -> None:
    assert turned(MINOR, -0.1, None) == 0.0
    assert turned(MINOR, -0.1, Lead(0.5, 0.0), knob=1.0) == 0.0
    assert turned(MINOR, -0.1, Lead(0.5, 0.0), knob=-1.0) == 0.0


def test_whoever_leads_is_not_led_by_what_is_heard_meanwhile() -> None:
    state = lead(Leading(), MINOR, 120.0, following(-0.6, -0.5))
    for n in range(100):
        wish = leading(-0.5, Lead(0.6, -0.2, 0.0), -0.5)
        state = lead(state, MAJOR if n % 2 else MINOR, 60.0 + n, wish)
        assert mode_to_play(state, wish) == MINOR
        assert tempo_to_play(state, wish) == pytest.approx(120.0)


@given(st.floats(40.0, 160.0), unit, st.floats(0.0, 4.0), st.floats(0.0, 4.0))
def test_the_tempo_moves_from_the_one_matched_to_the_goals_as_far_as_was_led(
    matched: float, goal: float, a: float, b: float
) -> None:
    state = lead(Leading(), MINOR, matched, following())
    near, far = sorted((a, b))
    distances = [
        abs(arousal_at(tempo_to_play(state, leading(0.0, Lead(0.0, goal, d)))) - goal)
        for d in (0.0, near, far, math.inf)
    ]
    assert distances[0] == pytest.approx(abs(arousal_at(matched) - goal), abs=1e-9)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_tempo_never_heard_goes_with_the_arousal() -> None:
    wish = leading(0.0, Lead(0.6, -0.2, 0.0), arousal=0.5)
    assert tempo_to_play(lead(Leading(), MINOR, 0.0, wish), wish) == pytest.approx(tempo_at(0.5))


@given(st.sampled_from([0.0, 60.0, 104.0]), unit, unit, unit)
def test_more_of_the_arousal_knob_is_never_slower(tempo: float, arousal: float, a: float, b: float) -> None:
    low, high = sorted((a, b))

    def played(knob: float) -> float:
        wish = following(0.0, arousal, knob_a=knob)
        return tempo_to_play(lead(Leading(), MINOR, tempo, wish), wish)

    if tempo or (abs(low) >= ASKS and abs(high) >= ASKS):
        assert played(low) <= played(high) + 1e-9


def test_tempo_and_arousal_are_inverse() -> None:
    for arousal in (-1.0, -0.2, 0.0, 1.0):
        assert arousal_at(tempo_at(arousal)) == pytest.approx(arousal)
