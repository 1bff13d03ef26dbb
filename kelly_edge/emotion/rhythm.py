"""What moves: spectral shape, onsets and tempo: 49 values per hop group, from 43 ms frames.

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

from kelly_edge.emotion.running_means import (
    CHORD_S,
    FAST_S,
    KEY_S,
    LEVELS,
    NUMBER,
    SQUARES,
    count_level,
    leak,
    level_spread,
)
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ
from kelly_edge.signal.spectrum import Bank, FftPlan, apply_bank, fft_plan, mel_bank, power_spectrum

Float32 = NDArray[np.float32]
# Samples, samples and frames, at 12 kHz. Chosen: short enough for onsets, long enough for bass partials;
# eight frames make a hop group.
FRAME: Final = 512
STEP: Final = 128
N_FRAMES: Final = 8
FRAME_RATE_HZ: Final = ANALYSIS_RATE_HZ / STEP
# Chosen: the outline of the spectrum, not single partials, over the band that is analysed.
N_MEL: Final = 27
MEL_LOW_HZ: Final = 50.0
MEL_HIGH_HZ: Final = 5_400.0
N_LAGS: Final = 150
"""Longest lag of the autocorrelation, frames of 10.7 ms: 1.6 s. Chosen: two beats at 75 bpm, one at 37."""
SHORTEST_LAG: Final = 18
"""312 beats per minute. Chosen: faster pulses are subdivisions."""
TEMPO_BANDS: Final = (18, 28, 40, 56, 78, 108, 150)
"""Edges, in frames of lag, of the six bands of the tempogram: 312, 201, 141, 100, 72, 52, 37 bpm. Chosen:
about half an octave of tempo each."""
ATTACK: Final = 0.6
"""Nepers by which a mel band rises within ``N_PAST`` frames at an attack. Chosen by hand: 2.6 dB for what
is loud."""
# Frames: 32 ms. Chosen by hand.
N_PAST: Final = 3
PEAK_FRAMES: Final = 6
"""The level of an onset is the loudest of this many frames; two onsets, or attacks of a band, are at least
as far apart. Chosen: 64 ms, a sixteenth at 234 beats per minute."""
FLOOR: Final = 1e-10
"""Power added where a quotient or logarithm needs one: -100 dBFS. Chosen: about 16-bit recordings' own
noise."""
COMPRESSION: Final = 300.0
"""Log mel is log(1 + this × power over the mean of 15 s): what lies 25 dB below the mean hardly counts.
Chosen by hand."""
ONSET_ABOVE_MEAN, ONSET_LEAST = 1.5, 0.06
"""An onset's flux is above its mean of 4 s times the first, plus the second (nepers). Chosen by hand."""
CLEAR: Final = 0.1
"""Pulse clarity from which a tempo is named. Chosen by hand."""
FAST, SECOND, CHORD, KEY, FRAME_CHORD = range(5)
"""Time constants .4, 1, 4, 15 s per group, and 4 s per frame, in the order of ``RhythmTables.leaks``;
``weights`` has the first four."""
POWER, NOW, SINCE_ONSET, BPM, ATTACKS, PEAK = range(6)
"""Slots of ``RhythmState.scalars``: mean square (15 s); where the flux of the next frame goes in its ring;
frames since the last onset; tempo, 0 unknown; attacks of the group in all bands; greatest power since."""
ONSETS_1S, ONSETS_4S, ONSETS_15S, ATTACKS_4S = range(4)
"""Slots of ``RhythmState.rates``, per group."""
FLUX_FAST, FLUX_CHORD, FLUX_SQUARE = range(3)
"""Slots of ``RhythmState.moments``: running mean of the flux (.4 s, 4 s) and of its square (4 s)."""

