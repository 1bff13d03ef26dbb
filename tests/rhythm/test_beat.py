"""The beat heard in synthesised playing: found, followed, and not claimed where there is none."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.contract import HEARD_DTYPE, SAMPLE_RATE_HZ
from kelly_edge.rhythm.beat import BeatTracker
from models.ensemble.evaluate import believed, hear
from models.ensemble.practice import accompanied, beat_times, hit, struck

SETTLED_S = 6.0
NEAR_S = 0.07
BELIEVED = 0.3


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def share_hit(sound: NDArray[Any], beats_s: NDArray[Any], begin_s: float = SETTLED_S) -> float:
    """Share of the beats believed from ``begin_s`` on that are beats, or of twice or half the tempo."""
    found_s, _ = believed(hear(sound))
    found_s = found_s[(found_s > begin_s) & (found_s < beats_s[-1])]
    grid_s = np.sort(np.concatenate([beats_s, (beats_s[1:] + beats_s[:-1]) / 2.0]))
    assert len(found_s) > 0.4 * np.count_nonzero(beats_s > begin_s)
    return float(np.mean(np.abs(found_s[:, None] - grid_s[None, :]).min(1) < NEAR_S))


def confident(sound: NDArray[Any]) -> float:
    """Share of the time from ``SETTLED_S`` on in which a beat is believed."""
    heard = hear(sound)
    return float(np.mean(heard["beat_confidence"][heard["time_s"] > SETTLED_S] > BELIEVED))


@pytest.mark.parametrize("bpm", [55, 75, 100, 130, 160])
@pytest.mark.parametrize("body_hz", [0.0, 850.0])
def test_a_drum_and_a_click_are_followed_at_every_tempo(bpm: int, body_hz: float) -> None:
    beats_s = beat_times([bpm] * int(18 * bpm / 60))
    sound = hit([(t, 1.0, body_hz) for t in beats_s], 18.0, rng())
    assert share_hit(sound, beats_s) > 0.95
    assert confident(sound) > 0.8


@pytest.mark.parametrize("bpm", [64, 80, 100, 120])
def test_the_beat_of_a_song_is_known_within_four_seconds(bpm: int) -> None:
    beats_s = beat_times([bpm] * int(16 * bpm / 60))
    sound = struck(accompanied(beats_s, 4), 16.0)
    heard = hear(sound)
    assert heard["time_s"][np.argmax(heard["beat_confidence"] > BELIEVED)] < 4.0
    assert share_hit(sound, beats_s, 4.0) > 0.95


@pytest.mark.parametrize("change", [1.1, 0.9])
def test_a_change_of_tempo_by_a_tenth_is_followed_within_three_beats(change: float) -> None:
    beats_s = beat_times([100.0] * 20 + [100.0 * change] * 20)
    sound = struck(accompanied(beats_s, 4), float(beats_s[-1]))
    assert share_hit(sound, beats_s, float(beats_s[23])) > 0.95
    heard = hear(sound)
    assert 60.0 / heard["beat_s"][-1] == pytest.approx(100.0 * change, rel=0.03)


def test_an_accelerando_from_80_to_110_in_20_s_is_followed() -> None:
    tempi, time_s = [], 0.0
    while time_s < 36.0:
        tempi.append(80.0 + 1.5 * min(max(time_s - 8.0, 0.0), 20.0))
        time_s += 60.0 / tempi[-1]
    beats_s = beat_times(tempi)
    assert share_hit(struck(accompanied(beats_s, 4), 36.0), beats_s) > 0.9


def test_swing_is_no_other_tempo() -> None:
    beats_s = beat_times([112.0] * 40)
    sound = struck(accompanied(beats_s, 4, swing=0.66), 21.0)
    found_s, _ = believed(hear(sound))
    found_s = found_s[found_s > SETTLED_S]
    assert len(found_s) > 5
    assert np.mean(np.abs(found_s[:, None] - beats_s[None, :]).min(1) < NEAR_S) > 0.8


def test_a_waltz_has_bars_of_three_that_begin_on_its_downbeats() -> None:
    beats_s = beat_times([132.0] * 46)
    notes = accompanied(beats_s, 3, parts=1)
    heard = hear(struck(notes, 20.0))
    _, lines_s = believed(heard)
    lines_s = lines_s[lines_s > SETTLED_S]
    assert np.median(heard["n_beats"][heard["time_s"] > SETTLED_S]) == 3
    assert np.mean(np.abs(lines_s[:, None] - beats_s[None, ::3]).min(1) < NEAR_S) > 0.8


def test_six_eighths_have_the_bar_line_of_their_bars() -> None:
    """Counted in two or, as a bar of three quarters, in three: the bar is the same."""
    beats_s = beat_times([70.0] * 26)
    heard = hear(struck(accompanied(beats_s, 2, parts=3), 20.0))
    bar_s = heard["beat_s"] * heard["n_beats"]
    late = heard["time_s"] > SETTLED_S
    ratio = np.median(bar_s[late]) / (2 * 60.0 / 70.0)
    assert min(abs(ratio - whole) for whole in (1.0, 2.0)) < 0.05


def test_rubato_has_no_beat() -> None:
    draw = np.random.default_rng(11)
    onsets_s = np.cumsum(draw.gamma(2.0, 0.3, 60))
    notes = [(t, 0.6, 60.0 + draw.integers(0, 12), 1.0) for t in onsets_s if t < 26.0]
    assert confident(struck(notes, 26.0)) < 0.4


def test_a_drone_noise_and_silence_have_no_beat() -> None:
    n = 15 * SAMPLE_RATE_HZ
    drone = (0.1 * np.sin(2.0 * np.pi * 220.0 * np.arange(n) / SAMPLE_RATE_HZ)).astype(np.float32)
    noise = (0.05 * rng().standard_normal(n)).astype(np.float32)
    for sound in (drone, noise, np.zeros(n, np.float32)):
        heard = hear(sound)
        assert np.all(heard["beat_s"][heard["time_s"] > 2.0] == 0.0)


def test_the_phase_does_not_depend_on_the_gain_and_begins_anew_after_a_reset() -> None:
    beats_s = beat_times([90.0] * 12)
    sound = struck(accompanied(beats_s, 4), 8.0)
    loud, soft = hear(sound), hear(0.1 * sound)
    np.testing.assert_allclose(loud["beat_s"][60:], soft["beat_s"][60:], rtol=0.03)
    tracker, record = BeatTracker(), np.zeros((), HEARD_DTYPE)
    frames, notes = rng().random((8, 27)).astype(np.float32), np.zeros(88, np.float32)
    readings = []
    for _ in range(2):
        tracker.reset()
        for k in range(20):
            tracker.push(frames * (k % 5 == 0), notes)
        tracker.fill(record)
        readings.append(record.copy())
    assert readings[0] == readings[1]
