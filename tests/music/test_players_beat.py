"""The player's beat: its octave, its bar lines, and how the box's own is pulled onto it."""

import pytest

from kelly_edge.music.players_beat import PlayersBeat, beat_to_play_s, beats_to_play, players_beat

LIMITS = (40.0, 160.0)


def test_the_bar_line_and_the_beats_come_from_the_phase() -> None:
    beat = players_beat(10.0, 0.375, 0.5, 4, 0.0, LIMITS)
    assert (beat.beat_s, beat.n_beats) == (0.5, 4)
    assert beat.line_s == pytest.approx(9.25)
    assert beat.nearest_s(10.1) == pytest.approx(10.25)
    assert beat.next_line_s(9.3) == pytest.approx(11.25)
    assert beat.next_line_s(11.25) == pytest.approx(11.25)


@pytest.mark.parametrize(
    ("heard_bpm", "played_bpm", "wanted_bpm", "n_beats"),
    [(90.0, 0.0, 90.0, 4), (180.0, 0.0, 90.0, 2), (150.0, 74.0, 75.0, 2), (61.0, 120.0, 122.0, 8),
     (100.0, 75.0, 100.0, 4)],
)  # fmt: skip
def test_a_tempo_is_taken_in_the_octave_that_is_played_or_can_be(
    heard_bpm: float, played_bpm: float, wanted_bpm: float, n_beats: int
) -> None:
    beat = players_beat(0.0, 0.0, 60.0 / heard_bpm, 4, played_bpm, LIMITS)
    assert beat.tempo_bpm == pytest.approx(wanted_bpm)
    assert beat.n_beats == n_beats


@pytest.mark.parametrize(
    ("heard_bpm", "n_beats", "played_bpm", "wanted_bpm", "wanted_beats"),
    [(120.0, 8, 0.0, 60.0, 4), (120.0, 6, 0.0, 60.0, 3), (120.0, 8, 118.0, 120.0, 8),
     (120.0, 4, 61.0, 60.0, 2), (70.0, 8, 0.0, 70.0, 8), (120.0, 3, 0.0, 120.0, 3)],
)  # fmt: skip
def test_a_bar_of_eight_or_six_is_played_in_half_as_many_beats(
    heard_bpm: float, n_beats: int, played_bpm: float, wanted_bpm: float, wanted_beats: int
) -> None:
    beat = players_beat(0.0, 0.0, 60.0 / heard_bpm, n_beats, played_bpm, LIMITS)
    assert beat.tempo_bpm == pytest.approx(wanted_bpm)
    assert beat.n_beats == wanted_beats


@pytest.mark.parametrize(
    ("n_beats", "first", "wanted"),
    [(4, 0, 4), (4, 1, 3), (4, 3, 1), (3, 0, 3), (3, 2, 1), (2, 0, 4), (2, 1, 1), (8, 4, 4), (8, 3, 1),
     (6, 0, 3), (1, 5, 4)],
)  # fmt: skip
def test_a_bar_ends_on_a_line_of_the_player_s(n_beats: int, first: int, wanted: int) -> None:
    beat = PlayersBeat(100.0, 0.5, n_beats, 100.0)
    assert beats_to_play(100.0 + 0.5 * first + 0.1, beat) == wanted
    assert beats_to_play(100.0 - 0.5 * (n_beats - first % n_beats) - 0.1, beat) == wanted


def test_without_a_beat_the_wanted_tempo_is_played_within_the_limits() -> None:
    assert beat_to_play_s(3.0, None, 300.0, LIMITS) == pytest.approx(60.0 / 160.0)
    assert beats_to_play(3.0, None) == 4


@pytest.mark.parametrize("late_s", [-0.1, -0.02, 0.0, 0.02, 0.1])
def test_an_asynchrony_shrinks_beat_by_beat_and_never_swings_over(late_s: float) -> None:
    theirs, start_s = PlayersBeat(0.0, 0.6, 4, 0.0), 6.0 + late_s
    before = abs(late_s)
    for _ in range(12):
        start_s += beat_to_play_s(start_s, theirs, 0.0, (88.0, 112.0))
        off = abs(start_s - theirs.nearest_s(start_s))
        assert off <= before + 1e-9
        before = off
    assert before < 1e-3
