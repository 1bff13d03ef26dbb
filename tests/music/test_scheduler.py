"""The plan: bars on absolute times, taken back until committed."""

from kelly_edge.config import EnvelopeSettings
from kelly_edge.music.generator import Bar, BarNote, Target
from kelly_edge.music.scheduler import COMMIT_S, Plan

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