SHAPE: Final = (
    ("centroid", 1),
    ("bandwidth", 1),
    ("tilt_db", 1),
    ("low_share_db", 1),
    ("high_share_db", 1),
    ("crest_db", 1),
)
"""What ``_shape`` writes, in order: name and number of values, as in ``features.FEATURES``."""
CENTROID, BANDWIDTH, TILT, LOW_SHARE, HIGH_SHARE, CREST = range(6)
LOW_TOP, HIGH_BOTTOM = 11, 86
"""Last bin of the low share and first of the high share: 258 Hz and 2,016 Hz. Chosen: middle C, and three
octaves above it."""
RHYTHM: Final = (
    ("onset_rate", 3),
    ("attack_rate", 1),
    ("onset_level_spread_db", 1),
    ("attack_level_spread_db", 1),
    ("flux_fast", 1),
    ("flux", 1),
    ("tempogram", 6),
    ("tempo", 1),
    ("pulse_clarity", 1),
)
"""What ``rhythm_step`` writes into ``rhythm``, in order: name and number of values, as in ``FEATURES``."""
ATTACK_RATE, ONSET_SPREAD, ATTACK_SPREAD, OUT_FLUX_FAST, OUT_FLUX, TEMPOGRAM = range(3, 9)
TEMPO, PULSE_CLARITY = 14, 15
"""Definition of this module's order of outputs."""


class RhythmTables(NamedTuple):
    """Constants of the kernel."""

    plan: FftPlan
    bank: Bank  # 27 mel bands
    log2_hz: Float32  # [257] of the bins
    tempo_weight: Float32  # [151] by lag
    bands: NDArray[np.int64]  # [7] edges of the tempogram, frames of lag
    leaks: Float32  # [5] share kept: see FAST


class RhythmState(NamedTuple):
    """Everything the rhythm, level and shape features remember."""

    past: Float32  # [3, 27] log mel of the last frames, newest last
    since: Float32  # [27] frames since the band's attack
    peaks: Float32  # [27] the loudest power since then
    attacks: Float32  # [3, 27] attacks of a band, KEY_S: number, sum of levels in dB, of squares
    mel_mean: Float32  # [27] running mean of mel power, CHORD_S
    flux: Float32  # [N_LAGS + 1] ring of the onset envelope
    lags: Float32  # [N_LAGS + 1] leaky autocorrelation
    rates: Float32  # [4] see ONSETS_1S
    moments: Float32  # [3] see FLUX_FAST
    levels: Float32  # [3] onsets, KEY_S: number, sum of levels in dB, of squares
    weights: Float32  # [4] how much of each running mean is real: 1 - leak ** n
    scalars: Float32  # [6] see POWER
    power: Float32  # [257] of the frame
    group_power: Float32  # [257] mean of the group's frames
    mel: Float32  # [27] of the frame, then of the group
    frames: Float32  # [N_FRAMES, 27] log mel of the group's frames


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
        # The preferred tempo, 120 bpm, and 0.9 octaves of spread, as in Ellis (2007).
        np.exp(-0.5 * (np.log2(bpm / 120.0) / 0.9) ** 2).astype(np.float32),
        np.array(TEMPO_BANDS),
        np.array([leak(FAST_S), leak(1.0), leak(CHORD_S), leak(KEY_S), frame_leak], np.float32),
    )


