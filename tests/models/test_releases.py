"""Whether notes that were let go are called voiced: the counting."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch (extra: train)")

from models.timbre.pitch_sounds import TICKS_PER_S
from models.timbre.releases import INSTRUMENTS, NOTE_S, REST_S, broken_line, judged


def test_hops_of_notes_and_of_rests_are_told_apart() -> None:
    spans = [(1.0, 2.0), (2.0, 2.5), (3.0, 4.0)]
    times_s = np.array([0.5, 1.5, 1.9, 2.2, 2.6, 2.9, 3.5, 4.5])
    voiced = np.array([True, True, False, True, True, False, True, True])
    # Before the first note and after the last one nothing is judged.
    assert judged(times_s, voiced, spans).tolist() == [4, 3, 2, 1]


def test_a_line_has_the_notes_and_rests_it_promises() -> None:
    messages, spans = broken_line(INSTRUMENTS["cello"], 7, room=False)
    lengths = np.array([end - start for start, end in spans])
    rests = np.array([b[0] - a[1] for a, b in itertools.pairwise(spans)])
    tick = 1.0 / TICKS_PER_S
    assert NOTE_S[0] - tick <= lengths.min() and lengths.max() <= NOTE_S[1] + tick
    assert (rests > 0.0).sum() >= 5
    assert REST_S[0] - tick <= rests[rests > 0.0].min() and rests.max() <= REST_S[1] + tick
    played = [m for m in messages if m.type == "note_on"]
    cello = INSTRUMENTS["cello"]
    assert len(played) == len(spans) and all(cello.low <= m.note <= cello.high for m in played)
