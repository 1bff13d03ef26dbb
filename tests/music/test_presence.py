"""A pause is not an end; an end is noticed in a quiet room and in a noisy one."""

import pytest

from kelly_edge.contract import GROUP_S
from kelly_edge.music.presence import FINISH_S, PAUSE_S, Silence


def heard(silence: Silence, level_db: float, seconds: float, begin_s: float) -> float:
    for n in range(round(seconds / GROUP_S)):
        silence.hear(level_db, begin_s + n * GROUP_S)
    return begin_s + round(seconds / GROUP_S) * GROUP_S


@pytest.mark.parametrize("floor_db", [-120.0, -58.0])
def test_a_pause_is_no_end_and_a_longer_one_is(floor_db: float) -> None:
    silence = Silence()
    now_s = heard(silence, -20.0, 5.0, 0.0)
    stopped_s = now_s
    now_s = heard(silence, floor_db, PAUSE_S - 2 * GROUP_S, now_s)
    assert not silence.is_end
    heard(silence, floor_db, 5 * GROUP_S, now_s)
    assert silence.is_end
    assert silence.finish_s == pytest.approx(stopped_s + FINISH_S, abs=GROUP_S)
    silence.hear(-25.0, now_s + 1.0)
    assert not silence.is_end


def test_a_soft_passage_is_no_silence() -> None:
    silence = Silence()
    now_s = heard(silence, -15.0, 5.0, 0.0)
    heard(silence, -40.0, 10.0, now_s)
    assert not silence.is_end
