"""Whose turn it is: when a phrase has ended, and for how long the box answers it."""

import math

import numpy as np
import pytest

from kelly_edge.contract import GROUP_S
from kelly_edge.music.answering import LONGEST_S, Answering
from kelly_edge.music.motif import HeardNote

Turns = list[tuple[float, float]]


def levels(notes: list[tuple[float, float]], seconds: float, loud_db: float = -20.0) -> list[float]:
    """The level of each hop group while notes (begin and end in seconds) decay by 8 dB per second."""
    times = GROUP_S * np.arange(1, int(seconds / GROUP_S))
    found = []
    for now_s in times:
        sounding = [now_s - begin for begin, end in notes if begin < now_s <= end + GROUP_S]
        found.append(loud_db - 8.0 * min(sounding) if sounding else -75.0)
    return found


def turns(level_db: list[float], beat_s: float) -> Turns:
    """When the box had the turn: begin and end."""
    answering, found = Answering(), []
    for group, level in enumerate(level_db):
        was_on = answering.is_on
        answering.hear(level, beat_s, (group + 1) * GROUP_S)
        if answering.is_on and not was_on:
            found.append(((group + 1) * GROUP_S, math.inf))
        elif was_on and not answering.is_on:
            found[-1] = (found[-1][0], (group + 1) * GROUP_S)
    return found


def phrase(begin_s: float, beat_s: float, n: int) -> list[tuple[float, float]]:
    """Notes of a beat each, nearly legato."""
    return [(begin_s + k * beat_s, begin_s + (k + 0.9) * beat_s) for k in range(n)]


@pytest.mark.parametrize("beat_s", [0.4, 0.6, 1.0])
@pytest.mark.parametrize("loud_db", [-45.0, -20.0, 0.0])
def test_an_answer_begins_within_a_beat_and_is_as_long_as_the_phrase(beat_s: float, loud_db: float) -> None:
    notes = phrase(1.0, beat_s, 8)
    found = turns(levels(notes, 1.0 + 20 * beat_s, loud_db), beat_s)
    assert len(found) == 1
    begin_s, end_s = found[0]
    assert 0.0 < begin_s - notes[-1][1] < 0.35 * beat_s + 3 * GROUP_S
    assert end_s - begin_s == pytest.approx(9 * beat_s, abs=beat_s)


def test_a_long_note_ends_a_phrase_before_it_is_released() -> None:
    notes = [*phrase(1.0, 0.5, 6), (4.0, 7.0)]
    (begin_s, _), *others = turns(levels(notes, 7.5), 0.5)
    assert 5.0 < begin_s < 6.0
    assert not others


def with_melody(end_s: float) -> list[bool]:
    """Whether the box had the turn, per hop group, when the last note of a phrase fades by 80 dB per second
    and the melody says that it ends at ``end_s``."""
    answering, found = Answering(), []
    notes = phrase(1.0, 0.5, 6)
    notes[-1] = (notes[-1][0], end_s)
    for group, level_db in enumerate(levels(notes[:-1], 6.0)):
        now_s = (group + 1) * GROUP_S
        begin_s, ends_s = next((note for note in reversed(notes) if note[0] < now_s), (-math.inf, 0.0))
        fading_db = max(-20.0 - 80.0 * (now_s - begin_s), -60.0) if begin_s == notes[-1][0] else level_db
        melody = HeardNote(begin_s, ends_s if now_s >= ends_s else math.inf, 60)
        answering.hear(fading_db, 0.5, now_s, melody)
        found.append(answering.is_on)
    return found


def test_a_note_that_fades_is_no_rest_while_it_is_held() -> None:
    released_s = 4.2
    found = with_melody(released_s)
    begin_s = (found.index(True) + 1) * GROUP_S
    assert released_s < begin_s < released_s + 4 * GROUP_S


def test_somebody_who_only_breathed_has_the_turn_back_and_their_phrase_goes_on() -> None:
    beat_s = 0.5
    notes = phrase(1.0, beat_s, 6) + phrase(1.0 + 7.5 * beat_s, beat_s, 6)
    found = turns(levels(notes, 20.0), beat_s)
    assert len(found) == 2
    assert found[0][1] == pytest.approx(1.0 + 7.5 * beat_s, abs=2 * GROUP_S)
    # The answer is as long as both parts and the breath.
    assert found[1][1] - found[1][0] == pytest.approx(14.5 * beat_s, abs=1.5 * beat_s)


def test_two_notes_are_no_phrase_and_silence_is_none() -> None:
    assert turns(levels(phrase(1.0, 0.5, 2), 10.0), 0.5) == []
    assert turns([-80.0] * 100, 0.5) == []
    assert turns([-30.0] * 100, 0.5) == []


def test_no_answer_is_longer_than_somebody_waits() -> None:
    beat_s = 0.5
    begin_s, end_s = turns(levels(phrase(1.0, beat_s, 60), 60.0), beat_s)[0]
    assert end_s - begin_s == pytest.approx(LONGEST_S + beat_s, abs=0.5)
