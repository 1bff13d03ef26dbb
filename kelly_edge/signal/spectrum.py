"""Spectra of real frames, mel and log-frequency banks, and notes by non-negative least squares.

Magnitudes are scaled so that a sine of amplitude 1 reads 1 at its bin (Hann window). Banks are sparse:
(first bin, number of bins, weights) a band. Notes follow Mauch & Dixon, "Approximate note transcription
for the improved identification of difficult chords", ISMIR 2010: a whitened log-frequency spectrum with
three bins a semitone is explained by the 88 keys' harmonic series, solved with multiplicative updates
(Lee & Seung 2001). Mel is HTK's (2595 log10(1 + f/700)).
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.units import midi_to_hz

Float32 = NDArray[np.float32]
LOWEST_KEY: Final = 21
N_KEYS: Final = 88
BINS_PER_SEMITONE: Final = 3
N_LOG_BINS: Final = 274
"""From a third of a semitone below A0 to 5.3 kHz."""
HARMONIC_DECAY: Final = 0.7
"""Amplitude of each harmonic over the one below (Mauch & Dixon use 0.5 to 0.9)."""
N_HARMONICS_MODELLED: Final = 20
INHARMONICITY: Final = 2e-4
"""B of a middle piano string: partial h lies at h f0 sqrt(1 + B h^2)."""


class FftPlan(NamedTuple):
    """Tables of a real FFT of ``2 * len(bit_reversed)`` samples, radix 2 on half the length."""

    window: Float32
    bit_reversed: NDArray[np.int64]
    cos: Float32  # cos(2 pi k / n), k < n / 2
    sin: Float32
    re: Float32  # scratch [n / 2]
    im: Float32


class Bank(NamedTuple):
    """Sparse bands over a spectrum: band i covers bins first[i] .. first[i] + size[i]."""

    first: NDArray[np.int64]
    size: NDArray[np.int64]
    weights: Float32  # [n_bands, longest]


def fft_plan(n: int) -> FftPlan:
    """Plan for frames of ``n`` samples, a power of two, with a periodic Hann window of sum 2."""
    half, bits = n // 2, (n // 2).bit_length() - 1
    reversed_bits = np.zeros(half, np.int64)
    for i in range(half):
        reversed_bits[i] = int(f"{i:0{bits}b}"[::-1], 2)
    angle = 2.0 * np.pi * np.arange(half) / n
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
    return FftPlan(
        np.asarray(window * 2.0 / window.sum(), np.float32),
        reversed_bits,
        np.cos(angle).astype(np.float32),
        np.sin(angle).astype(np.float32),
        np.zeros(half, np.float32),
        np.zeros(half, np.float32),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def power_spectrum(frame: Float32, plan: FftPlan, out: Float32) -> None:
    """Squared magnitudes of the windowed ``frame`` [n] into ``out`` [n / 2 + 1]."""
    window, reversed_bits, cos, sin, re, im = plan
    half = re.shape[0]
    for i in range(half):
        j = reversed_bits[i]
        re[i] = frame[2 * j] * window[2 * j]
        im[i] = frame[2 * j + 1] * window[2 * j + 1]
    size = 2
    while size <= half:
        mid = size // 2
        stride = 2 * half // size
        for start in range(0, half, size):
            for k in range(mid):
                c, s = cos[k * stride], sin[k * stride]
                a, b = start + k, start + k + mid
                t_re = re[b] * c + im[b] * s
                t_im = im[b] * c - re[b] * s
                re[b] = re[a] - t_re
                im[b] = im[a] - t_im
                re[a] += t_re
                im[a] += t_im
        size *= 2
    # Unpack: even samples were the real part, odd ones the imaginary part.
    out[0] = (re[0] + im[0]) ** 2
    out[half] = (re[0] - im[0]) ** 2
    for k in range(1, half):
        m = half - k
        e_re, e_im = 0.5 * (re[k] + re[m]), 0.5 * (im[k] - im[m])
        o_re, o_im = 0.5 * (im[k] + im[m]), 0.5 * (re[m] - re[k])
        x_re = e_re + cos[k] * o_re + sin[k] * o_im
        x_im = e_im + cos[k] * o_im - sin[k] * o_re
        out[k] = x_re * x_re + x_im * x_im


def _bank(rows: list[NDArray[np.float64]]) -> Bank:
    first = np.array([np.flatnonzero(r)[0] for r in rows])
    size = np.array([np.flatnonzero(r)[-1] + 1 for r in rows]) - first
    weights = np.zeros((len(rows), int(size.max())), np.float32)
    for i, row in enumerate(rows):
        weights[i, : size[i]] = row[first[i] : first[i] + size[i]]
    return Bank(first, size, weights)


def mel_bank(n_bands: int, low_hz: float, high_hz: float, n_fft: int, rate_hz: float) -> Bank:
    """Triangles of peak 1, centres equally spaced in mel between the edges."""
    low_mel, high_mel = (2_595.0 * math.log10(1.0 + f_hz / 700.0) for f_hz in (low_hz, high_hz))
    edges_mel = np.linspace(low_mel, high_mel, n_bands + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2_595.0) - 1.0)
    f = np.arange(n_fft // 2 + 1) * rate_hz / n_fft
    rows = []
    for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
        rows.append(np.maximum(0.0, np.minimum((f - low) / (mid - low), (high - f) / (high - mid))))
    return _bank(rows)


def log_bin_hz() -> NDArray[np.float64]:
    """Centre frequencies of the log-frequency bins, ``[N_LOG_BINS]``."""
    return midi_to_hz(LOWEST_KEY + (np.arange(N_LOG_BINS) - 1.0) / BINS_PER_SEMITONE)


def log_bank(n_fft: int, rate_hz: float) -> Bank:
    """Log-frequency bands over a magnitude spectrum; weights of a band sum to 1.

    Bands are a bin of the FFT wide where a third of a semitone is narrower than that.
    """
    step = rate_hz / n_fft
    f = np.arange(n_fft // 2 + 1) * step
    rows = []
    for centre in log_bin_hz():
        half_width = max(centre * (2.0 ** (1.0 / (12 * BINS_PER_SEMITONE)) - 1.0), step)
        row = np.maximum(0.0, 1.0 - np.abs(f - centre) / half_width)
        rows.append(row / row.sum())
    return _bank(rows)


@njit(cache=True)  # type: ignore[untyped-decorator]
def apply_bank(spectrum: Float32, bank: Bank, out: Float32) -> None:
    """Weighted sums of ``spectrum`` into ``out`` ``[n_bands]``."""
    first, size, weights = bank
    for i in range(out.shape[0]):
        total = np.float32(0.0)
        for j in range(size[i]):
            total += weights[i, j] * spectrum[first[i] + j]
        out[i] = total


def note_templates(n_fft: int, rate_hz: float) -> Float32:
    """What each key's harmonic series looks like in log bins: ``[N_LOG_BINS, N_KEYS]``, unit columns."""
    step = rate_hz / n_fft
    f = np.arange(n_fft // 2 + 1) * step
    first, size, weights = log_bank(n_fft, rate_hz)
    columns = []
    for key in range(N_KEYS):
        f0 = float(midi_to_hz(float(LOWEST_KEY + key)))
        spectrum = np.zeros(f.size)
        for h in range(1, N_HARMONICS_MODELLED + 1):
            x = (f - h * f0 * np.sqrt(1.0 + INHARMONICITY * h * h)) / step
            # Main lobe of the Hann window, in bins: sinc(x) / (1 - x^2).
            lobe = np.sinc(x) / np.where(np.abs(np.abs(x) - 1.0) < 1e-9, 2.0, 1.0 - x * x)
            spectrum += HARMONIC_DECAY ** (h - 1) * np.where(np.abs(x) < 2.0, np.abs(lobe), 0.0)
        column = np.array(
            [weights[i, :c] @ spectrum[a : a + c] for i, (a, c) in enumerate(zip(first, size, strict=True))]
        )
        columns.append(column / np.linalg.norm(column))
    return np.asarray(np.stack(columns, 1), np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def whiten(spectrum: Float32, half_width: int, power: float, floor: float, out: Float32) -> None:
    """Peaks above the local mean, divided by that mean to ``power``: timbre and level matter less."""
    n = spectrum.shape[0]
    total = 0.0
    for i in range(min(half_width, n)):
        total += spectrum[i]
    for i in range(n):
        if i + half_width < n:
            total += spectrum[i + half_width]
        if i - half_width - 1 >= 0:
            total -= spectrum[i - half_width - 1]
        mean = max(total, 0.0) / (min(i + half_width, n - 1) - max(i - half_width, 0) + 1)
        out[i] = max(spectrum[i] - mean, 0.0) / (mean + floor) ** power


@njit(cache=True)  # type: ignore[untyped-decorator]
def nnls(
    observed: Float32,
    templates: Float32,
    gram: Float32,
    n_updates: int,
    activations: Float32,
    projected: Float32,
    modelled: Float32,
) -> None:
    """Improve ``activations`` ``[n_keys]`` (>= 0, warm start) so that templates @ activations = observed.

    ``projected`` and ``modelled`` are scratch ``[n_keys]``; ``gram`` is templates.T @ templates.
    """
    n = activations.shape[0]
    projected[:] = 0.0
    for i in range(observed.shape[0]):
        y = observed[i]
        if y > 0.0:
            row = templates[i]
            for k in range(n):
                projected[k] += y * row[k]
    for _ in range(n_updates):
        modelled[:] = np.float32(1e-9)
        for j in range(n):
            a = activations[j]
            if a > 1e-6:
                row = gram[j]
                for k in range(n):
                    modelled[k] += a * row[k]
        for k in range(n):
            activations[k] *= projected[k] / modelled[k]
