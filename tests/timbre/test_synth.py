"""The synthesiser: exact sines, silence above the band limit, no clicks, the same samples again."""

import numpy as np
import pytest

from kelly_edge.contract import HOP_RATE_HZ, HOP_SIZE, N_HARMONICS, N_NOISE_BANDS, SAMPLE_RATE_HZ
from kelly_edge.timbre.controls import BAND_FADE_HZ, BAND_LIMIT_HZ, Controls
from kelly_edge.timbre.synth import NOISE_DELAY, Synth


def controls(amplitude: float, harmonics: dict[int, float], noise: float = 0.0) -> Controls:
    result = Controls(amplitude, noise_magnitudes=np.full(N_NOISE_BANDS, noise, np.float32))
    for number, share in harmonics.items():
        result.harmonic_distribution[number - 1] = share
    return result


def played(
    some: Controls | list[Controls], f0s_hz: np.ndarray, seed: int = 0, synth: Synth | None = None
) -> np.ndarray:
    synth = synth or Synth(seed)
    out = np.zeros((len(f0s_hz), HOP_SIZE), np.float32)
    for i, f0_hz in enumerate(f0s_hz):
        synth.play(some[i] if isinstance(some, list) else some, float(f0_hz), 1.0, out[i])
    return out.reshape(-1)


def ramped(n_hops: int) -> np.ndarray:
    """The synthesiser rises over its first hop."""
    return np.minimum(np.arange(1, n_hops * HOP_SIZE + 1) / HOP_SIZE, 1.0)


@pytest.mark.parametrize("f0_hz", [41.2, 65.4, 155.0, 220.0])
def test_steady_harmonics_are_sines_within_1e_5(f0_hz: float) -> None:
    rng = np.random.default_rng(1)
    n_whole = min(N_HARMONICS, int((BAND_LIMIT_HZ - BAND_FADE_HZ) / f0_hz))
    levels = rng.dirichlet(np.ones(n_whole)).astype(np.float32)
    sound = played(controls(0.8, dict(enumerate(levels.tolist(), start=1))), np.full(100, f0_hz))
    cycles = np.arange(1, len(sound) + 1) * (f0_hz / SAMPLE_RATE_HZ)
    expected = 0.8 * sum(a * np.sin(2.0 * np.pi * k * cycles) for k, a in enumerate(levels.astype(float), 1))
    np.testing.assert_allclose(sound, expected * ramped(100), atol=1e-5)


def test_a_glide_follows_the_integral_of_its_frequency() -> None:
    ends_hz = np.geomspace(100.0, 900.0, 80)
    sound = played(controls(0.5, {1: 1.0}), ends_hz)
    starts_hz = np.concatenate([ends_hz[:1], ends_hz[:-1]])
    share = np.arange(1, HOP_SIZE + 1) / HOP_SIZE
    f0 = (starts_hz[:, None] + share * (ends_hz - starts_hz)[:, None]).reshape(-1)
    expected = 0.5 * np.sin(2.0 * np.pi * np.cumsum(f0 / SAMPLE_RATE_HZ)) * ramped(80)
    np.testing.assert_allclose(sound, expected, atol=1e-5)


def test_harmonics_fade_out_below_the_band_limit() -> None:
    def level(f0_hz: float, number: int) -> float:
        return float(np.abs(played(controls(1.0, {number: 1.0}), np.full(20, f0_hz))[HOP_SIZE:]).max())

    assert level(1_000.0, 10) == pytest.approx(1.0, abs=0.01)
    assert level((BAND_LIMIT_HZ - 0.5 * BAND_FADE_HZ) / 11.0, 11) == pytest.approx(0.5, abs=0.01)
    assert level((BAND_LIMIT_HZ - 0.01 * BAND_FADE_HZ) / 11.0, 11) < 0.02


@pytest.mark.parametrize("f0_hz", [11_501.0, 12_000.0, 24_000.0, 40_000.0, 1e30, np.inf, np.nan, 0.0, -440.0])
def test_above_the_band_limit_and_at_no_frequency_it_is_silent(f0_hz: float) -> None:
    everything = controls(2.0, dict.fromkeys(range(1, N_HARMONICS + 1), 1.0 / N_HARMONICS))
    assert not played(everything, np.full(10, f0_hz)).any()


def test_no_power_lies_above_the_band_limit_in_any_glide() -> None:
    everything = controls(1.0, dict.fromkeys(range(1, N_HARMONICS + 1), 1.0 / N_HARMONICS))
    sound = played(everything, np.geomspace(60.0, 3_000.0, 400))[HOP_SIZE:].astype(float)
    spectrum = np.abs(np.fft.rfft(sound * np.blackman(len(sound)))) ** 2
    hz = np.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE_HZ)
    assert spectrum[hz > BAND_LIMIT_HZ + 500.0].sum() < 1e-6 * spectrum.sum()


def sine_s_second_difference(f0_hz: float, shares: dict[int, float]) -> float:
    return sum(a * (2.0 * np.pi * k * f0_hz / SAMPLE_RATE_HZ) ** 2 for k, a in shares.items())


