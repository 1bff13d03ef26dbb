"""The mood by a keyboard's notes: what ships, on clips of EMOPIA that chose nothing, and how it is kept."""

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the workshop needs scikit-learn (extra: train)")

from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.emotion.keyboard import SHIPPED, Regression, log_odds
from kelly_edge.emotion.symbolic import TARGETS
from kelly_edge.errors import DataError
from models.emotion.data import emopia
from models.emotion.keyboard import gather, write


def test_what_ships_hears_the_mood_of_clips_it_never_saw() -> None:
    try:
        clips = emopia("val")[::10]
    except DataError as error:
        pytest.skip(str(error))
    readings = gather(clips)
    odds = np.array([log_odds(row, SHIPPED) for row in readings.inputs])
    of_clips = np.array([odds[readings.clips == clip].mean(0) for clip in range(len(readings.quadrants))])
    energetic = of_clips[:, :2].max(1) > of_clips[:, 2:].max(1)
    assert np.mean(energetic == (readings.quadrants < 2)) > 0.75
    # Of four; half of them is twice what chance has.
    assert np.mean(of_clips.argmax(1) == readings.quadrants) >= 0.5


def test_the_numbers_written_are_the_numbers_read(tmp_path: Path) -> None:
    write(tmp_path / "weights.py", SHIPPED)
    read = runpy.run_path(str(tmp_path / "weights.py"))
    again = Regression(*(read[name] for name in ("CENTRES", "SCALES", "WEIGHTS", "BIASES")))
    for mine, theirs in zip(again, SHIPPED, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_one_strange_descriptor_does_not_decide() -> None:
    usual = log_odds(SHIPPED.centres, SHIPPED)
    for number in range(len(SHIPPED.centres)):
        odd = SHIPPED.centres.copy()
        odd[number] += 1e6
        assert np.abs(log_odds(odd, SHIPPED) - usual).max() < 3.0


def test_a_keyboard_of_harder_touch_moves_the_mood_little() -> None:
    harder = SHIPPED.centres.copy()
    harder[TARGETS.index("velocity")] += 16.0 / 32.0
    moved = (log_odds(harder, SHIPPED) - log_odds(SHIPPED.centres, SHIPPED)) @ SIGNS / 4.0
    # Half log odds; without other touches in the fit they moved by .67.
    assert 0.0 < moved[1] < 0.3
