"""Compound words against rows written by hand, and round trips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.music import compound_word as cw
from kelly_edge.music.compound_word import BAR, NOTE, Condition, GridBar, GridNote

NOTES = st.builds(
    GridNote,
    position=st.integers(0, cw.N_STEPS - 1),
    pitch=st.integers(cw.PITCH_LOW, cw.PITCH_HIGH),
    steps=st.sampled_from(cw.DURATION_STEPS),
    velocity=st.sampled_from([cw.velocity_of(t) for t in range(1, cw.FAMILIES[cw.VELOCITY].size)]),
)
BARS = st.builds(
    GridBar,
    condition=st.builds(
        Condition,
        valence=st.integers(0, cw.N_LEVELS),
        arousal=st.integers(0, cw.N_LEVELS),
        density=st.integers(0, cw.N_DENSITIES),
        mode=st.integers(0, 2),
    ),
    tempo_bpm=st.integers(1, cw.N_TEMPI).map(cw.tempo_of),
    chord=st.integers(1, cw.NO_CHORD),
    notes=st.lists(NOTES, max_size=20, unique_by=lambda note: (note.position, note.pitch)).map(
        lambda notes: tuple(sorted(notes))
    ),
)


def test_a_bar_of_two_notes_is_three_rows_written_by_hand() -> None:
    bar = GridBar(
        Condition(valence=5, arousal=2, density=1, mode=cw.MAJOR),
        tempo_bpm=48.0,
        chord=cw.chord_token(9, "min"),
        notes=(GridNote(4, 64, 2, 70), GridNote(0, 48, 16, 61)),
    )
    assert cw.encode([bar]).tolist() == [
        [BAR, 5, 2, 1, 2, 1, 56, 0, 0, 0, 0],
        [NOTE, 5, 2, 1, 2, 1, 56, 1, 34, 12, 11],
        [NOTE, 5, 2, 1, 2, 1, 56, 5, 50, 2, 12],
    ]


def test_an_empty_bar_is_one_row() -> None:
    assert cw.encode([GridBar(Condition(), 192.0, cw.NO_CHORD, ())]).tolist() == [
        [BAR, 0, 0, 0, 0, 25, 73, 0, 0, 0, 0]
    ]


def test_no_bars_are_no_rows() -> None:
    assert cw.encode([]).shape == (0, cw.N_FAMILIES)
    assert cw.decode(cw.encode([])) == []


@given(st.lists(BARS, max_size=6))
def test_decode_gives_back_what_was_encoded(bars: list[GridBar]) -> None:
    assert cw.decode(cw.encode(bars)) == bars


@given(st.lists(BARS, max_size=6))
def test_every_token_is_inside_its_family(bars: list[GridBar]) -> None:
    rows = cw.encode(bars)
    sizes = np.array([family.size for family in cw.FAMILIES])
    assert np.all(rows >= 0)
    assert np.all(rows < sizes)


@given(st.lists(BARS, min_size=1, max_size=3), st.randoms())
def test_the_order_notes_are_given_in_does_not_matter(bars: list[GridBar], random: object) -> None:
    shuffled = [
        GridBar(b.condition, b.tempo_bpm, b.chord, tuple(sorted(b.notes, key=lambda _: random.random())))  # type: ignore[attr-defined]
        for b in bars
    ]
    np.testing.assert_array_equal(cw.encode(shuffled), cw.encode(bars))


def test_notes_before_the_first_bar_are_left_out() -> None:
    rows = cw.encode([GridBar(Condition(), 90.0, 1, (GridNote(0, 60, 4, 63),))])
    assert cw.decode(rows[1:]) == []


@pytest.mark.parametrize(("steps", "token"), [(0.2, 1), (1, 1), (9, 8), (9.1, 9), (100, 15)])
def test_durations_go_to_the_nearest_length(steps: float, token: int) -> None:
    assert cw.duration_token(steps) == token


@pytest.mark.parametrize(("bpm", "token"), [(0.0, 1), (48.0, 1), (96.0, 13), (192.0, 25), (400.0, 25)])
def test_tempi_are_spaced_geometrically_and_held_to_the_ends(bpm: float, token: int) -> None:
    assert cw.tempo_token(bpm) == token


@pytest.mark.parametrize(("n", "level"), [(0, 1), (2, 1), (3, 2), (22, 7), (23, 8), (60, 8)])
def test_density_levels_begin_at_their_edges(n: int, level: int) -> None:
    assert cw.density_token(n) == level


def test_parents_are_decided_before_their_children() -> None:
    for i, family in enumerate(cw.FAMILIES):
        for parent in family.parents:
            assert cw.COLUMN[parent] < i
            assert cw.FAMILIES[cw.COLUMN[parent]].row in (cw.BAR, family.row)