def rhythm_state() -> RhythmState:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    scalars = zeros(6)
    scalars[SINCE_ONSET] = PEAK_FRAMES
    return RhythmState(
        zeros(N_PAST, N_MEL),
        np.full(N_MEL, PEAK_FRAMES, np.float32),
        zeros(N_MEL),
        zeros(3, N_MEL),
        zeros(N_MEL),
        zeros(N_LAGS + 1),
        zeros(N_LAGS + 1),
        zeros(4),
        zeros(3),
        zeros(3),
        zeros(4),
        scalars,
        zeros(FRAME // 2 + 1),
        zeros(FRAME // 2 + 1),
        zeros(N_MEL),
        zeros(N_FRAMES, N_MEL),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _frame(frame: Float32, tables: RhythmTables, state: RhythmState) -> float:
    """One 10.7 ms frame: power, flux, autocorrelation; returns 1 at an onset (of the frame before)."""
    scalars, flux, n, past = state.scalars, state.flux, state.flux.shape[0], state.past
    power_spectrum(frame, tables.plan, state.power)
    apply_bank(state.power, tables.bank, state.mel)
    reference = scalars[POWER] / max(state.weights[KEY], 1e-3) + FLOOR
    rise = 0.0
    for b in range(N_MEL):
        value = math.log(1.0 + COMPRESSION * state.mel[b] / reference)
        rise += max(0.0, value - past[N_PAST - 1, b])
        lowest = value
        for i in range(N_PAST):
            lowest = min(lowest, past[i, b])
        state.since[b] += 1.0
        state.peaks[b] = max(state.peaks[b], state.mel[b])
        if state.since[b] == PEAK_FRAMES - 1:
            count_level(state.attacks[:, b], 10.0 * math.log10(state.peaks[b] / reference + 1e-6))
        if value - lowest > ATTACK and state.since[b] >= PEAK_FRAMES:
            scalars[ATTACKS] += 1.0
            state.since[b] = 0.0
            state.peaks[b] = state.mel[b]
        for i in range(N_PAST - 1):
            past[i, b] = past[i + 1, b]
        past[N_PAST - 1, b] = value
    rise /= N_MEL
    power = 0.0
    for i in range(state.power.shape[0]):
        state.group_power[i] += state.power[i] / N_FRAMES
        power += state.power[i]
    now = int(scalars[NOW])
    last, before = flux[(now - 1) % n], flux[(now - 2) % n]
    flux[now] = rise
    mean = state.moments[FLUX_CHORD] / max(state.weights[CHORD], 1e-3)
    keep = tables.leaks[FRAME_CHORD]
    # The ring read backwards, in two straight runs.
    for lag in range(SHORTEST_LAG, min(now + 1, n)):
        product = (rise - mean) * (flux[now - lag] - mean)
        state.lags[lag] = keep * state.lags[lag] + (1.0 - keep) * product
    for lag in range(max(now + 1, SHORTEST_LAG), n):
        product = (rise - mean) * (flux[now - lag + n] - mean)
        state.lags[lag] = keep * state.lags[lag] + (1.0 - keep) * product
    scalars[NOW] = (now + 1) % n
    scalars[SINCE_ONSET] = min(scalars[SINCE_ONSET] + 1.0, 1_000.0)
    scalars[PEAK] = max(scalars[PEAK], power)
    if scalars[SINCE_ONSET] == PEAK_FRAMES - 1:
        count_level(state.levels, 10.0 * math.log10(scalars[PEAK] / reference + 1e-6))
    is_peak = last > before and last >= rise and last > ONSET_ABOVE_MEAN * mean + ONSET_LEAST
    if is_peak and scalars[SINCE_ONSET] >= PEAK_FRAMES:
        scalars[SINCE_ONSET] = 0.0
        scalars[PEAK] = power
        return 1.0
    return 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def _shape(tables: RhythmTables, state: RhythmState, out: Float32) -> None:
    """Six values of the group's spectrum: centroid, spread, tilt, low, high, crest."""
    power, log2_hz = state.group_power, tables.log2_hz
    total, centroid, low, high, peak = FLOOR, 0.0, 0.0, 0.0, 0.0
    for i in range(2, power.shape[0]):
        total += power[i]
        centroid += power[i] * log2_hz[i]
        peak = max(peak, power[i])
        if i <= LOW_TOP:
            low += power[i]
        if i >= HIGH_BOTTOM:
            high += power[i]
    centroid = centroid / total if total > 2.0 * FLOOR else 9.0
    spread, tilt, norm = 0.0, 0.0, 0.0
    for i in range(2, power.shape[0]):
        spread += power[i] * (log2_hz[i] - centroid) ** 2
    for b in range(N_MEL):
        x = b - 0.5 * (N_MEL - 1)
        tilt += x * state.mel[b]
        norm += x * x
    out[CENTROID] = centroid
    out[BANDWIDTH] = math.sqrt(spread / total)
    out[TILT] = tilt / norm
    out[LOW_SHARE] = 10.0 * math.log10((low + FLOOR) / total)
    out[HIGH_SHARE] = 10.0 * math.log10((high + FLOOR) / total)
    out[CREST] = 10.0 * math.log10((peak + FLOOR) / total)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tempo(tables: RhythmTables, state: RhythmState, out: Float32) -> None:
    """Six bands of the normalised tempogram, log2 tempo against 120, pulse clarity: 8 values."""
    n = state.lags.shape[0]
    mean = state.moments[FLUX_CHORD] / max(state.weights[CHORD], 1e-3)
    variance = max(state.moments[FLUX_SQUARE] / max(state.weights[CHORD], 1e-3) - mean * mean, 0.0) + 1e-4
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
    out[TEMPO - TEMPOGRAM] = math.log2(bpm / 120.0) if value > 0.0 else 0.0
    out[PULSE_CLARITY - TEMPOGRAM] = clarity
    state.scalars[BPM] = bpm if clarity > CLEAR and value > 0.0 else 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def rhythm_step(
    window: Float32,
    tables: RhythmTables,
    state: RhythmState,
    mel: Float32,
    shape: Float32,
    rhythm: Float32,
) -> None:
    """One hop group of ``window`` (newest 1,408 samples used): 27, 6 and 16 values."""
    leaks, scalars, moments, weights = tables.leaks, state.scalars, state.moments, state.weights
    for s in range(4):
        weights[s] = leaks[s] * weights[s] + (1.0 - leaks[s])
    samples = N_FRAMES * STEP
    square = 0.0
    for i in range(window.shape[0] - samples, window.shape[0]):
        square += window[i] * window[i]
    square /= samples
    # Hann windows of sum 2: a spectrum's powers sum to about 3 times the mean square.
    scalars[POWER] = leaks[KEY] * scalars[POWER] + (1.0 - leaks[KEY]) * square
    state.group_power[:] = 0.0
    scalars[ATTACKS] = 0.0
    for i in range(3):
        state.levels[i] *= leaks[KEY]
        for b in range(N_MEL):
            state.attacks[i, b] *= leaks[KEY]
    onsets, total, total_square = 0.0, 0.0, 0.0
    start = window.shape[0] - samples - FRAME + STEP
    for i in range(N_FRAMES):
        onsets += _frame(window[start + i * STEP : start + i * STEP + FRAME], tables, state)
        state.frames[i] = state.past[N_PAST - 1]
        rise = state.flux[(int(state.scalars[NOW]) - 1) % state.flux.shape[0]]
        total += rise / N_FRAMES
        total_square += rise * rise / N_FRAMES
    moments[FLUX_FAST] = leaks[FAST] * moments[FLUX_FAST] + (1.0 - leaks[FAST]) * total
    moments[FLUX_CHORD] = leaks[CHORD] * moments[FLUX_CHORD] + (1.0 - leaks[CHORD]) * total
    moments[FLUX_SQUARE] = leaks[CHORD] * moments[FLUX_SQUARE] + (1.0 - leaks[CHORD]) * total_square
    for s in range(3):
        state.rates[s] = leaks[s + 1] * state.rates[s] + (1.0 - leaks[s + 1]) * onsets
        rhythm[s] = state.rates[s] / weights[s + 1]
    attacks = (1.0 - leaks[CHORD]) * scalars[ATTACKS] / N_MEL
    state.rates[ATTACKS_4S] = leaks[CHORD] * state.rates[ATTACKS_4S] + attacks
    rhythm[ATTACK_RATE] = state.rates[ATTACKS_4S] / weights[CHORD]
    rhythm[ONSET_SPREAD] = level_spread(state.levels)
    number, deviation = 1e-6, 0.0
    for b in range(N_MEL):
        # About each band's own mean: an instrument's timbre does not count.
        n, levels = state.attacks[NUMBER, b], state.attacks[LEVELS, b]
        if n > 0.5:
            number += n
            deviation += max(state.attacks[SQUARES, b] - levels**2 / n, 0.0)
    rhythm[ATTACK_SPREAD] = math.sqrt(deviation / number)

    reference = scalars[POWER] / weights[KEY] + FLOOR
    apply_bank(state.group_power, tables.bank, state.mel)
    for b in range(N_MEL):
        state.mel_mean[b] = leaks[SECOND] * state.mel_mean[b] + (1.0 - leaks[SECOND]) * state.mel[b]
        mel[b] = 10.0 * math.log10(state.mel_mean[b] / weights[SECOND] / reference + 1e-7)
        state.mel[b] = 10.0 * math.log10(state.mel[b] / reference + 1e-7)

    _shape(tables, state, shape)
    rhythm[OUT_FLUX_FAST] = moments[FLUX_FAST] / weights[FAST]
    rhythm[OUT_FLUX] = moments[FLUX_CHORD] / weights[CHORD]
    _tempo(tables, state, rhythm[TEMPOGRAM:])
