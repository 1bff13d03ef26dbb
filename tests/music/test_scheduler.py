"""The plan: bars on absolute times, taken back until committed."""

from dataclasses import replace

import numpy as np
import pytest

from kelly_edge.config import EnvelopeSettings
from kelly_edge.contract import GROUP_S
from kelly_edge.music.generator import Bar, BarNote, Target
from kelly_edge.music.scheduler import COMMIT_S, SLIP_S, GroupTime, Plan

SAD, HAPPY = Target(-0.8, -0.5), Target(0.8, 0.5)


def bar(number: int, tempo: float = 120.0, rung: int = 0) -> Bar:
    return Bar(number, tempo, 4, (BarNote(0.0, 1.0, 60, 64), BarNote(1.5, 0.5, 72, 70)), rung)


def plan_of(n_bars: int, target: Target = SAD) -> Plan:
    plan = Plan(EnvelopeSettings(), 1.0)
    for number in range(n_bars):
        plan.add(bar(number), target)
    return plan


def test_bars_follow_each_other_on_absolute_times() -> None:
    plan = plan_of(3)
    assert plan.end_s == 1.0 + 3 * 2.0
    first = plan.commit(1.0)
    second = plan.commit(3.0)
    assert first is not None and second is not None
    assert [n.onset_s for n in first.notes()] == [1.0, 1.75]
    assert [n.onset_s for n in second.notes()] == [3.0, 3.75]


def test_a_bar_is_committed_shortly_before_it_begins() -> None:
    plan = plan_of(1)
    assert plan.commit(1.0 - COMMIT_S - 0.01) is None
    assert plan.commit(1.0 - COMMIT_S) is not None
    assert plan.commit(100.0) is None


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
    plan.add(bar(0, rung=3), SAD)
    assert plan.commit(1.0) is not None
    plan.cut_rest(1.5)
    assert plan.end_s == 1.5
    late = Bar(1, 120.0, 4, (BarNote(1.02, 1.0, 60, 64), BarNote(2.5, 0.5, 72, 70)), 0)
    opening, next_one = plan.add(late, SAD), plan.add(replace(late, number=2), SAD)
    assert [n.onset_s for n in opening.notes()] == pytest.approx([1.51, 2.25])
    assert opening.end_s == next_one.start_s == 3.0
    assert [n.onset_s for n in next_one.notes()] == pytest.approx([3.51, 4.25])


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
    faster = plan.add(bar(1, 150.0), SAD)
    assert faster.tempo_bpm == 80.0 + limits.tempo_slew_bpm_per_bar


def test_a_plan_that_fell_behind_begins_anew_in_the_future() -> None:
    plan = plan_of(1)
    assert plan.commit(1.0) is not None
    assert not plan.begin_at_the_earliest(2.0)
    assert plan.begin_at_the_earliest(10.0)
    assert plan.end_s == 10.0


def test_a_plan_begins_where_it_is_first_told_to() -> None:
    plan = Plan(EnvelopeSettings())
    assert not plan.begin_at_the_earliest(3.0)
    assert plan.end_s == 3.0


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
