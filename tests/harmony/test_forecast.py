"""The chord to come: a loop is known after two rounds, with beats heard and without; doubt stays doubt."""

import numpy as np
import pytest

from kelly_edge.contract import GROUP_S, N_CHORDS
from kelly_edge.harmony.chords import MAJOR, MINOR, N_STATES, Floats, chord_of
from kelly_edge.harmony.forecast import HEARING_DELAY_S, N_BEATS_AHEAD, ChordForecast
from kelly_edge.harmony.hearing import TRANSITIONS
from kelly_edge.harmony.memory import ChordMemory

LOOP = tuple(chord_of(*c) for c in ((0, MAJOR), (8, MAJOR), (3, MINOR), (10, MINOR)))
"""No progression that one expects."""


def belief_in(chord: int, share: float = 0.9) -> Floats:
    belief = np.full(N_STATES, (1.0 - share) / (N_STATES - 1), np.float32)
    belief[chord] = share
    return belief


def listen(forecast: ChordForecast, n_rounds: float, beat_s: float, hears_beats: bool) -> float:
    """The loop, two beats per chord, heard as late as the tracker hears; returns the time it ends."""
    n_groups = round(n_rounds * len(LOOP) * 2 * beat_s / GROUP_S)
    for group in range(n_groups):
        time_s = (group + 1) * GROUP_S
        beats, phase = divmod(time_s / beat_s, 1.0)
        sounding = LOOP[int(max(time_s - HEARING_DELAY_S, 0.0) / (2 * beat_s)) % len(LOOP)]
        heard = (beat_s, phase, int(beats) % 4, 4) if hears_beats else ()
        forecast.hear(time_s, belief_in(sounding), 0, *heard)
    return n_groups * GROUP_S


@pytest.mark.parametrize(("beat_s", "hears_beats"), ((0.6, True), (0.43, True), (0.5, False)))
def test_a_loop_is_foretold_after_two_rounds(beat_s: float, hears_beats: bool) -> None:
    forecast = ChordForecast()
    now_s = listen(forecast, 2.4, beat_s, hears_beats)
    first = int(now_s / (2 * beat_s)) + 1
    for number in range(first, first + len(LOOP)):
        belief = forecast.at([number * 2 * beat_s + beat_s])[0]
        assert np.argmax(belief) == LOOP[number % len(LOOP)], number


def test_before_a_loop_is_known_what_is_usual_is_foretold() -> None:
    forecast = ChordForecast()
    g7 = chord_of(7, MAJOR)
    for group in range(40):
        forecast.hear((group + 1) * GROUP_S, belief_in(g7), 0)
    far = forecast.at([40 * GROUP_S + 8.0])[0]
    assert far[g7] < 0.5
    others = np.delete(np.arange(N_CHORDS), g7)
    assert others[np.argmax(far[others])] in (chord_of(0, MAJOR), chord_of(9, MINOR))


def test_beliefs_foretold_are_probabilities_however_far() -> None:
    forecast = ChordForecast()
    now_s = listen(forecast, 1.0, 0.5, True)
    beliefs = forecast.at([now_s - 1.0, now_s, now_s + 1.0, now_s + 1e3])
    assert np.allclose(beliefs.sum(1), 1.0, atol=1e-3)
    assert (beliefs >= 0.0).all()
    assert len(forecast.at([])) == 0


def test_a_forecast_that_heard_nothing_knows_nothing() -> None:
    forecast = ChordForecast()
    assert forecast.at([5.0])[0][N_CHORDS] == pytest.approx(1.0)
    listen(forecast, 2.0, 0.5, True)
    forecast.forget()
    assert forecast.at([5.0])[0][N_CHORDS] == pytest.approx(1.0)


def test_a_jump_of_the_beat_keeps_its_place() -> None:
    """The tempo heard doubles and halves, as trackers do: it neither fails nor forgets what sounds."""
    forecast = ChordForecast()
    chord = chord_of(5, MAJOR)
    for group in range(400):
        time_s = (group + 1) * GROUP_S
        beat_s = 0.5 if group // 50 % 2 else 0.25
        forecast.hear(time_s, belief_in(chord), 5, beat_s, time_s / beat_s % 1.0, group % 3 - 1, 4)
        assert np.argmax(forecast.at([time_s + 0.2])[0]) == chord
    assert N_BEATS_AHEAD > 0 and TRANSITIONS.shape[0] == 13


def test_what_was_thought_impossible_is_believed_when_it_is_heard() -> None:
    """Certainties that contradict each other do not wear the belief away."""
    memory = ChordMemory()
    first, second = (np.eye(N_STATES, dtype=np.float32)[chord] for chord in (0, 7))
    for _ in range(3):
        memory.hear(first)
        memory.end_beat(TRANSITIONS[0], 0.0, 0.0)
    memory.hear(second)
    assert memory.now.sum() == pytest.approx(1.0, abs=1e-4)
    assert np.argmax(memory.now) == 7
