"""The phrase plan as data: what each form's letters give, and how a target bends it."""

from dataclasses import replace

import numpy as np
import pytest

from kelly_edge.music import form
from kelly_edge.music.compound_word import MAJOR, MINOR, GridNote, chord_token
from kelly_edge.music.form import DOMINANT, FINAL, FULL_CADENCE, HALF, NO_RETURN, Score, Written
from kelly_edge.music.target import Target

PATTERNS = [(length, bars) for length, patterns in form.BARS.items() for bars in patterns]
BAR = Written((GridNote(0, 60, 4, 64),), 1, 4)


def likes(phrases: str, bars: str) -> list[int]:
    return [place.like for place in form.lay_out(phrases, bars)]


@pytest.mark.parametrize(
    ("phrases", "bars", "expected"),
    [
        ("A A", "a b c d", [-1, -1, -1, -1, 0, 1, 2, -1]),
        ("A A'", "a b c d", [-1, -1, -1, -1, 0, 1, -1, -1]),
        ("A B A'", "a b c d", [-1] * 8 + [0, 1, -1, -1]),
        ("A A' A", "a b c", [-1, -1, -1, 0, 1, -1, 0, 1, -1]),
        ("A", "a b a c", [-1, -1, 0, -1]),
        ("A", "a a~ b c", [-1, 0, -1, -1]),
        ("A B", "a b a c", [-1, -1, 0, -1, -1, -1, 4, -1]),
    ],
)
def test_letters_that_come_again_return(phrases: str, bars: str, expected: list[int]) -> None:
    assert likes(phrases, bars) == expected


def test_a_moved_bar_is_moved_where_it_is_new_and_returns_as_it_was() -> None:
    places = form.lay_out("A A", "a a~ b c")
    assert [place.is_moved for place in places] == [False, True, False, False] + [False] * 4
    assert places[5].like == 1


@pytest.mark.parametrize("name", form.FORMS)
@pytest.mark.parametrize(("length", "bars"), PATTERNS)
def test_every_form_is_in_order(name: str, length: int, bars: str) -> None:
    phrases = form.FORMS[name].phrases.split()
    places = form.lay_out(form.FORMS[name].phrases, bars)
    assert len(bars.split()) == length
    assert len(places) == length * len(phrases) <= 40
    for i, place in enumerate(places):
        assert NO_RETURN <= place.like < i
        assert place.phrase == phrases[i // length].rstrip("'")
        if place.like != NO_RETURN:
            assert places[place.like].phrase == place.phrase
        is_last_of_phrase = i % length == length - 1
        assert (place.cadence in (HALF, FULL_CADENCE)) == is_last_of_phrase
        # A phrase's last bar is free, so that it may lead on.
        assert place.like == NO_RETURN or not is_last_of_phrase
    assert [p.cadence for p in places[-2:]] == [DOMINANT, FULL_CADENCE]


@pytest.mark.parametrize("name", sorted(set(form.FORMS) - {"chain"}))
def test_every_form_but_the_chain_brings_a_phrase_back(name: str) -> None:
    assert any(like != NO_RETURN for like in likes(form.FORMS[name].phrases, "a b c d"))


def test_a_chain_brings_nothing_back() -> None:
    assert set(likes(form.FORMS["chain"].phrases, "a b c d")) == {NO_RETURN}


def test_phrases_are_as_long_as_the_metre_says() -> None:
    def lengths(n_beats: int) -> set[int]:
        found = set()
        for seed in range(300):
            places = form.draw_places(np.random.default_rng(seed), n_beats)
            found.add(next(i for i, p in enumerate(places) if p.cadence in (HALF, FULL_CADENCE)) + 1)
        return found

    assert lengths(4) == lengths(5) == lengths(2) == {4, 8}
    assert lengths(3) == {3, 4, 6, 8}


def test_the_same_seed_draws_the_same_form() -> None:
    drawn = [form.draw_places(np.random.default_rng(seed)) for seed in range(40)]
    assert drawn == [form.draw_places(np.random.default_rng(seed)) for seed in range(40)]
    assert len(set(drawn)) > 8


def test_an_ending_leads_to_a_last_chord() -> None:
    assert [place.cadence for place in form.ending_places(2)] == [DOMINANT, FINAL]
    assert [place.cadence for place in form.ending_places(1)] == [FINAL]


def started(target: Target, phrases: str = "A A'") -> Score:
    return Score(3, target, MAJOR, form.lay_out(phrases, "a b c d"))


def test_a_score_says_where_it_is() -> None:
    score = started(Target(0.0, 0.0))
    models = []
    while not score.is_over:
        models.append(score.model)
        score = score.and_then(replace(BAR, density=len(score.written) + 1))
    assert [model and model.density for model in models] == [None] * 4 + [1, 2, None, None]
    assert not score.is_ending
    assert Score(0, Target(0.0, 0.0), MAJOR, form.ending_places(2)).is_ending


@pytest.mark.parametrize("name", ["valence", "arousal", "density"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_small_move_keeps_the_form_and_a_larger_one_does_not(name: str, sign: int) -> None:
    target = Target(0.1, -0.2, 0.1)
    score = started(target)
    value = getattr(target, name)
    near = replace(target, **{name: value + sign * (form.BEND - 0.02)})
    far = replace(target, **{name: value + sign * (form.BEND + 0.02)})
    assert score.serves(near, MAJOR)
    assert not score.serves(far, MAJOR)


def test_many_small_moves_add_up() -> None:
    """It is the target that the form began with that counts."""
    score = started(Target(0.0, 0.0))
    path = [score.serves(Target(0.09 * i, 0.0), MAJOR) for i in range(6)]
    assert path == [True] * 4 + [False] * 2


def test_another_mode_or_lead_begins_another_form_and_key_and_pace_do_not() -> None:
    target = Target(0.0, 0.0)
    score = started(target)
    assert not score.serves(target, MINOR)
    assert not score.serves(replace(target, leads=True), MAJOR)
    assert score.serves(replace(target, tonic=7, tempo_bpm=90.0), MAJOR)


@pytest.mark.parametrize(("mode", "tonic"), [(MAJOR, "maj"), (MINOR, "min")])
def test_cadences_lean_to_their_chords(mode: int, tonic: str) -> None:
    dominants = {chord_token(7, "maj"), chord_token(7, "7")}
    for cadence, chords in (
        (HALF, dominants), (DOMINANT, dominants),
        (FULL_CADENCE, {chord_token(0, tonic)}), (FINAL, {chord_token(0, tonic)}),
    ):  # fmt: skip
        assert set(np.flatnonzero(form.cadence_bias(cadence, mode))) == chords
    assert not form.cadence_bias(form.NO_CADENCE, mode).any()
