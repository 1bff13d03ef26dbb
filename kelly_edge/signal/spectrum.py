"""Spectra of real frames, mel and log-frequency banks, and notes by non-negative least squares.

Magnitudes are scaled so that a sine of amplitude 1 reads 1 at its bin (Hann window). Banks are sparse:
(first bin, number of bins, weights) a band. Notes follow Mauch & Dixon, "Approximate note transcription
for the improved identification of difficult chords", ISMIR 2010: a whitened log-frequency spectrum with
three bins per semitone is explained by the 88 keys' harmonic series, solved with multiplicative updates
(Lee & Seung 2001). Mel is HTK's (2595 log10(1 + f/700)).
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.units import midi_to_hz

Float32 = NDArray[np.float32]
# Of a piano, as a MIDI note (MIDI 1.0), and number of its keys; three bins per semitone as in Mauch & Dixon
# (2010).
LOWEST_KEY: Final = 21
N_KEYS: Final = 88
BINS_PER_SEMITONE: Final = 3
N_LOG_BINS: Final = 274
"""From a third of a semitone below A0 to 5.3 kHz. Follows from both ends."""
HARMONIC_DECAY: Final = 0.7
"""Amplitude of each harmonic over the one below (Mauch & Dixon use 0.5 to 0.9). Chosen in the middle of
the range of Mauch & Dixon (2010)."""
N_HARMONICS_MODELLED: Final = 20
"""As in Mauch & Dixon (2010); those above the band are left out. Chosen."""
INHARMONICITY: Final = 2e-4
"""B of a middle piano string: partial h lies at h f0 sqrt(1 + B h^2). After Fletcher (1964); chosen in the
middle of a piano's range."""


class FftPlan(NamedTuple):
    """Tables of a real FFT of ``n`` samples: complex of half the length, as ``[n1, n2]``, in two passes."""

    window: Float32
    cos: Float32  # cos(2 pi k / n), k < n
    sin: Float32
    twist_cos: Float32  # [n2, n1], between the passes
    twist_sin: Float32
    scratch: Float32  # [4, n / 2]


class Bank(NamedTuple):
    """Sparse bands over a spectrum: band i covers bins first[i] .. first[i] + size[i]."""

    first: NDArray[np.int64]
    size: NDArray[np.int64]
    weights: Float32  # [n_bands, longest]


