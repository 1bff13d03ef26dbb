"""How notes are struck and held: as unevenly as people do, and exactly as written by a machine."""

import numpy as np
import pytest

from kelly_edge.music.compound_word import GridNote
from kelly_edge.music.sounding import (
    MOST_LOOSE,
    Touch,
    delays_s,
    draw_touch,
    lengths,
    mean_delay_s,
    sounding,
)

CHORDS = tuple(GridNote(position, pitch, 4, 70) for position in range(0, 16, 4) for pitch in (48, 55, 64))
SHORT = tuple(GridNote(position, 60, 1, 70) for position in range(16))
N_BARS = 500


def rng(number: int = 0) -> np.random.Generator:
    return np.random.default_rng(number)


def test_a_machine_is_exact_whatever_its_touch() -> None:
    touch = Touch(loose=MOST_LOOSE, held=0.8)
    assert not delays_s(CHORDS, 0.0, touch, rng()).any()
    np.testing.assert_array_equal(lengths(SHORT, 0.0, touch, rng()), 1.0)


@pytest.mark.parametrize("loose", [0.0, 0.14, MOST_LOOSE])
def test_as_many_chords_are_spread_as_the_touch_says_and_the_melody_leads(loose: float) -> None:
    spread = []
    for number in range(N_BARS):
        delays = delays_s(CHORDS, 1.0, Touch(loose=loose), rng(number)).reshape(4, 3)
        assert (np.diff(delays) <= 0.0).all()
        assert delays.min() >= 0.0 and delays.max() < 0.2
        spread += list(np.ptp(delays, axis=1) > 0.03)
    # Of chords that are not loose few are spread so far; of three loose notes nearly all.
    assert np.mean(spread) == pytest.approx(0.02 + 0.8 * loose, abs=0.04)


def test_the_mean_delay_is_the_one_that_is_compensated() -> None:
    drawn = [delays_s(CHORDS, 1.0, draw_touch(rng(i)), rng(i)).mean() for i in range(N_BARS)]
    single = [delays_s(SHORT, 1.0, draw_touch(rng(i)), rng(i)).mean() for i in range(N_BARS)]
    assert np.mean(drawn + single) == pytest.approx(mean_delay_s(1.0), abs=0.0015)


def test_notes_of_a_step_are_clipped_now_and_then_and_long_ones_are_held_as_written() -> None:
    short = np.concatenate([lengths(SHORT, 1.0, Touch(), rng(i)) for i in range(N_BARS)])
    long = np.concatenate([lengths(CHORDS, 1.0, Touch(), rng(i)) for i in range(N_BARS)])
    # People hold a quarter of them for less than .42 of the step, and half for less than .8.
    assert np.mean(short < 0.42) == pytest.approx(0.25, abs=0.06)
    assert np.median(short) == pytest.approx(0.8, abs=0.08)
    assert short.min() > 0.1
    assert np.quantile(long, [0.1, 0.5, 0.9]) == pytest.approx([0.85, 1.0, 1.17], abs=0.03)


def test_touch_lengthens_and_a_note_still_ends_where_its_pitch_comes_again() -> None:
    held = lengths(CHORDS, 1.0, Touch(held=0.7), rng())
    assert np.median(held) == pytest.approx(np.exp(0.7), rel=0.1)
    notes = sounding(CHORDS, 0, np.zeros(len(CHORDS)), np.asarray(held, np.float32))
    for note in notes[:-3]:
        assert note.duration_beats <= 1.0
    assert max(note.duration_beats for note in notes[-3:]) > 1.5
