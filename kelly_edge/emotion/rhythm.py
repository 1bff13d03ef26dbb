"""What moves: level, spectral shape, onsets and tempo: 52 values a hop group, from 43 ms frames.

Eight frames of 512 samples at 12 kHz, 10.7 ms apart, make a group. Everything is relative to a running
mean of the power over 15 s, so that gain does not matter. The onset envelope is the rectified rise of the
log mel bands (Böck & Widmer's flux without the maximum filter, DAFx 2013); an onset is a peak of it above
its running mean; tempo is the lag of the strongest leaky autocorrelation, weighted as in Ellis (2007).
"""

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.tonality import CHORD_S, FAST_S, KEY_S, leak
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ
from kelly_edge.signal.spectrum import Bank, FftPlan, apply_bank, fft_plan, mel_bank, power_spectrum

Float32 = NDArray[np.float32]
FRAME: Final = 512
STEP: Final = 128
N_FRAMES: Final = 8
FRAME_RATE_HZ: Final = ANALYSIS_RATE_HZ / STEP
N_MEL: Final = 27
MEL_LOW_HZ: Final = 50.0
MEL_HIGH_HZ: Final = 5_400.0
N_LEVEL, N_SHAPE, N_RHYTHM = 3, 8, 14
N_LAGS: Final = 150
"""Longest lag of the autocorrelation, frames of 10.7 ms: 1.6 s."""
SHORTEST_LAG: Final = 18
"""312 beats a minute."""
TEMPO_BANDS: Final = (18, 28, 40, 56, 78, 108, 150)
"""Edges, in frames of lag, of the six bands of the tempogram: 312, 201, 141, 100, 72, 52, 37 bpm."""
FLOOR: Final = 1e-10


class RhythmTables(NamedTuple):
    """Constants of the kernel."""

    plan: FftPlan
    bank: Bank
    log2_hz: Float32  # [257]
    tempo_weight: Float32  # [N_LAGS + 1]
    bands: NDArray[np.int64]
    leaks: Float32  # 0.4, 1, 4, 15 s a group; 4 s a frame


class RhythmState(NamedTuple):
    """Everything the rhythm, level and shape features remember."""

    log_mel: Float32  # [27] of the last frame
    mel_mean: Float32  # [27] running mean of mel power, CHORD_S
    flux: Float32  # [N_LAGS + 1] ring of the onset envelope
    lags: Float32  # [N_LAGS + 1] leaky autocorrelation
    rates: Float32  # onsets a frame over 1, 4, 15 s
    moments: Float32  # flux: fast mean, chord mean, chord mean square; level: chord mean, mean square
    weights: Float32  # start corrections: 0.4, 1, 4, 15 s
    scalars: Float32  # power reference, ring index, frames since onset, bpm
    power: Float32
    group_power: Float32
    mel: Float32