def test_changes_at_every_hop_click_at_no_boundary() -> None:
    """A click is a jump or a corner: a second difference larger than the loudest, highest sines have."""
    rng = np.random.default_rng(2)
    shares = {1: 0.7, 2: 0.2, 5: 0.1}
    f0s_hz = rng.uniform(300.0, 500.0, 400)
    sound = played([controls(rng.uniform(0.0, 1.0), shares) for _ in f0s_hz], f0s_hz).astype(float)
    second = np.abs(np.diff(sound, 2))
    # Levels turn a corner at a boundary: at most from rising to falling by 1 in a hop.
    corner = 2.0 / HOP_SIZE
    assert second.max() < 1.05 * sine_s_second_difference(500.0, shares) + corner
    # The same samples with a hop left out do click: the bound can be missed.
    assert np.abs(np.diff(np.delete(sound, slice(5_120, 5_376)), 2)).max() > 2.0 * second.max()


def test_a_note_begins_and_ends_without_a_click_at_its_own_pitch() -> None:
    some = [controls(float(on), {1: 1.0}) for on in [0] * 5 + [1] * 20 + [0] * 5]
    f0s_hz = np.array([100.0] * 5 + [400.0] * 25)
    sound = played(some, f0s_hz).astype(float)
    assert np.abs(np.diff(sound, 2)).max() < 1.05 * sine_s_second_difference(400.0, {1: 1.0}) + 1.0 / HOP_SIZE
    assert not sound[: 5 * HOP_SIZE].any()
    assert not sound[-4 * HOP_SIZE :].any()
    middle = sound[6 * HOP_SIZE : 25 * HOP_SIZE]
    n_crossings = np.count_nonzero(np.diff(np.signbit(middle)))
    assert n_crossings == pytest.approx(2.0 * 400.0 * len(middle) / SAMPLE_RATE_HZ, abs=1.0)


def test_a_minute_of_random_pitch_and_level_stays_bounded_and_ends_in_silence() -> None:
    rng = np.random.default_rng(3)
    synth, some = Synth(0), controls(0.0, dict.fromkeys(range(1, N_HARMONICS + 1), 1.0 / N_HARMONICS))
    out = np.zeros(HOP_SIZE, np.float32)
    peaks = []
    for _ in range(round(60.0 * HOP_RATE_HZ)):
        some.amplitude = float(rng.choice([0.0, rng.uniform(0.0, 2.0)]))
        some.noise_magnitudes[:] = rng.uniform(0.0, 0.1)
        synth.play(some, float(10.0 ** rng.uniform(-3.0, 5.0)), 1.0, out)
        peaks.append(float(np.abs(out).max()))
    assert np.all(np.isfinite(peaks))
    # Harmonics sum to the amplitude at most; noise to its taps' sum times its magnitude.
    assert max(peaks) < 2.0 + 1.0
    assert max(peaks) > 0.5
    some.amplitude = 0.0
    some.noise_magnitudes[:] = 0.0
    for _ in range(3):
        synth.play(some, 440.0, 1.0, out)
    assert not out.any()


def test_controls_that_are_not_finite_are_silent_and_leave_no_trace() -> None:
    synth = Synth(0)
    broken = controls(np.nan, {1: 1.0}, noise=np.inf)
    assert not played(broken, np.full(3, 440.0), synth=synth).any()
    good = controls(0.5, {1: 1.0})
    healed = played(good, np.full(10, 440.0), synth=synth)
    assert np.abs(healed).max() == pytest.approx(0.5, abs=1e-3)


def test_a_seed_gives_the_same_noise_and_another_seed_another() -> None:
    hiss, f0s_hz = controls(0.0, {}, noise=0.1), np.full(50, 440.0)
    first = played(hiss, f0s_hz, seed=7)
    assert np.array_equal(first, played(hiss, f0s_hz, seed=7))
    assert not np.array_equal(first, played(hiss, f0s_hz, seed=8))
    synth = Synth(7)
    played(hiss, f0s_hz, synth=synth)
    synth.reset()
    assert np.array_equal(first, played(hiss, f0s_hz, synth=synth))


def test_noise_is_white_at_its_magnitude_and_stays_in_its_band() -> None:
    hiss, f0s_hz = controls(0.0, {}, noise=0.3), np.full(400, 440.0)
    sound = played(hiss, f0s_hz)[HOP_SIZE:].astype(float)
    # Uniform noise in -1..1 has a variance of 1/3.
    assert sound.std() == pytest.approx(0.3 / np.sqrt(3.0), rel=0.02)
    band = controls(0.0, {})
    band.noise_magnitudes[10] = 1.0
    sound = played(band, f0s_hz)[HOP_SIZE:].astype(float)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    hz = np.fft.rfftfreq(len(sound), 1.0 / SAMPLE_RATE_HZ)
    assert spectrum[np.abs(hz - 3_750.0) < 800.0].sum() > 0.99 * spectrum.sum()


def test_noise_comes_later_by_the_stated_delay() -> None:
    quiet, hiss = controls(0.0, {}), controls(0.0, {}, noise=1.0)
    sound = played([quiet, hiss, quiet, quiet], np.full(4, 440.0)).astype(float)
    power = sound**2
    centre = float((np.arange(len(power)) * power).sum() / power.sum())
    assert centre == pytest.approx(HOP_SIZE + (HOP_SIZE - 1) / 2 + NOISE_DELAY, abs=10.0)
