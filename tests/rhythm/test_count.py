"""Beats are counted right though the phase read springs between the beat and its off-beat."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import N_FRAMES
from kelly_edge.rhythm.beat import BAR_PHASE, BEATS, CONFIDENCE, PHASE, BeatTracker
from kelly_edge.rhythm.count import COUNTED, OFF, READ, beat_count, count_anew, count_on, next_frame
from kelly_edge.rhythm.pulse import LONGEST, SHORTEST

Floats = NDArray[np.float64]
PERIODS = (float(SHORTEST), 56.0, float(LONGEST))


def counted(phases: Floats, period: float) -> tuple[int, Floats]:
    """How many beats begin while these phases are read, group by group; the count after each group."""
    count, n, rows = beat_count(), 0, []
    for phase in phases:
        per_frame = count_on(phase % 1.0, period, N_FRAMES, count)
        assert per_frame > 0.0
        n += sum(next_frame(per_frame, count) for _ in range(N_FRAMES))
        rows.append(count.copy())
    return n, np.array(rows)


def places(n_beats: int, period: float) -> Floats:
    """Beats passed at the end of each group, of a steady pulse."""
    return np.arange(1, int((n_beats + 0.5) * period / N_FRAMES) + 1) * N_FRAMES / period


@pytest.mark.parametrize("period", PERIODS)
def test_a_steady_pulse_is_counted_as_it_is_read(period: float) -> None:
    true = places(60, period)
    n, rows = counted(true + 0.3, period)
    assert n == int(true[-1] + 0.3)
    np.testing.assert_allclose(rows[:, COUNTED], (true + 0.3) % 1.0, atol=1e-9)
    assert np.abs(rows[:, OFF]).max() < 1e-9


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("seed", range(5))
def test_a_phase_that_springs_by_half_a_beat_and_back_loses_no_beat(period: float, seed: int) -> None:
    """Springs last up to two beats and come every four to eight, off by 0.4 to 0.5 either way."""
    rng, true = np.random.default_rng(seed), places(120, period)
    read, at = true.copy(), 4.0
    while at < true[-1] - 8.0:
        last = at + rng.uniform(0.3, 2.0)
        read[(true >= at) & (true < last)] += rng.choice((-1.0, 1.0)) * rng.uniform(0.4, 0.5)
        at += rng.uniform(4.0, 8.0)
    n, rows = counted(read, period)
    assert n == int(true[-1])
    # The phase read is that of the beat counted, or of a neighbour, and both come round together.
    np.testing.assert_allclose((rows[:, COUNTED] + rows[:, OFF] - read + 0.5) % 1.0, 0.5, atol=1e-9)


@pytest.mark.parametrize("period", PERIODS)
def test_it_follows_a_phase_that_stays_elsewhere(period: float) -> None:
    true = places(24, period)
    n, rows = counted(np.where(true < 8.0, true, true + 0.3), period)
    after = true > 13.0
    np.testing.assert_allclose(rows[after, COUNTED], (true[after] + 0.3) % 1.0, atol=0.02)
    assert n == int(true[-1] + 0.3)


def test_another_pulse_is_counted_where_it_was_read() -> None:
    _, rows = counted(np.where(places(9, 50.0) < 8.0, 0.0, 0.45) + places(9, 50.0), 50.0)
    count = rows[-1]
    assert abs(count[OFF]) > 0.1
    count_anew(count)
    assert (count[COUNTED], count[OFF]) == (count[READ], 0.0)


def test_beat_and_bar_come_round_together() -> None:
    """Clicks that leave open which of them is the beat: whatever is read, the bar lines are beats."""
    rng, tracker = np.random.default_rng(3), BeatTracker()
    for _ in range(200):
        frames = rng.uniform(0.0, 1.0, (N_FRAMES, 27)).astype(np.float32)
        frames[rng.integers(N_FRAMES)] += 3.0
        tracker.push(frames, rng.uniform(0.0, 0.5, 88).astype(np.float32))
        reading = tracker._state.reading
        beat = reading[BAR_PHASE] * reading[BEATS]
        assert 0.0 <= reading[BAR_PHASE] < 1.0
        assert 0.0 <= reading[CONFIDENCE] <= 1.0
        assert abs((beat - reading[PHASE] + 0.5) % 1.0 - 0.5) < 1e-9
