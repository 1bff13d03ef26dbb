"""The controls' promises: a distribution that sums to 1 below the band limit, and no noise above it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kelly_edge.contract import N_HARMONICS, SAMPLE_RATE_HZ
from kelly_edge.timbre.controls import (
    BAND_LIMIT_HZ,
    N_NOISE_TRAINED,
    N_RAW,
    Controls,
    decoder_inputs,
    fill_controls,
)

raw_outputs = arrays(np.float32, N_RAW, elements=st.floats(-20, 20, width=32))
any_raw = arrays(np.float32, N_RAW, elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@settings(max_examples=40, deadline=None)
@given(raw_outputs, st.floats(20.0, 11_000.0))
def test_the_distribution_sums_to_1_and_ends_at_the_band_limit(raw: np.ndarray, f0_hz: float) -> None:
    controls = Controls()
    fill_controls(raw, f0_hz, controls)
    harmonics = controls.harmonic_distribution
    assert harmonics.sum() == pytest.approx(1.0, abs=1e-5)
    above = np.arange(1, N_HARMONICS + 1) * f0_hz >= BAND_LIMIT_HZ
    assert not harmonics[above].any()
    assert harmonics[~above].all()
    assert 0.0 < controls.amplitude <= 2.0 + 1e-6


def test_a_pitch_above_the_band_limit_has_no_harmonics() -> None:
    controls = Controls()
    fill_controls(np.zeros(N_RAW, np.float32), BAND_LIMIT_HZ + 1.0, controls)
    assert not controls.harmonic_distribution.any()


def test_noise_stays_in_the_bands_that_were_trained() -> None:
    controls = Controls()
    fill_controls(np.full(N_RAW, 9.0, np.float32), 440.0, controls)
    assert controls.noise_magnitudes[:N_NOISE_TRAINED].all()
    assert not controls.noise_magnitudes[N_NOISE_TRAINED:].any()
    band_hz = SAMPLE_RATE_HZ / 2 / (len(controls.noise_magnitudes) - 1)
    assert BAND_LIMIT_HZ < N_NOISE_TRAINED * band_hz < 12_000.0


@settings(max_examples=40, deadline=None)
@given(any_raw, st.floats(allow_nan=True, allow_infinity=True))
def test_whatever_a_decoder_says_the_controls_are_finite_and_bounded(raw: np.ndarray, f0_hz: float) -> None:
    controls = Controls()
    fill_controls(raw, f0_hz, controls)
    for values in (controls.amplitude, controls.harmonic_distribution, controls.noise_magnitudes):
        assert np.all(np.isfinite(values))
        assert np.all((np.asarray(values) >= 0.0) & (np.asarray(values) <= 2.0 + 1e-6))


@pytest.mark.parametrize("x", [-12.0, -3.0, 0.0, 1.5, 8.0])
def test_the_amplitude_is_ddsp_s_scaled_sigmoid(x: float) -> None:
    raw = np.zeros(N_RAW, np.float32)
    raw[0] = x
    controls = Controls()
    fill_controls(raw, 440.0, controls)
    # Engel et al. 2020: 2 sigmoid(x) ** ln(10) + 1e-7
    expected = 2.0 * (1.0 / (1.0 + math.exp(-x))) ** math.log(10.0) + 1e-7
    assert controls.amplitude == pytest.approx(expected, rel=1e-9)


def test_a_decoder_reads_an_octave_as_a_third_and_40_db_as_1() -> None:
    low, high = decoder_inputs(220.0, -60.0), decoder_inputs(440.0, -20.0)
    assert high[0] - low[0] == pytest.approx(1.0 / 3.0)
    assert high[1] - low[1] == pytest.approx(1.0)
    assert all(math.isfinite(x) for x in decoder_inputs(0.0, -math.inf) + decoder_inputs(0.0, math.inf))
