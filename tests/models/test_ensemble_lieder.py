"""Lieder as somebody to play with: the chords that a score's notes tell."""

from pathlib import Path

import numpy as np
import pytest

from kelly_edge.errors import DataError
from models.composer.data import Notes
from models.ensemble.harmony import parse_chord
from models.ensemble.lieder import chords_told, load_lied

BEATS_S = np.arange(17) * 0.5


def played(chords: list[tuple[int, ...]], passing: int | None = None) -> Notes:
    """Each chord for four beats, struck on the first; ``passing`` sounds on the second beat of each."""
    notes = [(4 * i, 4 * i + 4, pitch) for i, chord in enumerate(chords) for pitch in chord]
    if passing is not None:
        notes += [(4 * i + 1, 4 * i + 2, passing) for i in range(len(chords))]
    begin, end, pitch = np.array(sorted(notes)).T
    return Notes(begin * 0.5, end * 0.5, pitch, np.full(len(pitch), 70))


@pytest.mark.parametrize("passing", [None, 62, 66])
def test_chords_are_told_from_the_notes_and_a_passing_note_changes_none(passing: int | None) -> None:
    notes = played([(48, 64, 67), (45, 60, 64), (41, 57, 60, 65), (43, 59, 62, 65)], passing)
    told = chords_told(notes, BEATS_S)
    assert len(told) == 16
    assert [chord.name for chord in told[::4]] == ["C:maj", "A:min", "F:maj", "G:7"]
    changes = [i for i in range(1, 16) if told[i].name != told[i - 1].name]
    assert changes == [4, 8, 12]


def test_where_nothing_sounds_there_is_no_chord_and_every_name_can_be_parsed() -> None:
    notes = played([(49, 65, 68)])
    told = chords_told(notes, BEATS_S)
    assert [parse_chord(chord.name)[0] for chord in told] == [1] * 4 + [-1] * 12


def test_a_song_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody"):
        load_lied(tmp_path, "nobody", tmp_path)