@cache
def rhythm_tables() -> RhythmTables:
    """The constants and the scratch of one thread, built once."""
    f = np.maximum(np.arange(FRAME // 2 + 1), 1) * ANALYSIS_RATE_HZ / FRAME
    lag = np.maximum(np.arange(N_LAGS + 1), 1)
    bpm = 60.0 * FRAME_RATE_HZ / lag
    frame_leak = math.exp(-1.0 / (CHORD_S * FRAME_RATE_HZ))
    return RhythmTables(
        fft_plan(FRAME),
        mel_bank(N_MEL, MEL_LOW_HZ, MEL_HIGH_HZ, FRAME, ANALYSIS_RATE_HZ),
        np.log2(f).astype(np.float32),
        np.exp(-0.5 * (np.log2(bpm / 120.0) / 0.9) ** 2).astype(np.float32),
        np.array(TEMPO_BANDS),
        np.array([leak(FAST_S), leak(1.0), leak(CHORD_S), leak(KEY_S), frame_leak], np.float32),
    )


def rhythm_state() -> RhythmState:
    """Silence before the stream."""

    def zeros(n: int) -> Float32:
        return np.zeros(n, np.float32)

    return RhythmState(
        zeros(N_MEL),
        zeros(N_MEL),
        zeros(N_LAGS + 1),
        zeros(N_LAGS + 1),
        zeros(3),
        zeros(5),
        zeros(4),
        zeros(4),
        zeros(FRAME // 2 + 1),
        zeros(FRAME // 2 + 1),
        zeros(N_MEL),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _frame(frame: Float32, tables: RhythmTables, state: RhythmState) -> float:
    """One 10.7 ms frame: power, flux, autocorrelation; returns 1 at an onset (of the frame before)."""
    scalars, flux, n = state.scalars, state.flux, state.flux.shape[0]
    power_spectrum(frame, tables.plan, state.power)
    apply_bank(state.power, tables.bank, state.mel)
    reference = scalars[0] / max(state.weights[3], 1e-3) + FLOOR
    rise = 0.0
    for b in range(N_MEL):
        value = math.log(1.0 + 300.0 * state.mel[b] / reference)
        rise += max(0.0, value - state.log_mel[b])
        state.log_mel[b] = value
    rise /= N_MEL
    for i in range(state.power.shape[0]):
        state.group_power[i] += state.power[i] / N_FRAMES
    now = int(scalars[1])
    last, before = flux[(now - 1) % n], flux[(now - 2) % n]
    flux[now] = rise
    mean = state.moments[1] / max(state.weights[2], 1e-3)
    keep = tables.leaks[4]
    # The ring read backwards, in two straight runs.
    for lag in range(SHORTEST_LAG, min(now + 1, n)):
        product = (rise - mean) * (flux[now - lag] - mean)
        state.lags[lag] = keep * state.lags[lag] + (1.0 - keep) * product
    for lag in range(max(now + 1, SHORTEST_LAG), n):
        product = (rise - mean) * (flux[now - lag + n] - mean)
        state.lags[lag] = keep * state.lags[lag] + (1.0 - keep) * product
    scalars[1] = (now + 1) % n
    scalars[2] = min(scalars[2] + 1.0, 1_000.0)
    if last > before and last >= rise and last > 1.5 * mean + 0.06 and scalars[2] >= 6.0:
        scalars[2] = 0.0
        return 1.0
    return 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _shape(tables: RhythmTables, state: RhythmState, out: Float32) -> None:
    """Eight values of the group's spectrum: centroid, spread, roll-off, flatness, tilt, low, high, crest."""
    power, log2_hz = state.group_power, tables.log2_hz
    total, centroid, low, high, peak = FLOOR, 0.0, 0.0, 0.0, 0.0
    for i in range(2, power.shape[0]):
        total += power[i]
        centroid += power[i] * log2_hz[i]
        peak = max(peak, power[i])
        if i <= 11:
            low += power[i]
        if i >= 86:
            high += power[i]
    centroid = centroid / total if total > 2.0 * FLOOR else 9.0
    spread, rolloff, running = 0.0, 9.0, 0.0
    for i in range(2, power.shape[0]):
        spread += power[i] * (log2_hz[i] - centroid) ** 2
        if running < 0.85 * total:
            running += power[i]
            rolloff = log2_hz[i]
    mean_db, tilt, norm = 0.0, 0.0, 0.0
    for b in range(N_MEL):
        mean_db += state.mel[b] / N_MEL
    for b in range(N_MEL):
        x = b - 0.5 * (N_MEL - 1)
        tilt += x * state.mel[b]
        norm += x * x
    out[0] = centroid
    out[1] = math.sqrt(spread / total)
    out[2] = rolloff
    out[3] = mean_db
    out[4] = tilt / norm
    out[5] = 10.0 * math.log10((low + FLOOR) / total)
    out[6] = 10.0 * math.log10((high + FLOOR) / total)
    out[7] = 10.0 * math.log10((peak + FLOOR) / total)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tempo(tables: RhythmTables, state: RhythmState, out: Float32) -> None:
    """Six bands of the normalised tempogram, log2 tempo against 120, pulse clarity: 8 values."""
    n = state.lags.shape[0]
    mean = state.moments[1] / max(state.weights[2], 1e-3)
    variance = max(state.moments[2] / max(state.weights[2], 1e-3) - mean * mean, 0.0) + 1e-4
    best, value = SHORTEST_LAG, 0.0
    for band in range(6):
        top = 0.0
        for lag in range(tables.bands[band], min(tables.bands[band + 1], n)):
            top = max(top, state.lags[lag])
            weighted = state.lags[lag] * tables.tempo_weight[lag]
            if weighted > value:
                best, value = lag, weighted
        out[band] = min(top / variance, 1.0)
    clarity = min(max(state.lags[best], 0.0) / variance, 1.0)
    bpm = 60.0 * FRAME_RATE_HZ / best
    out[6] = math.log2(bpm / 120.0) if value > 0.0 else 0.0
    out[7] = clarity
    state.scalars[3] = bpm if clarity > 0.1 and value > 0.0 else 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def rhythm_step(
    window: Float32,
    tables: RhythmTables,
    state: RhythmState,
    mel: Float32,
    level: Float32,
    shape: Float32,
    rhythm: Float32,
) -> None:
    """One hop group of ``window`` (newest 1,408 samples used): 27, 3, 8 and 14 values."""
    leaks, scalars, moments, weights = tables.leaks, state.scalars, state.moments, state.weights
    for s in range(4):
        weights[s] = leaks[s] * weights[s] + (1.0 - leaks[s])
    samples = N_FRAMES * STEP
    square = 0.0
    for i in range(window.shape[0] - samples, window.shape[0]):
        square += window[i] * window[i]
    square /= samples
    # Hann windows of sum 2: a spectrum's powers sum to about 3 times the mean square.
    scalars[0] = leaks[3] * scalars[0] + (1.0 - leaks[3]) * square
    state.group_power[:] = 0.0
    onsets, total, total_square = 0.0, 0.0, 0.0
    start = window.shape[0] - samples - FRAME + STEP
    for i in range(N_FRAMES):
        onsets += _frame(window[start + i * STEP : start + i * STEP + FRAME], tables, state)
        rise = state.flux[(int(state.scalars[1]) - 1) % state.flux.shape[0]]
        total += rise / N_FRAMES
        total_square += rise * rise / N_FRAMES
    moments[0] = leaks[0] * moments[0] + (1.0 - leaks[0]) * total
    moments[1] = leaks[2] * moments[1] + (1.0 - leaks[2]) * total
    moments[2] = leaks[2] * moments[2] + (1.0 - leaks[2]) * total_square
    for s in range(3):
        state.rates[s] = leaks[s + 1] * state.rates[s] + (1.0 - leaks[s + 1]) * onsets
        rhythm[s] = state.rates[s] / weights[s + 1]

    reference = scalars[0] / weights[3] + FLOOR
    apply_bank(state.group_power, tables.bank, state.mel)
    for b in range(N_MEL):
        state.mel_mean[b] = leaks[1] * state.mel_mean[b] + (1.0 - leaks[1]) * state.mel[b]
        mel[b] = 10.0 * math.log10(state.mel_mean[b] / weights[1] / reference + 1e-7)
        state.mel[b] = 10.0 * math.log10(state.mel[b] / reference + 1e-7)
    level_db = 10.0 * math.log10(square / reference + 1e-5)
    moments[3] = leaks[2] * moments[3] + (1.0 - leaks[2]) * level_db
    moments[4] = leaks[2] * moments[4] + (1.0 - leaks[2]) * level_db * level_db
    mean = moments[3] / weights[2]
    level[0] = level_db
    level[1] = level_db - mean
    level[2] = math.sqrt(max(moments[4] / weights[2] - mean * mean, 0.0))

    _shape(tables, state, shape)
    rhythm[3] = moments[0] / weights[0]
    rhythm[4] = moments[1] / weights[2]
    rhythm[5] = math.sqrt(max(moments[2] / weights[2] - rhythm[4] ** 2, 0.0))
    _tempo(tables, state, rhythm[6:14])