def fft_plan(n: int) -> FftPlan:
    """Plan for frames of ``n`` samples, a power of two from 8, with a periodic Hann window of sum 2."""
    half = n // 2
    n1 = 1 << (half.bit_length() - 1) // 2
    angle = 2.0 * np.pi * np.arange(n) / n
    twist = 2.0 * np.pi * np.outer(np.arange(half // n1), np.arange(n1)) / half
    window = 0.5 - 0.5 * np.cos(angle)
    return FftPlan(
        np.asarray(window * 2.0 / window.sum(), np.float32),
        np.cos(angle).astype(np.float32),
        np.sin(angle).astype(np.float32),
        np.cos(twist).astype(np.float32),
        np.sin(twist).astype(np.float32),
        np.zeros((4, half), np.float32),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _columns(
    n: int, n_columns: int, plan: FftPlan, re: Float32, im: Float32, re_out: Float32, im_out: Float32
) -> tuple[Float32, Float32, Float32, Float32]:
    """Transform each column of ``[n, n_columns]``: Stockham's radix 4, and 2 where ``n`` asks for it.

    Returns the pair that holds the result, then the other. One twiddle serves a whole run of the inner
    loop, which is what lets the compiler vectorise it.
    """
    cos, sin, run = plan.cos, plan.sin, n_columns
    while n >= 4:
        quarter, stride = n // 4, cos.shape[0] // n
        for p in range(quarter):
            k = p * stride
            c1, s1, c2, s2, c3, s3 = cos[k], sin[k], cos[2 * k], sin[2 * k], cos[3 * k], sin[3 * k]
            a, b, c, d = run * p, run * (p + quarter), run * (p + 2 * quarter), run * (p + 3 * quarter)
            re0, re1, re2, re3 = re[a : a + run], re[b : b + run], re[c : c + run], re[d : d + run]
            im0, im1, im2, im3 = im[a : a + run], im[b : b + run], im[c : c + run], im[d : d + run]
            for q in range(run):
                at = 4 * a + q
                e_re, e_im, f_re, f_im = re0[q] + re2[q], im0[q] + im2[q], re1[q] + re3[q], im1[q] + im3[q]
                g_re, g_im, h_re, h_im = re0[q] - re2[q], im0[q] - im2[q], re1[q] - re3[q], im1[q] - im3[q]
                re_out[at], im_out[at] = e_re + f_re, e_im + f_im
                x, y = g_re + h_im, g_im - h_re
                re_out[at + run], im_out[at + run] = x * c1 + y * s1, y * c1 - x * s1
                x, y = e_re - f_re, e_im - f_im
                re_out[at + 2 * run], im_out[at + 2 * run] = x * c2 + y * s2, y * c2 - x * s2
                x, y = g_re - h_im, g_im + h_re
                re_out[at + 3 * run], im_out[at + 3 * run] = x * c3 + y * s3, y * c3 - x * s3
        n, run = quarter, 4 * run
        re, im, re_out, im_out = re_out, im_out, re, im
    if n == 2:
        for q in range(run):
            re_out[q], re_out[q + run] = re[q] + re[q + run], re[q] - re[q + run]
            im_out[q], im_out[q + run] = im[q] + im[q + run], im[q] - im[q + run]
        re, im, re_out, im_out = re_out, im_out, re, im
    return re, im, re_out, im_out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _pairs(plan: FftPlan) -> tuple[Float32, Float32]:
    """Transform of the complex ``scratch[0] + i scratch[1]``: its real and imaginary parts."""
    scratch = plan.scratch
    n2, n1 = plan.twist_cos.shape
    re, im, re_out, im_out = _columns(n1, n2, plan, scratch[0], scratch[1], scratch[2], scratch[3])
    for j in range(n2):
        for k in range(n1):
            c, s, x, y = plan.twist_cos[j, k], plan.twist_sin[j, k], re[k * n2 + j], im[k * n2 + j]
            re_out[j * n1 + k], im_out[j * n1 + k] = x * c + y * s, y * c - x * s
    re, im, _, _ = _columns(n2, n1, plan, re_out, im_out, re, im)
    return re, im


@njit(cache=True)  # type: ignore[untyped-decorator]
def power_spectrum(frame: Float32, plan: FftPlan, out: Float32) -> None:
    """Squared magnitudes of the windowed ``frame`` [up to n] into ``out`` [up to n / 2 + 1].

    A shorter frame, of even length, is followed by silence; its window is the beginning of the plan's.
    """
    window, cos, sin, scratch = plan.window, plan.cos, plan.sin, plan.scratch
    half, filled = scratch.shape[1], frame.shape[0] // 2
    re, im = scratch[0], scratch[1]
    for i in range(filled):
        re[i] = frame[2 * i] * window[2 * i]
        im[i] = frame[2 * i + 1] * window[2 * i + 1]
    re[filled:], im[filled:] = np.float32(0.0), np.float32(0.0)
    re, im = _pairs(plan)
    # Unpack: even samples were the real part, odd ones the imaginary part.
    out[0] = (re[0] + im[0]) ** 2
    if out.shape[0] > half:
        out[half] = (re[0] - im[0]) ** 2
    a_half = np.float32(0.5)
    for k in range(1, min(half, out.shape[0])):
        m = half - k
        e_re, e_im = a_half * (re[k] + re[m]), a_half * (im[k] - im[m])
        o_re, o_im = a_half * (im[k] + im[m]), a_half * (re[m] - re[k])
        x_re = e_re + cos[k] * o_re + sin[k] * o_im
        x_im = e_im + cos[k] * o_im - sin[k] * o_re
        out[k] = x_re * x_re + x_im * x_im


@njit(cache=True)  # type: ignore[untyped-decorator]
def correlation(power: Float32, plan: FftPlan, out: Float32) -> None:
    """Autocorrelation of a frame, from its power spectrum; its first lags into ``out`` [up to n / 2].

    ``power`` is of even length, at most n / 2: there is nothing above. The correlation is circular, so the
    frame must have ended in as much silence as there are lags.
    """
    cos, sin, scratch = plan.cos, plan.sin, plan.scratch
    half, n_pairs = scratch.shape[1], power.shape[0] // 2
    re, im = scratch[0], scratch[1]
    re[:], im[:] = np.float32(0.0), np.float32(0.0)
    # The whole spectrum, mirrored; of a real and even sequence the transform is its own inverse.
    for i in range(n_pairs):
        re[i], im[i] = power[2 * i], power[2 * i + 1]
        im[half - 1 - i] = power[2 * i + 1]
    for i in range(1, n_pairs):
        re[half - i] = power[2 * i]
    re, im = _pairs(plan)
    scale = np.float32(0.5 / half)
    a_half = np.float32(0.5)
    out[0] = scale * (re[0] + im[0])
    for k in range(1, out.shape[0]):
        m = half - k
        real = a_half * (re[k] + re[m]) + a_half * cos[k] * (im[k] + im[m])
        out[k] = scale * (real + a_half * sin[k] * (re[m] - re[k]))


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


def log_bin_hz(tuning: float = 0.0) -> NDArray[np.float64]:
    """Centres of the log-frequency bins ``[N_LOG_BINS]``, ``tuning`` semitones above A = 440 Hz."""
    return midi_to_hz(LOWEST_KEY + tuning + (np.arange(N_LOG_BINS) - 1.0) / BINS_PER_SEMITONE)


def log_bank(n_fft: int, rate_hz: float, tuning: float = 0.0) -> Bank:
    """Log-frequency bands over a magnitude spectrum, ``tuning`` semitones up; weights of a band sum to 1.

    Bands are a bin of the FFT wide where a third of a semitone is narrower than that.
    """
    step = rate_hz / n_fft
    f = np.arange(n_fft // 2 + 1) * step
    rows = []
    for centre in log_bin_hz(tuning):
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
        peak = spectrum[i] - mean
        out[i] = peak / (mean + floor) ** power if peak > 0.0 else 0.0


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
