"""The loudness meter's promises: the A curve, DDSP's scale, silence at the floor, no NaN."""

import librosa
import numpy as np
import pytest

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LOUDNESS_FLOOR_DB, SCALE, LoudnessMeter, a_weighting_filter


def loudness_db(sound: np.ndarray, meter: LoudnessMeter | None = None) -> np.ndarray:
    meter = meter or LoudnessMeter()
    result = []
    for hop in sound[: len(sound) // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE):
        meter.push(hop)
        result.append(meter.loudness_db)
    return np.array(result)


def tone(f_hz: float, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2.0 * np.pi * f_hz * np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)


@pytest.mark.parametrize("f_hz", [41.2, 100.0, 250.0, 1_000.0, 3_000.0, 5_000.0, 8_000.0])
def test_a_tone_is_weighted_by_the_a_curve_within_1_db(f_hz: float) -> None:
    expected = 10.0 * np.log10(SCALE * 0.1**2 / 2.0) + float(librosa.A_weighting(np.array([f_hz]))[0])
    settled = loudness_db(tone(f_hz))[60:]
    # Power of a low tone ripples within the window: its mean is judged.
    assert 10.0 * np.log10(np.mean(10.0 ** (settled / 10.0))) == pytest.approx(expected, abs=1.0)


def test_the_filter_follows_the_curve_up_to_8_khz_and_lies_below_it_above() -> None:
    hz = np.geomspace(30.0, 8_000.0, 200)
    b, a = a_weighting_filter(SAMPLE_RATE_HZ)

    def gain_db(f_hz: np.ndarray) -> np.ndarray:
        z = np.exp(2j * np.pi * f_hz / SAMPLE_RATE_HZ)
        return 20.0 * np.log10(np.abs(np.polyval(b, z) / np.polyval(a, z)))

    np.testing.assert_allclose(gain_db(hz), librosa.A_weighting(hz), atol=1.0)
    high = np.linspace(12_000.0, 20_000.0, 20)
    assert np.all(gain_db(high) < librosa.A_weighting(high))


def test_the_scale_is_that_of_ddsp_s_spectral_loudness() -> None:
    """``compute_loudness`` of DDSP (Engel et al. 2020) written out: 512-point Hann STFT at 16 kHz."""
    rng = np.random.default_rng(0)
    at_48 = np.sum([tone(f, level=rng.uniform(0.02, 0.1)) for f in (220.0, 660.0, 1_540.0, 3_300.0)], axis=0)
    at_16 = at_48[::3]
    frames = np.lib.stride_tricks.sliding_window_view(at_16, 512)[::64]
    power = np.abs(np.fft.rfft(frames * np.hanning(513)[:-1])) ** 2
    hz = np.fft.rfftfreq(512, 1.0 / 16_000.0)
    weights = 10.0 ** (librosa.A_weighting(np.maximum(hz, 1.0)) / 10.0)
    # DDSP averages over the 257 bins, each standing for two of the 512 but for the first and the last.
    expected = 10.0 * np.log10(np.mean(power * weights))
    assert np.median(loudness_db(at_48)[60:]) == pytest.approx(expected, abs=0.5)


def test_the_loudness_of_an_onset_is_half_risen_after_the_stated_delay() -> None:
    sound = np.concatenate([np.zeros(SAMPLE_RATE_HZ // 4), tone(1_000.0, 0.5)])
    power = 10.0 ** (loudness_db(sound) / 10.0)
    ends = (np.arange(len(power)) + 1) * HOP_SIZE
    half = np.interp(
        0.5 * power[-10:].mean(), power[: int(np.argmax(power)) + 1], ends[: int(np.argmax(power)) + 1]
    )
    assert half == pytest.approx(SAMPLE_RATE_HZ // 4 + LoudnessMeter.delay_samples, abs=HOP_SIZE // 2)


def test_silence_is_at_the_floor_also_after_a_sound() -> None:
    meter = LoudnessMeter()
    assert loudness_db(np.zeros(20 * HOP_SIZE), meter).max() == LOUDNESS_FLOOR_DB
    assert loudness_db(tone(440.0), meter)[-1] > -30.0
    assert loudness_db(np.zeros(SAMPLE_RATE_HZ), meter)[-1] == LOUDNESS_FLOOR_DB


def test_nan_and_infinities_count_as_silence() -> None:
    sound = tone(440.0)
    broken = sound.copy()
    broken[5_000:5_020] = [np.nan, np.inf, -np.inf, np.nan] * 5
    silenced = sound.copy()
    silenced[5_000:5_020] = 0.0
    np.testing.assert_array_equal(loudness_db(broken), loudness_db(silenced))


def test_the_largest_floats_leave_it_finite_and_it_recovers() -> None:
    meter = LoudnessMeter()
    assert np.all(np.isfinite(loudness_db(np.full(20 * HOP_SIZE, np.finfo(np.float32).max), meter)))
    assert np.all(np.isfinite(loudness_db(tone(440.0), meter)))
    meter.reset()
    np.testing.assert_array_equal(loudness_db(tone(440.0), meter), loudness_db(tone(440.0)))
