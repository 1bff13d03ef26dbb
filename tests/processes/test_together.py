"""The whole box with somebody who plays in time: it enters, keeps together and ends with them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance
from models.ensemble.practice import accompanied, beat_times, struck
from models.ensemble.rhythm import distances_s, grid_of

LAST_S = 18.0
BPM = 96.0


@pytest.fixture(scope="module")
def beats_s() -> NDArray[Any]:
    return beat_times([BPM] * int(LAST_S * BPM / 60.0))


@pytest.fixture(scope="module")
def performance(settings: Settings, models: Models, beats_s: NDArray[Any]) -> Performance:
    """Somebody plays in time until ``LAST_S``; seven seconds of silence follow."""
    sound = struck(accompanied(beats_s, 4), LAST_S + 7.0)
    return Offline(settings, models, sound).run()


def test_it_enters_on_a_beat_softly_within_the_first_bars(
    performance: Performance, beats_s: NDArray[Any]
) -> None:
    notes = performance.notes
    first_s = float(notes["onset_s"][0])
    assert first_s < 6.0
    lines_s = performance.bars["start_s"]
    entry_s = lines_s[lines_s <= first_s + 0.03].max()
    assert np.abs(beats_s - entry_s).min() < 0.05
    early = notes["velocity"][notes["onset_s"] < first_s + 2.0]
    later = notes["velocity"][(notes["onset_s"] > first_s + 8.0) & (notes["onset_s"] < LAST_S)]
    assert early.mean() < later.mean()


def test_its_notes_lie_on_the_player_s_grid(performance: Performance, beats_s: NDArray[Any]) -> None:
    onset_s = performance.notes["onset_s"].astype(float)
    onset_s = onset_s[(onset_s > 8.0) & (onset_s < beats_s[-1])]
    off_s = distances_s(onset_s, grid_of(beats_s))
    assert len(onset_s) > 10
    assert np.median(np.abs(off_s)) < 0.02
    assert abs(off_s.mean()) < 0.02


def test_its_bars_begin_on_the_player_s_beats(performance: Performance, beats_s: NDArray[Any]) -> None:
    lines_s = performance.bars["start_s"]
    lines_s = lines_s[(lines_s > 8.0) & (lines_s < beats_s[-1])]
    assert np.abs(lines_s[:, None] - beats_s[None, :]).min(1).max() < 0.05


def test_it_ends_within_three_seconds_of_their_end(performance: Performance) -> None:
    last_s = float(performance.notes["onset_s"].max())
    assert LAST_S < last_s < LAST_S + 3.5, "the level of the last chord has to fall first"
    in_silence = performance.notes[performance.notes["onset_s"] > LAST_S + 1.0]
    assert np.all(in_silence["onset_s"] + in_silence["duration_s"] < LAST_S + 4.0)


def test_a_pause_is_played_through(settings: Settings, models: Models, beats_s: NDArray[Any]) -> None:
    pause = slice(round(10.0 * BPM / 60.0), round(11.0 * BPM / 60.0))
    paused_s = beats_s[pause]
    notes = [n for n in accompanied(beats_s, 4) if not paused_s[0] - 0.01 <= n[0] <= paused_s[-1] + 0.01]
    played = Offline(settings, models, struck(notes, 15.0)).run().notes["onset_s"]
    gaps = np.diff(played[(played > 7.0) & (played < 14.0)])
    assert len(gaps) > 8
    assert gaps.max() < 2.5
