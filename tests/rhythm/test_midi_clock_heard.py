"""MIDI clock heard: tempo, phase and bar, also where pulses come late; Start, Stop and song position."""

import numpy as np
import pytest

from kelly_edge.rhythm.midi_clock import LOST_S, ClockFollower

JITTER_S = 0.003


def play(follower: ClockFollower, bpm: float, n: int, begin_s: float = 10.0, jitter_s: float = 0.0) -> float:
    """``n`` pulses from ``begin_s`` on, each late by up to ``jitter_s``; when the next one is due."""
    pulse_s, rng = 60.0 / bpm / 24, np.random.default_rng(n)
    for number in range(n):
        follower.pulse(begin_s + number * pulse_s + jitter_s * rng.random())
    return begin_s + n * pulse_s


def off_s(line_s: float, bar_s: float, due_s: float) -> float:
    """How far a bar line lies from the nearest one that is due."""
    return abs((line_s - due_s + bar_s / 2) % bar_s - bar_s / 2)


@pytest.mark.parametrize("bpm", [20.0, 60.0, 97.3, 120.0, 240.0, 300.0])
@pytest.mark.parametrize("jitter_s", [0.0, JITTER_S])
def test_tempo_and_bar_lines_are_those_of_the_pulses(bpm: float, jitter_s: float) -> None:
    follower = ClockFollower()
    follower.start()
    due_s = play(follower, bpm, 24 * 9 + 5, jitter_s=jitter_s)
    beat = follower.beat(due_s)
    assert beat is not None
    assert 60.0 / beat.beat_s == pytest.approx(bpm, rel=1e-6 + 0.15 * jitter_s * bpm / 60.0)
    # Pulses are late by half the jitter on average.
    assert off_s(beat.line_s, 240.0 / bpm, 10.0) <= 1e-6 + jitter_s


def test_a_clock_that_was_never_started_has_no_beat_and_start_gives_it_one() -> None:
    follower = ClockFollower()
    due_s = play(follower, 120.0, 100)
    assert follower.beat(due_s) is None
    follower.start()
    beat = follower.beat(due_s)
    assert beat is not None, "the tempo is known from the pulses before"
    play(follower, 120.0, 30, due_s)
    beat = follower.beat(due_s + 0.6)
    assert beat is not None and off_s(beat.line_s, 2.0, due_s) < 1e-6


def test_a_song_goes_on_where_it_was_stopped_or_set_to() -> None:
    follower = ClockFollower()
    follower.start()
    due_s = play(follower, 120.0, 24 * 5)
    follower.stop()
    assert follower.beat(due_s) is None
    due_s = play(follower, 120.0, 31, due_s)
    follower.go_on()
    play(follower, 120.0, 13, due_s)
    beat = follower.beat(due_s + 0.3)
    # One beat of the bar was over: its line lay a beat before.
    assert beat is not None and off_s(beat.line_s, 2.0, due_s - 0.5) < 1e-6
    follower.stop()
    follower.locate(16 + 8)
    due_s = due_s + 13 * 60.0 / 120.0 / 24
    follower.go_on()
    play(follower, 120.0, 20, due_s)
    beat = follower.beat(due_s + 0.4)
    assert beat is not None and off_s(beat.line_s, 2.0, due_s - 1.0) < 1e-6


@pytest.mark.parametrize(("before", "after"), [(120.0, 90.0), (90.0, 120.0), (60.0, 200.0), (150.0, 147.0)])
def test_another_tempo_is_followed_within_a_beat(before: float, after: float) -> None:
    follower = ClockFollower()
    follower.start()
    due_s = play(follower, before, 24 * 8)
    line_s = due_s
    for _ in range(5):
        due_s = play(follower, after, 12, due_s)
        follower.beat(due_s)
    beat = follower.beat(due_s)
    assert beat is not None
    assert 60.0 / beat.beat_s == pytest.approx(after, rel=0.005)
    assert off_s(beat.line_s, 240.0 / after, line_s) < 0.005


@pytest.mark.parametrize("n_lost", [1, 2, 4])
def test_pulses_that_are_lost_on_the_way_move_no_bar_line(n_lost: int) -> None:
    follower = ClockFollower()
    follower.start()
    pulse_s, rng = 60.0 / 113.0 / 24, np.random.default_rng(n_lost)
    for number in range(480):
        if not 200 <= number % 240 < 200 + n_lost:
            follower.pulse(10.0 + number * pulse_s + 0.003 * rng.random())
    beat = follower.beat(10.0 + 480 * pulse_s)
    assert beat is not None and off_s(beat.line_s, 240.0 / 113.0, 10.0) < 0.004


@pytest.mark.parametrize("n_held", [1, 2, 3])
def test_pulses_that_are_held_up_and_come_at_once_move_no_bar_line(n_held: int) -> None:
    follower = ClockFollower()
    follower.start()
    pulse_s = 60.0 / 113.0 / 24
    for number in range(480):
        held = max(0, 200 + n_held - number) if number >= 200 else 0
        follower.pulse(10.0 + (number + held) * pulse_s)
    beat = follower.beat(10.0 + 480 * pulse_s)
    assert beat is not None and off_s(beat.line_s, 240.0 / 113.0, 10.0) < 0.001


def test_a_tempo_that_jumps_is_no_gap_in_the_beat() -> None:
    follower = ClockFollower()
    follower.start()
    due_s = play(follower, 120.0, 24 * 8)
    for number in range(48):
        follower.pulse(due_s + number * 60.0 / 80.0 / 24)
        assert follower.beat(due_s + number * 60.0 / 80.0 / 24) is not None


def test_a_clock_that_is_gone_is_gone_and_a_break_is_no_tempo() -> None:
    follower = ClockFollower()
    follower.start()
    due_s = play(follower, 120.0, 200)
    assert follower.beat(due_s + LOST_S - 0.03) is not None
    assert follower.beat(due_s + LOST_S) is None
    due_s = play(follower, 120.0, 11, due_s + 3.0)
    assert follower.beat(due_s) is None, "too few since the break"
    due_s = play(follower, 120.0, 13, due_s)
    beat = follower.beat(due_s)
    assert beat is not None and 60.0 / beat.beat_s == pytest.approx(120.0)


def test_times_that_go_backwards_break_nothing() -> None:
    follower = ClockFollower()
    follower.start()
    for time_s in (5.0, 5.02, 5.02, 4.0, 4.02, 9.0, *np.arange(9.02, 10.0, 0.02)):
        follower.pulse(float(time_s))
        follower.beat(float(time_s))
    beat = follower.beat(10.0)
    assert beat is not None and beat.beat_s == pytest.approx(0.48)
