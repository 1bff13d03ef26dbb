"""The motif of a phrase and the answer planned for it."""

import math

import numpy as np
import pytest

from kelly_edge.contract import HEARD_DTYPE
from kelly_edge.music.compound_word import N_STEPS
from kelly_edge.music.motif import (
    LONGEST_BEAT_S,
    MOST,
    HeardNote,
    MelodyHeard,
    motif_of,
    plan_answer,
    theme_of,
    unit_of,
)
from kelly_edge.music.players_beat import PlayersBeat

STEPS = (0, 2, 4, 6, 8, 12)
PITCHES = (66, 71, 71, 69, 69, 66)


def phrase(beat_s: float, begin_s: float = 10.0) -> list[HeardNote]:
    """Notes on ``STEPS`` of beats of that length, not quite even."""
    rng = np.random.default_rng(0)
    onsets = [begin_s + step / 4.0 * beat_s + rng.uniform(-0.02, 0.02) for step in STEPS]
    ends = [*onsets[1:], onsets[-1] + beat_s]
    return [HeardNote(*note) for note in zip(onsets, ends, PITCHES, strict=True)]


@pytest.mark.parametrize("beat_s", [0.4, 0.5, 0.75])
def test_a_motif_lies_on_the_grid(beat_s: float) -> None:
    motif = motif_of(phrase(beat_s), beat_s)
    assert tuple(note.position for note in motif) == STEPS
    assert tuple(note.pitch for note in motif) == PITCHES


def test_few_notes_are_no_motif_and_many_are_its_first() -> None:
    assert motif_of(phrase(0.5)[:2], 0.5) == []
    many = [HeardNote(0.25 * k, 0.25 * k + 0.2, 60) for k in range(20)]
    assert len(motif_of(many, 0.5)) == MOST
    # A note that sounds has no end yet.
    assert motif_of([*phrase(0.5)[:3], HeardNote(12.0, math.inf, 60)], 0.5)[-1].steps >= 1


@pytest.mark.parametrize("heard_s", [0.3, 0.5, 0.7, 1.0, 1.4])
def test_an_answer_waits_half_a_beat_at_most_however_the_ears_count(heard_s: float) -> None:
    for soonest_s in np.arange(20.0, 22.0, 0.03):
        answer = plan_answer(phrase(0.5), PlayersBeat(3.0, heard_s, 4, 19.0), soonest_s, 4.0)
        assert answer is not None
        assert LONGEST_BEAT_S / 2.0 < answer.beat_s <= LONGEST_BEAT_S
        assert -1e-3 < answer.begin_s - soonest_s < answer.beat_s / 2.0
        assert (answer.line_s - 3.0) / answer.beat_s % 1.0 == pytest.approx(0.0, abs=1e-6) or (
            (answer.line_s - 3.0) / answer.beat_s % 1.0 == pytest.approx(1.0, abs=1e-6)
        )


@pytest.mark.parametrize("beat_s", [0.4, 0.6, 0.7])
def test_without_a_beat_the_phrase_itself_gives_one(beat_s: float) -> None:
    answer = plan_answer(phrase(beat_s), None, 20.0, 4.0)
    assert answer is not None
    assert answer.begin_s == 20.0
    # Its usual note is half a beat.
    assert answer.beat_s == pytest.approx(beat_s, rel=0.1)
    assert plan_answer([], None, 20.0, 4.0) is None
    assert unit_of(phrase(0.5)[:1]) == 0.0


def test_an_answer_that_is_late_begins_some_beats_later() -> None:
    answer = plan_answer(phrase(0.5), PlayersBeat(3.0, 0.5, 4, 19.0), 20.1, 4.0)
    assert answer is not None
    later = answer.not_before(answer.begin_s + 0.7)
    assert later.begin_s == pytest.approx(answer.begin_s + 1.0)
    assert answer.not_before(answer.begin_s) == answer


@pytest.mark.parametrize("first", [0, 2])
def test_a_theme_has_a_bar_for_each_that_the_motif_reaches(first: int) -> None:
    motif = motif_of(phrase(0.5), 0.5)
    theme = theme_of(motif, first, 2)
    steps = [bar * N_STEPS + note.position for bar, notes in enumerate(theme.bars) for note in notes]
    assert steps == [first + step for step in STEPS]
    assert theme_of([*motif, motif[0].__class__(20, 60, 2, 64)], 0, 1).bars == theme_of(motif, 0, 1).bars


def test_notes_heard_are_told_apart_by_their_number() -> None:
    melody, heard = MelodyHeard(), np.zeros((), HEARD_DTYPE)
    told = [(60, 0), (60, 255), (60, 0), (0, 0), (62, 1)]
    for k, (pitch, number) in enumerate(told):
        heard["melody"], heard["melody_number"], heard["melody_age_s"] = pitch, number, 0.05
        melody.hear(heard, 1.0 + k)
    notes = melody.since(0.0)
    # The first record tells of no new note: it may be an old one.
    assert [(note.onset_s, note.pitch) for note in notes] == [
        (pytest.approx(1.95), 60), (pytest.approx(2.95), 60), (pytest.approx(4.95), 62),
    ]  # fmt: skip
    assert [note.end_s for note in notes] == [pytest.approx(2.95), 4.0, math.inf]
    assert melody.since(3.0) == notes[1:]
