"""Bars that come back: said note by note, moved along the scale, thinned; and the last chord."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.music import compound_word as cw
from kelly_edge.music.form import Score, Written, lay_out
from kelly_edge.music.recital import (
    Recital,
    along_the_scale,
    last_chord,
    moved,
    ordered,
    returning,
    thinned,
    to_density,
)
from kelly_edge.music.sampling import SCALES, HeadTables, SamplingSettings, every_token
from kelly_edge.music.target import Target


def flat_heads() -> HeadTables:
    """Heads to which every token is as likely."""
    sizes = [family.size for family in cw.SAMPLED]
    parents = [cw.FAMILIES[cw.COLUMN[p]].size for family in cw.SAMPLED for p in family.parents]
    return HeadTables(
        np.zeros((len(sizes), 4), np.float32),
        tuple(np.zeros((n, 4), np.float32) for n in parents),
        tuple(np.zeros((4, n), np.float32) for n in sizes),
        tuple(np.zeros(n, np.float32) for n in sizes),
        np.zeros((2, 4), np.float32),
    )


BARS = st.lists(
    st.builds(
        cw.GridNote, st.integers(0, 15), st.integers(40, 90), st.sampled_from(cw.DURATION_STEPS), st.just(64)
    ),
    min_size=1,
    max_size=24,
).map(ordered)


@pytest.mark.parametrize(
    ("pitch", "n", "mode", "expected"),
    [
        (60, 1, cw.MAJOR, 62), (64, 1, cw.MAJOR, 65), (71, 1, cw.MAJOR, 72), (60, -1, cw.MAJOR, 59),
        (60, 2, cw.MINOR, 63), (67, 1, cw.MINOR, 68), (61, 1, cw.MAJOR, 63), (60, 7, cw.MINOR, 72),
    ],
)  # fmt: skip
def test_a_pitch_moves_along_the_scale(pitch: int, n: int, mode: int, expected: int) -> None:
    assert along_the_scale(pitch, n, mode) == expected


@given(st.integers(24, 100), st.integers(-7, 7), st.sampled_from([cw.MAJOR, cw.MINOR]))
def test_what_is_in_the_scale_stays_in_it(pitch: int, n: int, mode: int) -> None:
    scale = set(SCALES[mode == cw.MAJOR])
    if pitch % 12 in scale:
        there = along_the_scale(pitch, n, mode)
        assert there % 12 in scale
        assert along_the_scale(there, -n, mode) == pitch


def test_a_chord_moves_with_its_notes() -> None:
    bar = Written((cw.GridNote(0, 60, 4, 64), cw.GridNote(4, 64, 4, 64)), cw.chord_token(0, "maj"), 3)
    up = moved(bar, 1, cw.MAJOR)
    assert [note.pitch for note in up.notes] == [62, 65]
    assert up.chord == cw.chord_token(2, "min")
    assert moved(bar, -1, cw.MAJOR).chord == cw.chord_token(11, "dim")
    assert moved(Written(bar.notes, cw.NO_CHORD, 3), 1, cw.MAJOR).chord == cw.NO_CHORD


@given(BARS, st.integers(1, 24))
def test_thinning_keeps_as_many_notes_as_are_asked(notes: tuple[cw.GridNote, ...], n: int) -> None:
    kept = thinned(notes, n)
    assert len(kept) == min(n, len(notes))
    assert set(kept) <= set(notes)
    assert list(kept) == sorted(kept, key=lambda note: (note.position, note.pitch))


def test_thinning_takes_inner_voices_and_weak_places_first() -> None:
    chord = [cw.GridNote(0, p, 4, 64) for p in (40, 52, 55, 72)]
    weak = [cw.GridNote(3, 74, 1, 64)]
    assert [n.pitch for n in thinned(ordered([*chord, *weak]), 3)] == [40, 72, 74]
    assert [n.pitch for n in thinned(ordered([*chord, *weak]), 2)] == [40, 72]


@given(BARS, st.integers(1, cw.N_DENSITIES))
def test_a_thinner_bar_is_of_the_level_asked(notes: tuple[cw.GridNote, ...], density: int) -> None:
    bar = Written(notes, 1, cw.density_token(len(notes)))
    there = to_density(bar, density)
    assert cw.density_token(len(there)) <= max(density, 1)
    if density >= bar.density:
        assert there == notes


@pytest.mark.parametrize("mode", [cw.MAJOR, cw.MINOR])
@pytest.mark.parametrize("melody", [20, 60, 72, 88, 110])
@pytest.mark.parametrize("tempo_bpm", [48.0, 120.0, 190.0])
def test_the_last_chord_is_the_tonic_held_for_long(mode: int, melody: int, tempo_bpm: float) -> None:
    notes = last_chord(mode, melody, tempo_bpm)
    classes = {note.pitch % 12 for note in notes}
    assert notes[0].pitch % 12 == 0
    assert classes <= {0, 4 if mode == cw.MAJOR else 3, 7}
    assert {note.position for note in notes} == {0}
    assert 3 <= len(notes) <= 4
    assert min(note.steps for note in notes) >= cw.N_STEPS
    seconds = notes[0].steps / cw.STEPS_PER_BEAT * 60.0 / tempo_bpm
    assert seconds >= min(2.5, cw.DURATION_STEPS[-1] / cw.STEPS_PER_BEAT * 60.0 / tempo_bpm)
    if 60 <= melody <= 96:
        assert abs(notes[-1].pitch - melody) <= 4


def test_a_recital_says_its_notes_and_then_a_bar_line() -> None:
    notes = (cw.GridNote(0, 60, 4, 64), cw.GridNote(0, 64, 4, 64), cw.GridNote(8, 67, 2, 64))
    rng = np.random.default_rng(0)
    recital = Recital(flat_heads(), SamplingSettings(), rng, deque(notes), cw.chord_token(5, "maj"))
    contexts, row = recital.tables.start.copy(), np.zeros(cw.N_FAMILIES, np.int16)
    every = {column: every_token(column) for column in range(cw.N_FAMILIES)}
    recital.decide(contexts, row, cw.CHORD, every[cw.CHORD])
    assert row[cw.CHORD] == cw.chord_token(5, "maj")
    said = []
    while True:
        recital.decide(contexts, row, cw.TYPE, every[cw.TYPE])
        if row[cw.TYPE] == cw.BAR:
            break
        for column in range(cw.POSITION, cw.N_FAMILIES):
            recital.decide(contexts, row, column, every[column])
        said.append(cw.note_of(row))
    assert [(n.position, n.pitch, n.steps) for n in said] == [(n.position, n.pitch, n.steps) for n in notes]


def test_what_is_not_legal_now_gives_way_to_its_neighbour() -> None:
    rng = np.random.default_rng(0)
    recital = Recital(flat_heads(), SamplingSettings(), rng, deque([cw.GridNote(0, 61, 4, 64)]), 1)
    row = np.zeros(cw.N_FAMILIES, np.int16)
    legal = every_token(cw.PITCH)
    legal[[61 - cw.PITCH_LOW + 1, 60 - cw.PITCH_LOW + 1]] = False
    recital.decide(recital.tables.start, row, cw.PITCH, legal)
    assert row[cw.PITCH] - 1 + cw.PITCH_LOW == 62
    chords = every_token(cw.CHORD)
    chords[1] = False
    recital.decide(recital.tables.start, row, cw.CHORD, chords)
    assert row[cw.CHORD] > 1


@pytest.mark.parametrize(("leads", "n_notes"), [(True, 12), (False, 20)])
def test_a_bar_that_came_out_denser_than_asked_returns_as_it_is_asked_where_the_music_leads(
    leads: bool, n_notes: int
) -> None:
    written = Written(tuple(cw.GridNote(n % 16, 50 + n, 2, 64) for n in range(20)), 1, 5)
    target = Target(0.5, -0.2, mode=1, leads=leads)
    score = Score(0, target, cw.MAJOR, lay_out("A A", "a b c d"), (written,) * 4)
    asked = cw.Condition(valence=5, arousal=3, density=5, mode=cw.MAJOR)
    again = returning(score, asked, 72, 90.0, np.random.default_rng(0))
    assert again is not None
    assert len(again.notes) == n_notes
