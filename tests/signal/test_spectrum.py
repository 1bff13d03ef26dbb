"""Spectra, banks and note activations against numpy and librosa."""

import numpy as np
import pytest

from kelly_edge.signal.spectrum import (
    LOWEST_KEY,
    N_KEYS,
    N_LOG_BINS,
    apply_bank,
    fft_plan,
    log_bank,
    log_bin_hz,
    mel_bank,
    nnls,
    note_templates,
    power_spectrum,
    whiten,
)

RATE_HZ = 12_000
N_FFT = 4_096


@pytest.fixture(scope="module")
def templates() -> np.ndarray:
    return note_templates(N_FFT, RATE_HZ)


def spectrum(frame: np.ndarray) -> np.ndarray:
    out = np.zeros(frame.size // 2 + 1, np.float32)
    power_spectrum(frame.astype(np.float32), fft_plan(frame.size), out)
    return out


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128, 512, 1_024, 4_096])
def test_power_spectrum_is_numpys(n: int) -> None:
    frame = np.random.default_rng(n).uniform(-1, 1, n)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
    expected = np.abs(np.fft.rfft(frame * window * 2.0 / window.sum())) ** 2
    np.testing.assert_allclose(spectrum(frame), expected, rtol=1e-3, atol=1e-7)
    assert np.abs(spectrum(frame) - expected).max() < 1e-6 * expected.max()


def test_a_unit_sine_reads_one_at_its_bin() -> None:
    n, k = 512, 40
    power = spectrum(np.sin(2.0 * np.pi * k * np.arange(n) / n))
    assert power[k] == pytest.approx(1.0, abs=1e-4)
    assert power.argmax() == k


def test_mel_bank_is_librosas_htk_filters() -> None:
    librosa = pytest.importorskip("librosa", reason="librosa is an oracle of the tests")
    bank = mel_bank(27, 50.0, 5_400.0, 512, RATE_HZ)
    wanted = librosa.filters.mel(
        sr=RATE_HZ, n_fft=512, n_mels=27, fmin=50.0, fmax=5_400.0, htk=True, norm=None
    )
    power = np.random.default_rng(0).uniform(0, 1, 257).astype(np.float32)
    out = np.zeros(27, np.float32)
    apply_bank(power, bank, out)
    np.testing.assert_allclose(out, wanted @ power, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("midi", [33, 57, 69, 93])
def test_a_sine_peaks_in_the_log_bin_of_its_note(midi: int) -> None:
    f_hz = 440.0 * 2.0 ** ((midi - 69) / 12)
    magnitude = np.sqrt(spectrum(np.sin(2.0 * np.pi * f_hz * np.arange(N_FFT) / RATE_HZ)))
    out = np.zeros(N_LOG_BINS, np.float32)
    apply_bank(magnitude, log_bank(N_FFT, RATE_HZ), out)
    assert abs(1_200.0 * np.log2(log_bin_hz()[out.argmax()] / f_hz)) <= 35.0


def test_nnls_recovers_a_chord_of_templates(templates: np.ndarray) -> None:
    truth = np.zeros(N_KEYS, np.float32)
    truth[[60 - LOWEST_KEY, 64 - LOWEST_KEY, 67 - LOWEST_KEY]] = (1.0, 0.7, 0.5)
    activations = np.full(N_KEYS, 0.1, np.float32)
    scratch = np.zeros((2, N_KEYS), np.float32)
    gram = np.ascontiguousarray(templates.T @ templates)
    nnls(templates @ truth, templates, gram, 300, activations, scratch[0], scratch[1])
    assert set(np.argsort(activations)[-3:] + LOWEST_KEY) == {60, 64, 67}
    np.testing.assert_allclose(activations, truth, atol=0.08)
    assert (activations >= 0).all()


def test_nnls_of_silence_dies_out(templates: np.ndarray) -> None:
    activations = np.ones(N_KEYS, np.float32)
    scratch = np.zeros((2, N_KEYS), np.float32)
    gram = np.ascontiguousarray(templates.T @ templates)
    nnls(np.zeros(N_LOG_BINS, np.float32), templates, gram, 5, activations, scratch[0], scratch[1])
    assert activations.max() == 0.0


def test_whitening_removes_a_floor_and_keeps_peaks() -> None:
    flat = np.full(100, 0.3, np.float32)
    out = np.zeros(100, np.float32)
    whiten(flat, 10, 0.6, 0.05, out)
    np.testing.assert_allclose(out, 0.0, atol=1e-6)
    flat[40] = 2.0
    whiten(flat, 10, 0.6, 0.05, out)
    assert out.argmax() == 40
    assert out[40] > 1.0
