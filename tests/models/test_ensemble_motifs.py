"""Likeness of an answer to its phrase, and what shuffled answers have."""

import numpy as np
import pytest

from models.ensemble.motifs import Line, likeness, shuffled, top_line
from models.ensemble.turns import Phrase, likenesses, measure_turns

BEAT_S = 0.5
ONSETS = np.array([0.0, 0.25, 0.5, 1.0, 1.5])
PITCHES = np.array([60.0, 64.0, 62.0, 67.0, 60.0])


def test_the_same_is_alike_wherever_it_is_played_and_another_is_less() -> None:
    phrase = Line(ONSETS + 3.0, PITCHES)
    assert likeness(phrase, Line(ONSETS + 9.0, PITCHES - 5.0), BEAT_S) == 1.0
    upside_down = likeness(phrase, Line(ONSETS, 120.0 - PITCHES), BEAT_S)
    assert upside_down == pytest.approx(0.5)
    assert likeness(phrase, Line(np.arange(5) * 0.4, 120.0 - PITCHES), BEAT_S) < upside_down
    assert likeness(phrase, Line(np.zeros(0), np.zeros(0)), BEAT_S) == 0.0


def test_what_sounds_below_is_no_melody() -> None:
    onset_s = np.array([0.0, 0.01, 0.3, 0.6])
    line = top_line(onset_s, onset_s + np.array([0.5, 0.5, 0.1, 0.4]), np.array([48.0, 72.0, 50.0, 67.0]))
    assert line.pitch.tolist() == [72.0, 67.0]


def test_answers_that_fit_their_own_phrases_alone_are_no_chance() -> None:
    own, chance, p = shuffled([np.eye(6) * 0.8 + 0.1, np.eye(5) * 0.8 + 0.1])
    assert own == pytest.approx(0.9)
    assert chance < 0.4
    assert p < 0.001
    assert shuffled([np.full((6, 6), 0.5)])[2] == 1.0
    assert np.isnan(shuffled([np.ones((1, 1))])[0])


def test_a_song_without_phrases_has_no_figures() -> None:
    nothing = np.zeros(0)
    assert likenesses([], nothing, nothing, nothing).size == 0
    figures = measure_turns([], nothing, nothing)
    assert np.isnan(figures["within_beat"]) and np.isnan(figures["overlap"])


def test_turns_are_measured_from_the_third_phrase_on() -> None:
    notes = [[(8.0 * k + onset, 8.0 * k + onset + 0.2, int(pitch), 80)
              for onset, pitch in zip(ONSETS, PITCHES, strict=True)] for k in range(4)]  # fmt: skip
    phrases = [Phrase(part, BEAT_S) for part in notes]
    onset_s = np.concatenate([8.0 * k + 2.0 + ONSETS for k in (2, 3)])
    figures = measure_turns(phrases, onset_s, onset_s + 0.2)
    assert figures["phrases"] == 2.0
    assert figures["within_beat"] == figures["answered"] == 1.0
    assert figures["overlap"] == 0.0
    alike = likenesses(phrases, onset_s, onset_s + 0.2, np.tile(PITCHES, 2))
    assert alike == pytest.approx(np.ones((2, 2)))
