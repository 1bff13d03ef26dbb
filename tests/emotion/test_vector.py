"""The table of the 64."""

import numpy as np
import pytest

from kelly_edge.contract import N_EMOTION
from kelly_edge.emotion.vector import EMOTION_VECTOR, slice_of


def test_every_entry_has_one_meaning() -> None:
    owners = np.zeros(N_EMOTION, int)
    for spec in EMOTION_VECTOR:
        owners[slice_of(spec.name)] += 1
        assert spec.meaning
    assert (owners == 1).all()


def test_the_entries_other_parts_rely_on_stay_where_they_are() -> None:
    assert slice_of("quadrant") == slice(0, 4)
    assert slice_of("valence") == slice(4, 5)
    assert slice_of("arousal") == slice(5, 6)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        slice_of("happiness")
