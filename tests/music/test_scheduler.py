"""The plan: bars on absolute times, committed beat by beat, taken back until they begin."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from kelly_edge.config import EnvelopeSettings
from kelly_edge.contract import GROUP_S
from kelly_edge.music.notes import Bar, BarNote
from kelly_edge.music.players_beat import PlayersBeat
from kelly_edge.music.scheduler import COMMIT_S, SLIP_S, CommittedBeat, GroupTime, Plan
from kelly_edge.music.target import Target

SAD, HAPPY = Target(-0.8, -0.5), Target(0.8, 0.5)


def bar(number: int, tempo: float = 120.0, rung: int = 0) -> Bar:
    return Bar(number, tempo, 4, (BarNote(0.0, 1.0, 60, 64), BarNote(1.5, 0.5, 72, 70)), rung)


def plan_of(n_bars: int, target: Target = SAD) -> Plan:
    plan = Plan(EnvelopeSettings(), 1.0)
    for number in range(n_bars):
        plan.add(bar(number), target)
    return plan


def played(plan: Plan, end_s: float, beat: PlayersBeat | None = None) -> list[CommittedBeat]:
    """The beats committed until ``end_s``."""
    beats = []
    while (committed := plan.commit(end_s, beat)) is not None:
        beats.append(committed)
    return beats


def onsets(beats: list[CommittedBeat]) -> list[float]:
    return [note.onset_s for beat in beats for note in beat.notes()]


def test_bars_follow_each_other_on_absolute_times() -> None:
    plan = plan_of(3)
    assert plan.end_s == 1.0 + 3 * 2.0
    assert onsets(played(plan, 4.0)) == [1.0, 1.75, 3.0, 3.75]


def test_a_beat_is_committed_shortly_before_it_begins() -> None:
    plan = plan_of(1)
    assert plan.commit(1.0 - COMMIT_S - 0.01) is None
    first = plan.commit(1.0 - COMMIT_S)
    assert first is not None and (first.start_s, first.beat_s, first.index) == (1.0, 0.5, 0)
    assert plan.commit(1.5 - COMMIT_S - 0.01) is None
    assert [beat.index for beat in played(plan, 100.0)] == [1, 2, 3]
    assert plan.commit(100.0) is None


def test_a_note_belongs_to_the_beat_it_begins_in_and_every_note_to_one() -> None:
    plan = Plan(EnvelopeSettings(), 0.0)
    notes = tuple(BarNote(place, 0.1, 60, 64) for place in (0.0, 0.99, 1.0, 2.5, 3.99))
    plan.add(Bar(0, 120.0, 4, notes, 0), SAD)
    assert onsets(played(plan, 5.0)) == [0.0, 0.495, 0.5, 1.25, 1.995]


def test_a_changed_target_takes_back_the_open_bars_only() -> None:
    plan = plan_of(3)
    assert plan.commit(1.0) is not None
    assert plan.take_back(SAD, resting=False) is None
    assert plan.take_back(HAPPY, resting=False) == 1
    assert plan.end_s == 3.0
    assert plan.n_replanned == 2


def test_silence_takes_back_music_and_music_takes_back_silence() -> None:
    assert plan_of(2).take_back(SAD, resting=True) == 0
    silent = Plan(EnvelopeSettings(), 0.0)
    silent.add(bar(0, rung=3), SAD)
    assert silent.take_back(SAD, resting=True) is None
    assert silent.take_back(SAD, resting=False) == 0


def test_a_rest_is_cut_short_and_the_music_opens_with_its_first_beat() -> None:
    plan = Plan(EnvelopeSettings(), 1.0)
    plan.add(replace(bar(0, rung=3), n_beats=1), SAD)
    assert plan.commit(1.0) is not None
    plan.cut_rest(1.25)
    assert plan.end_s == 1.25
    late = Bar(1, 120.0, 4, (BarNote(1.02, 1.0, 60, 64), BarNote(2.5, 0.5, 72, 70)), 0)
    plan.add(late, SAD)
    plan.add(replace(late, number=2), SAD)
    assert onsets(played(plan, 10.0)) == pytest.approx([1.26, 2.0, 3.26, 4.0])


def test_only_a_rest_that_nothing_follows_is_cut_short() -> None:
    music = plan_of(2)
    music.cut_rest(1.5)
    assert music.commit(1.0) is not None
    assert music.take_back(HAPPY, resting=False) == 1
    music.cut_rest(1.5)
    assert music.end_s == 3.0


def test_tempo_moves_by_the_slew_from_bar_to_bar() -> None:
    limits = EnvelopeSettings()
    plan = Plan(limits, 0.0)
    plan.add(bar(0, 80.0), SAD)
    plan.add(bar(1, 150.0), SAD)
    tempi = [60.0 / beat.beat_s for beat in played(plan, 20.0)]
    assert tempi == pytest.approx([80.0] * 4 + [80.0 + limits.tempo_slew_bpm_per_bar] * 4)


def test_a_plan_that_fell_behind_begins_anew_in_the_future() -> None:
    plan = plan_of(1)
    assert len(played(plan, 3.0)) == 4
    assert not plan.begin_at_the_earliest(2.0)
    assert plan.begin_at_the_earliest(10.0)
    assert plan.end_s == 10.0


def test_a_plan_begins_where_it_is_first_told_to() -> None:
    plan = Plan(EnvelopeSettings())
    assert not plan.begin_at_the_earliest(3.0)
    assert plan.end_s == 3.0


def test_the_beat_of_the_player_is_reached_within_the_slew_and_kept() -> None:
    limits = EnvelopeSettings()
    for late_s in (-0.12, 0.0, 0.17):
        plan = plan_of(6)
        theirs = PlayersBeat(1.0 + late_s, 0.5, 4, 0.0)
        beats = played(plan, 20.0, theirs)
        off_s = [beat.start_s - theirs.nearest_s(beat.start_s) for beat in beats]
        assert all(abs(off) < 0.005 for off in off_s[8:])
        lengths = [sum(b.beat_s for b in beats if b.bar.number == n) for n in range(6)]
        tempi = [240.0 / length for length in lengths]
        assert all(abs(b - a) <= limits.tempo_slew_bpm_per_bar + 1e-6 for a, b in pairwise(tempi))


def test_a_bar_is_cut_where_the_player_s_next_one_begins() -> None:
    for first, wanted in ((0, [4, 4, 4]), (1, [1, 4, 4]), (3, [3, 4, 4])):
        beats = played(plan_of(3), 30.0, PlayersBeat(1.0 + 0.5 * first, 0.5, 4, 0.0))
        assert [sum(b.bar.number == n for b in beats) for n in range(3)] == wanted
    waltz = played(plan_of(3), 30.0, PlayersBeat(1.0, 0.5, 3, 0.0))
    assert [b.index for b in waltz] == [0, 1, 2] * 3


@pytest.mark.parametrize(("before_s", "after_s"), [(0.5, 1.0), (1.0, 0.5)])
def test_another_octave_of_the_tempo_begins_with_a_bar(before_s: float, after_s: float) -> None:
    plan, theirs = plan_of(4), PlayersBeat(1.0, before_s, 4, 0.0)
    before = [plan.commit(10.0, theirs) for _ in range(2)]
    after = played(plan, 60.0, PlayersBeat(1.0, after_s, 4, 0.0))
    assert [b.beat_s for b in before if b is not None] == pytest.approx([before_s] * 2)
    assert [b.beat_s for b in after[:6]] == pytest.approx([before_s] * 2 + [after_s] * 4)


def test_a_sequencer_on_our_clock_is_not_taken_to_another_octave() -> None:
    plan = Plan(EnvelopeSettings(), 1.0, tempo_bpm=120.0, keeps_tempo=True)
    plan.add(bar(0), SAD)
    assert all(b.beat_s < 0.6 for b in played(plan, 30.0, PlayersBeat(1.0, 1.0, 4, 0.0)))


def test_music_after_a_rest_enters_on_the_line_it_is_told() -> None:
    plan = Plan(EnvelopeSettings(), 1.0)
    plan.add(replace(bar(0, rung=3), n_beats=1), SAD)
    played(plan, 1.2)
    plan.add(bar(1), SAD)
    plan.enter(1.9)
    assert plan.commit(1.4) is None
    plan.enter(1.95)
    assert onsets(played(plan, 10.0))[0] == 1.95
    plan.add(bar(2), SAD)
    plan.enter(11.0)
    assert plan.end_s == pytest.approx(5.95), "music that goes on is not moved"


def test_a_bar_that_must_finish_is_cut_and_its_notes_end() -> None:
    plan = Plan(EnvelopeSettings(), 1.0)
    plan.add(Bar(0, 60.0, 4, tuple(BarNote(float(k), 4.0, 60 + k, 64) for k in range(4)), 0), SAD)
    assert plan.commit(1.0) is not None
    plan.finish(2.9)
    notes = [note for beat in played(plan, 10.0) for note in beat.notes()]
    assert [note.onset_s for note in notes] == [2.0]
    assert notes[0].onset_s + notes[0].duration_s == pytest.approx(2.9)


def test_groups_are_dated_evenly_however_late_some_arrive() -> None:
    times, rng = GroupTime(), np.random.default_rng(0)
    dates = [times.date(n, 5.0 + n * GROUP_S + rng.exponential(0.002) * (n > 0)) for n in range(1_000)]
    np.testing.assert_allclose(np.diff(dates), GROUP_S, rtol=1e-9)
    assert dates[0] == pytest.approx(5.0)


def test_a_group_lost_leaves_its_gap() -> None:
    times = GroupTime()
    assert times.date(10, 1.0) == pytest.approx(1.0)
    assert times.date(13, 1.0 + 3 * GROUP_S) == pytest.approx(1.0 + 3 * GROUP_S)


def test_a_sound_card_that_runs_slow_is_followed() -> None:
    times, slow = GroupTime(), 1.0 + 200e-6
    for n in range(20_000):
        date_s = times.date(n, n * GROUP_S * slow)
        assert abs(date_s - n * GROUP_S * slow) < 2.0 * SLIP_S


def test_another_dsp_dates_from_its_own_beginning() -> None:
    times = GroupTime()
    times.date(100, 10.0)
    assert times.date(0, 17.0) == pytest.approx(17.0)
    assert times.date(1, 17.1) == pytest.approx(17.0 + GROUP_S)
