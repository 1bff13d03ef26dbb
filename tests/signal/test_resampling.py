"""Resampling: transparent to 20 kHz, the delay exactly as computed, and the same however the blocks come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelly_edge.signal.resampling import TAPS, Resampler, delay_s

soxr = pytest.importorskip("soxr")

BOTH = [(44_100, 48_000), (48_000, 44_100)]
LONGEST = 256


def resampled(samples: np.ndarray, from_hz: int, to_hz: int, size: int = LONGEST) -> np.ndarray:
    resampler = Resampler(from_hz, to_hz, LONGEST)
    blocks = [samples[i : i + size].astype(np.float32) for i in range(0, len(samples), size)]
    return np.concatenate([resampler.process(block).copy() for block in blocks])


def sine(frequency_hz: float, rate_hz: int, n: int, delayed_s: float = 0.0) -> np.ndarray:
    return np.sin(2.0 * np.pi * frequency_hz * (np.arange(n) / rate_hz - delayed_s))


@pytest.mark.parametrize(("from_hz", "to_hz"), BOTH)
@pytest.mark.parametrize("frequency_hz", [20.0, 997.0, 8_000.0, 15_000.0, 20_000.0])
def test_a_tone_comes_out_at_its_level_and_late_by_exactly_the_delay(
    from_hz: int, to_hz: int, frequency_hz: float
) -> None:
    out = resampled(sine(frequency_hz, from_hz, 16_384), from_hz, to_hz)
    wanted = sine(frequency_hz, to_hz, len(out), delay_s(from_hz))
    error_db = 20.0 * np.log10(np.max(np.abs(out - wanted)[2 * TAPS :]))
    assert error_db < (-80.0 if frequency_hz < 20_000 else -50.0)


@pytest.mark.parametrize(("from_hz", "to_hz"), BOTH)
def test_what_aliases_below_20_khz_is_80_db_down(from_hz: int, to_hz: int) -> None:
    top_hz = from_hz / 2
    for frequency_hz in np.arange(to_hz - 20_000.0, top_hz, 137.0):
        out = resampled(sine(frequency_hz, from_hz, 8_192), from_hz, to_hz)[2 * TAPS :]
        spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out)))) / (len(out) / 4)
        audible = spectrum[np.fft.rfftfreq(len(out), 1 / to_hz) < 20_000.0 - 100.0]
        assert 20.0 * np.log10(audible.max()) < -80.0


@pytest.mark.parametrize(("from_hz", "to_hz"), BOTH)
def test_it_agrees_with_libsoxr(from_hz: int, to_hz: int) -> None:
    rng = np.random.default_rng(1)
    noise = soxr.resample(rng.standard_normal(12_000), 16_000, from_hz, "VHQ")  # nothing above 8 kHz
    ours = resampled(noise, from_hz, to_hz)
    theirs = soxr.resample(noise, from_hz, to_hz, "VHQ")
    n = 1 << 14
    ours_f, theirs_f = np.fft.rfft(ours[:n]), np.fft.rfft(theirs[:n])
    shift = np.exp(-2j * np.pi * np.fft.rfftfreq(n, 1 / to_hz) * delay_s(from_hz))
    # soxr's comes without a delay: put it in, which no whole number of samples does.
    late = np.fft.irfft(theirs_f * shift, n)
    assert np.max(np.abs(late - np.fft.irfft(ours_f, n))[1_000:-1_000]) < 2e-3 * np.abs(noise).max()


@pytest.mark.parametrize(("from_hz", "to_hz"), BOTH)
@given(sizes=st.lists(st.integers(1, LONGEST), min_size=1, max_size=40))
def test_the_blocks_do_not_matter(from_hz: int, to_hz: int, sizes: list[int]) -> None:
    samples = np.random.default_rng(2).standard_normal(sum(sizes)).astype(np.float32)
    resampler, done, parts = Resampler(from_hz, to_hz, LONGEST), 0, []
    for size in sizes:
        parts.append(resampler.process(samples[done : done + size]).copy())
        done += size
        # Never behind: every output whose inputs are all there is out.
        assert sum(map(len, parts)) == -(-done * to_hz // from_hz)
    np.testing.assert_allclose(np.concatenate(parts), resampled(samples, from_hz, to_hz), atol=2e-6)


def test_silence_and_constants_stay_what_they_are() -> None:
    for value in (0.0, 1.0, -0.5):
        out = resampled(np.full(4_096, value), 44_100, 48_000)
        np.testing.assert_allclose(out[2 * TAPS :], value, atol=1e-6)
