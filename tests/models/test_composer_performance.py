"""The shipped composer through the box's own stage: look-ahead, changes of target, long play."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.onnx import OnnxComposer, open_composer
from firmware_py.settings import Settings
from kelly_edge.config import EmotionSettings, EnvelopeSettings
from kelly_edge.contract import NOTE_DTYPE
from models.composer.performance import (
    bars_of,
    longest_loop,
    outside_envelope,
    perform,
    repeated_share,
)


@pytest.fixture(scope="module")
def network() -> OnnxComposer:
    return open_composer(load("transformer_model"))


def ahead(look_ahead_s: float) -> Settings:
    """The target is at its place before the music begins: one that moves is heard sooner with less ahead."""
    settings = Settings(emotion=EmotionSettings(slew_per_s=2.0))
    return replace(settings, composer=replace(settings.composer, look_ahead_s=look_ahead_s))


def notes_at(*rows: tuple[float, float, int, int, int]) -> NDArray[Any]:
    """Notes by onset, duration, pitch, velocity, bar."""
    notes = np.zeros(len(rows), NOTE_DTYPE)
    for note, row in zip(notes, rows, strict=True):
        for name, value in zip(("onset_s", "duration_s", "pitch", "velocity", "bar"), row, strict=True):
            note[name] = value
    return notes


def test_the_notes_do_not_depend_on_the_look_ahead(network: OnnxComposer) -> None:
    near, middle, far = (perform(network, ahead(s), 40.0, [(0.0, 0.3, 0.2)]) for s in (0.5, 2.0, 8.0))
    assert len(near) > 100
    assert np.array_equal(near, middle)
    assert np.array_equal(near, far)


@pytest.mark.parametrize("look_ahead_s", [0.5, 8.0])
def test_a_changed_target_is_heard_at_the_next_bar_line_or_one_bar_later(
    network: OnnxComposer, look_ahead_s: float
) -> None:
    change_s = 20.0
    steady = perform(network, ahead(look_ahead_s), 40.0, [(0.0, -0.5, -0.7)])
    changed = perform(network, ahead(look_ahead_s), 40.0, [(0.0, -0.5, -0.7), (change_s, 0.8, 0.8)])
    n_same = next(i for i, (a, b) in enumerate(zip(steady, changed, strict=False)) if a != b)
    last_before = steady[steady["onset_s"] < change_s]["bar"].max()
    assert changed[n_same]["bar"] in (last_before + 1, last_before + 2)
    assert np.all(steady[:n_same]["bar"] < changed[n_same]["bar"])
    loud = [played[played["onset_s"] > change_s + 8.0]["velocity"].mean() for played in (steady, changed)]
    assert loud[1] > loud[0] + 3.0


def test_loops_and_repeats_are_found_where_they_are() -> None:
    assert longest_loop("abc") == 0
    assert longest_loop("aaab") == 2
    assert longest_loop("ababab") == 4
    assert repeated_share("abac") == pytest.approx(1 / 3)
    assert repeated_share("abcdefghijka") == 0.0


def test_bars_are_the_chords_struck_in_them_however_unevenly() -> None:
    first, second = bars_of(
        notes_at(
            (1.0, 0.1, 60, 50, 0), (1.5, 1, 64, 9, 0), (1.51, 1, 67, 9, 0),
            (3.0, 1, 60, 9, 4), (3.49, 1, 67, 9, 4), (3.5, 1, 64, 9, 4),
        )
    )  # fmt: skip
    assert first == second == (frozenset({60}), frozenset({64, 67}))


def test_what_leaves_the_envelope_is_counted() -> None:
    limits = EnvelopeSettings(polyphony_max=2, density_max_hz=3.0)
    assert (
        outside_envelope(notes_at((0.0, 0.1, 60, 50, 0), (1.0, 0.1, 97, 50, 0), (2.0, 1, 60, 101, 0)), limits)
        == 2
    )
    chord = [(0.0, 1.0, pitch, 50, 0) for pitch in (60, 64, 67)]
    assert outside_envelope(notes_at(*chord), limits) == 1
    quick = [(0.2 * i, 0.1, 60, 50, 0) for i in range(4)]
    assert outside_envelope(notes_at(*quick), limits) == 1
