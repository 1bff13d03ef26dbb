"""The octave of the tempo: which of the pulses that fit is felt, and that it is kept."""

import numpy as np
import pytest

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ
from kelly_edge.rhythm.bar import FIRST, METRE, METRES
from kelly_edge.rhythm.beat import (
    BAR_PHASE,
    BEATS,
    CELL,
    DELAY_S,
    IS_HALVED,
    LATE_S,
    PERIOD,
    PHASE,
    BeatState,
    beat_state,
    choose_cell,
    choose_octave,
    felt,
)

FOUR, EIGHT = METRES.index(4), METRES.index(8)


def believe(state: BeatState, metre: int, n_beats: int) -> list[bool]:
    """So many beats on which bars of ``metre`` are nearly certain; whether halves are tapped, after each."""
    found = []
    for _ in range(n_beats):
        state.bar[:] = -8.0
        state.bar[FIRST[metre]] = 0.0
        choose_octave(state)
        choose_cell(state)
        found.append(bool(state.kept[IS_HALVED]))
    return found


def test_another_octave_is_taken_after_some_beats_and_kept_at_a_doubt() -> None:
    state = beat_state()
    assert not any(believe(state, FOUR, 20))
    turned = believe(state, EIGHT, 20)
    assert 3 < turned.index(True) < 16
    assert METRES[METRE[int(state.kept[CELL])]] == 8
    assert all(believe(state, FOUR, 3))
    assert all(believe(state, EIGHT, 20))
    assert believe(state, FOUR, 20).index(False) > 3
    assert METRES[METRE[int(state.kept[CELL])]] == 4


@pytest.mark.parametrize("bpm", [90.0, 120.0, 200.0])
def test_of_halves_every_other_one_is_a_beat_and_the_bar_lines_stay(bpm: float) -> None:
    period = 60.0 / bpm * FRAME_RATE_HZ
    ahead = (DELAY_S + LATE_S) * bpm / 60.0
    places = np.arange(0.01, 8.0, 0.05)
    phases = []
    for place in places:
        reading = np.zeros(5)
        reading[[PERIOD, PHASE, BAR_PHASE, BEATS]] = (
            period,
            (place - ahead) % 1.0,
            (place - ahead) / 8.0 % 1.0,
            8,
        )
        period_s, phase, bar_phase, n_beats = felt(reading)
        assert n_beats == 4
        assert period_s == pytest.approx(2.0 * 60.0 / bpm)
        assert bar_phase == pytest.approx(place / 8.0)
        phases.append(phase)
    np.testing.assert_allclose(phases, places / 2.0 % 1.0, atol=1e-6)
    reading[BEATS], reading[BAR_PHASE] = 4, 0.25 - ahead / 4.0
    assert felt(reading)[0] == pytest.approx(60.0 / bpm)
    assert felt(reading)[2] == pytest.approx(0.25)
    assert felt(reading)[3] == 4
