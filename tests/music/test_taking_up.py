"""A theme heard is the melody of the bars that take it up; what lies below it is drawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_network import SmallNetwork

from kelly_edge.music.compound_word import STEPS_PER_BEAT, GridNote
from kelly_edge.music.form import FULL_CADENCE, theme_places
from kelly_edge.music.generator import Generator
from kelly_edge.music.motif import Theme
from kelly_edge.music.notes import Bar
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target

TARGET = Target(0.5, 0.5, tonic=2, mode=1, tempo_bpm=100.0)
MOTIF = (GridNote(2, 66, 2, 64), GridNote(4, 71, 2, 64), GridNote(6, 69, 2, 64), GridNote(12, 62, 4, 64))
THEME = Theme((MOTIF,), 4)


def generator(seed: int = 1) -> Generator:
    """Without unevenness, so that notes lie where they are written."""
    return Generator(SmallNetwork(), SamplingSettings(unevenness=0.0), seed)


def melody(bar: Bar, positions: list[int]) -> list[tuple[int, int]]:
    """Position and pitch of the highest notes at ``positions``."""
    steps = [(round(note.onset_beats * STEPS_PER_BEAT), note.pitch) for note in bar.notes]
    return [(at, max(pitch for step, pitch in steps if step == at)) for at in positions]


@pytest.mark.parametrize("seed", range(4))
def test_the_first_bar_has_the_theme_above_everything(seed: int) -> None:
    bar = generator(seed).compose_bar(replace(TARGET, theme=THEME))
    # In D major every note of it is legal.
    assert melody(bar, [2, 4, 6, 12]) == [(note.position, note.pitch) for note in MOTIF]
    assert min(note.onset_beats for note in bar.notes) == 0.5
    for note, after in zip(MOTIF, [*MOTIF[1:], GridNote(16, 0, 1, 1)], strict=True):
        between = [n.pitch for n in bar.notes if note.position <= n.onset_beats * 4 < after.position]
        assert max(between) == note.pitch


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(30, 100)), min_size=3, max_size=8), st.integers(0, 3)
)
def test_whatever_is_heard_its_rhythm_comes(notes: list[tuple[int, int]], seed: int) -> None:
    heard = tuple(GridNote(at, pitch, 1, 64) for at, pitch in sorted(dict(notes).items()))
    bar = generator(seed).compose_bar(replace(TARGET, theme=Theme((heard,), 1)))
    steps = {round(note.onset_beats * STEPS_PER_BEAT) for note in bar.notes}
    assert {note.position for note in heard} <= steps


def test_the_theme_opens_the_music_and_a_close_ends_it() -> None:
    assert [place.theme for place in theme_places(1, 4)] == [0, 0, -1, -1]
    assert [place.is_moved for place in theme_places(1, 4)] == [False, True, False, False]
    assert [place.theme for place in theme_places(2, 2)] == [0, 1]
    assert [place.theme for place in theme_places(2, 3)] == [0, 1, -1]
    assert len(theme_places(2, 1)) == 1
    assert theme_places(1, 4)[-1].cadence == FULL_CADENCE


def test_it_is_taken_up_once_and_again_after_a_rewind() -> None:
    playing, asked = generator(), replace(TARGET, theme=THEME)
    bars = [playing.compose_bar(asked) for _ in range(8)]
    playing.rewind(0)
    assert [playing.compose_bar(asked) for _ in range(8)] == bars
    rhythms = [{round(n.onset_beats * 4) for n in bar.notes} for bar in bars]
    assert sum({2, 4, 6, 12} <= rhythm and min(rhythm) == 2 for rhythm in rhythms) >= 1


def test_a_theme_heard_anew_is_taken_up_at_once() -> None:
    playing, other = generator(), Theme((tuple(replace(n, position=n.position - 2) for n in MOTIF),), 2)
    playing.compose_bar(replace(TARGET, theme=THEME))
    bar = playing.compose_bar(replace(TARGET, theme=other))
    assert melody(bar, [0, 2, 4, 10]) == [(n.position - 2, n.pitch) for n in MOTIF]
    assert np.isfinite([note.onset_beats for note in bar.notes]).all()
