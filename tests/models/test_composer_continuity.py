"""Long play: as much form as planned and no more, no stop without an ending; and the measures of it."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the measures of form need scipy and librosa (pip install .[train])")

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.onnx import open_composer
from kelly_edge.music.form import lay_out
from models.composer.continuity import beyond_the_plan, continuity, longest_rest_bars, source_of


def test_minutes_of_play_keep_to_the_plan_and_come_to_an_end() -> None:
    """The workshop plays ten minutes (``evaluate --continuous``)."""
    found = continuity(open_composer(load("transformer_model")), 180.0)
    assert found["n_forms"] >= 3
    assert found["beyond_the_plan"] == 0
    assert 0 < found["longest_loop_bars"] <= found["longest_loop_planned"]
    assert found["longest_rest_bars"] <= 1
    assert found["ends_with_an_ending"]
    assert 170.0 < found["end_s"] <= 180.0
    assert found["outside_envelope"] == 0
    assert max(found["form_by_minute"]["near_repeats"]) > 0.1
    assert min(found["notes_per_s_by_minute"]) > 0.5
    pitches = found["pitch_by_minute"]
    assert len(pitches) == 3
    assert max(pitches) - min(pitches) < 20.0


@pytest.mark.parametrize(
    ("bars", "sources", "expected"),
    [
        ("abcd", "abcd", 0),
        ("abab", "abab", 0),
        ("abab", "abcd", 2),
        ("aaaa", "aabc", 2),
        ("aaaa", "aaaa", 0),
        # Thinned or with another last note: less alike than planned.
        ("abcd", "aabb", 0),
    ],
)
def test_bars_that_come_again_unplanned_are_counted(bars: str, sources: str, expected: int) -> None:
    assert beyond_the_plan(bars, sources) == expected


def test_rests_between_bars_are_counted() -> None:
    assert longest_rest_bars([3, 4, 5]) == 0
    assert longest_rest_bars([3, 5, 9]) == 3
    assert longest_rest_bars([4]) == 0


def test_the_source_of_a_bar_is_where_its_material_was_new() -> None:
    def sources(phrases: str, bars: str) -> list[int]:
        places = lay_out(phrases, bars)
        return [source_of(places, i) for i in range(len(places))]

    assert sources("A A", "a b c d") == [0, 1, 2, 3, 0, 1, 2, 7]
    assert sources("A A", "a b a c") == [0, 1, 0, 3, 0, 1, 0, 7]
    # Moved along the scale it is new, and comes again as it was moved.
    assert sources("A A", "a a~ b c") == [0, 1, 2, 3, 0, 1, 2, 7]


def test_play_of_no_whole_minute_has_no_minutes() -> None:
    found = continuity(open_composer(load("transformer_model")), 20.0, seed=5)
    assert found["form_by_minute"] == {}
    assert np.isfinite(found["longest_silence_s"])
