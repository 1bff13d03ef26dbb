"""What the harmony says, whatever the key: 68 values from note activations, once a hop group.

Notes (``signal.spectrum.nnls``) fold into leaky chromas; Albrecht & Shanahan's key profiles (Music
Perception 31:1, 2013) give a posterior over the 12 diatonic collections (C major = A minor = 0); chroma,
bass and triads are then *rotated into* that collection's degrees, weighted by the posterior, so that a
transposed piece gives the same numbers. Every running mean is corrected for its start (a mean of what was
heard so far), so the first seconds are usable.
"""

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ
from kelly_edge.signal.spectrum import (
    BINS_PER_SEMITONE,
    LOWEST_KEY,
    N_KEYS,
    N_LOG_BINS,
    Bank,
    FftPlan,
    apply_bank,
    fft_plan,
    log_bank,
    nnls,
    note_templates,
    power_spectrum,
    whiten,
)

Float32 = NDArray[np.float32]
WINDOW: Final = 4096
"""341 ms at 12 kHz: 2.9 Hz a bin."""
MAJOR: Final = (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081)
MINOR: Final = (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052)
FAST_S: Final = 0.4
CHORD_S: Final = 4.0
KEY_S: Final = 15.0
SHARPNESS: Final = 12.0
"""Of the posterior: softmax of SHARPNESS times the correlations."""
TRIAD_SHARPNESS: Final = 8.0
BASS_TOP: Final = 52 - LOWEST_KEY
"""Keys up to E3 make the bass chroma."""
WHITENING: Final = 0.6
HALF_WIDTH: Final = 18
"""Local mean for whitening: half an octave either side."""
N_UPDATES: Final = 20
TUNING_STEP: Final = 0.05
"""Semitones from one bank of log-frequency bands to the next: 5 cents."""
N_TUNINGS: Final = 25
"""Banks from -0.6 to +0.6 semitones: beyond a half, so that a tuning near it does not flap between keys."""
TUNING_S: Final = 6.0
"""Time constant of the tuning estimate: steady under vibrato, and a slow drift is followed."""
TUNING_LOWEST: Final = 3 * (45 - LOWEST_KEY)
"""First log-frequency bin that tunes: A2. Below, a bin of the FFT is as wide as a third of a semitone."""


def leak(time_constant_s: float) -> float:
    """What a running mean keeps of its past from one hop group to the next."""
    return math.exp(-1.0 / (time_constant_s * EMOTION_RATE_HZ))


class TonalTables(NamedTuple):
    """Constants of the kernel."""

    plan: FftPlan
    banks: Bank  # one for each tuning: [N_TUNINGS, …]
    templates: Float32
    gram: Float32
    profiles: Float32  # [24, 12]: 12 majors then 12 minors by tonic, zero mean, unit norm
    leaks: Float32  # fast, chord, key, tuning


class TonalState(NamedTuple):
    """Everything the tonal features remember."""

    notes: Float32  # [88] activations
    previous: Float32  # [88]
    chroma: Float32  # [3, 12] fast, chord, key
    bass: Float32  # [12]
    triads: Float32  # [24]
    register: Float32  # [7]
    struck: Float32  # notes that began, KEY_S: number, sum of levels, of squares, of steps; the last level
    weights: Float32  # [3] how much of each running mean is real: 1 - leak ** n
    scalars: Float32  # power reference, note-onset rate, best key, key margin, change, sounding share, swells
    tuning: Float32  # leaky sum of the phases of a semitone: cosine, sine; semitones above A = 440 Hz
    power: Float32  # scratch [2049]
    log_spectrum: Float32
    observed: Float32
    projected: Float32
    modelled: Float32


@cache
def tonal_tables() -> TonalTables:
    """The constants and the scratch of one thread, built once (about a tenth of a second)."""
    templates = note_templates(WINDOW, ANALYSIS_RATE_HZ)
    profiles = np.array([np.roll(p, t) for p in (MAJOR, MINOR) for t in range(12)])
    profiles -= profiles.mean(1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    return TonalTables(
        fft_plan(WINDOW),
        _banks(),
        templates,
        np.ascontiguousarray(templates.T @ templates),
        profiles.astype(np.float32),
        np.array([leak(FAST_S), leak(CHORD_S), leak(KEY_S), leak(TUNING_S)], np.float32),
    )


def _banks() -> Bank:
    """The log-frequency bands at every tuning, from the lowest."""
    tunings = TUNING_STEP * (np.arange(N_TUNINGS) - N_TUNINGS // 2)
    banks = [log_bank(WINDOW, ANALYSIS_RATE_HZ, float(t)) for t in tunings]
    longest = max(bank.weights.shape[1] for bank in banks)
    weights = [np.pad(bank.weights, ((0, 0), (0, longest - bank.weights.shape[1]))) for bank in banks]
    return Bank(np.stack([b.first for b in banks]), np.stack([b.size for b in banks]), np.stack(weights))


def tonal_state() -> TonalState:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    return TonalState(
        np.full(N_KEYS, 0.01, np.float32),
        zeros(N_KEYS),
        zeros(3, 12),
        zeros(12),
        zeros(24),
        zeros(7),
        zeros(5),
        zeros(3),
        np.array([0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0], np.float32),
        zeros(3),
        zeros(WINDOW // 2 + 1),
        zeros(N_LOG_BINS),
        zeros(N_LOG_BINS),
        zeros(N_KEYS),
        zeros(N_KEYS),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _correlate(chroma: Float32, profiles: Float32, out: Float32) -> None:
    """Pearson correlation of a chroma with each of the 24 profiles; 0 for a flat chroma."""
    mean = chroma.mean()
    norm = 0.0
    for p in range(12):
        norm += (chroma[p] - mean) ** 2
    norm = math.sqrt(norm) + 1e-9
    for k in range(24):
        total = 0.0
        for p in range(12):
            total += (chroma[p] - mean) * profiles[k, p]
        out[k] = total / norm


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rotate(values: Float32, posterior: Float32, out: Float32) -> None:
    """Expected values by degree above the collection's major tonic, scaled to a sum of 1."""
    total = 1e-9
    for p in range(12):
        total += values[p]
    out[:] = 0.0
    for c in range(12):
        w = posterior[c] / total
        for d in range(12):
            out[d] += w * values[(c + d) % 12]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tuning_index(tuning: float) -> int:
    """Which bank is nearest to a tuning in semitones."""
    return min(max(math.floor(tuning / TUNING_STEP + N_TUNINGS // 2 + 0.5), 0), N_TUNINGS - 1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _tune(state: TonalState, keep: float) -> None:
    """Follow the tuning: the phase of the whitened spectrum at a period of one semitone (Mauch & Dixon 2010).

    The spectrum was taken with the bank of the tuning so far, so that the phase is what is left to correct.
    """
    observed, tuning = state.observed, state.tuning
    below, on, above = 0.0, 0.0, 0.0
    for i in range(TUNING_LOWEST, N_LOG_BINS - 2, 3):
        below += observed[i]
        on += observed[i + 1]
        above += observed[i + 2]
    cosine, sine = on - 0.5 * (below + above), 0.8660254 * (above - below)
    # The phase left is turned back by the tuning of the bank, so that sums of different banks agree.
    bank = TUNING_STEP * (_tuning_index(tuning[2]) - N_TUNINGS // 2)
    c, s = math.cos(2.0 * math.pi * bank), math.sin(2.0 * math.pi * bank)
    tuning[0] = keep * tuning[0] + (1.0 - keep) * (cosine * c - sine * s)
    tuning[1] = keep * tuning[1] + (1.0 - keep) * (cosine * s + sine * c)
    wanted = math.atan2(tuning[1], tuning[0]) / (2.0 * math.pi)
    # The nearest of the tunings a semitone apart, unless that leaves the banks: then the keys are renamed.
    wanted += math.floor(tuning[2] - wanted + 0.5)
    furthest = TUNING_STEP * (N_TUNINGS // 2)
    if wanted > furthest:
        _rename(state, 1)
        wanted -= 1.0
    elif wanted < -furthest:
        _rename(state, -1)
        wanted += 1.0
    tuning[2] = wanted


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rename(state: TonalState, semitones: int) -> None:
    """Every key and pitch class remembered is called ``semitones`` (1 or -1) higher from now on."""
    keys = state.notes.copy()
    for k in range(N_KEYS):
        state.notes[k] = keys[min(max(k - semitones, 0), N_KEYS - 1)]
    chroma, bass, triads = state.chroma.copy(), state.bass.copy(), state.triads.copy()
    for p in range(12):
        source = (p - semitones) % 12
        for s in range(3):
            state.chroma[s, p] = chroma[s, source]
        state.bass[p] = bass[source]
        for q in range(2):
            state.triads[12 * q + p] = triads[12 * q + source]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _notes(window: Float32, tables: TonalTables, state: TonalState) -> float:
    """Update ``state.notes``; returns local spectral flatness (noise about .56, a chord under .2)."""
    power = state.power
    power_spectrum(window, tables.plan, power)
    # Flatness in half-octave bands from 110 Hz, weighted by energy: the colour of a noise does not count.
    flat, energy, low = 0.0, 1e-12, 38
    while low < 1800:
        high = low + low // 2
        top = min(high, 2049)
        arithmetic, geometric, product = 0.0, 0.0, 1.0
        for i in range(low, top):
            value = power[i] + 1e-14
            arithmetic += value
            product *= value
            # A logarithm costs more than ten products; float64 holds many of them.
            if product < 1e-200 or product > 1e200:
                geometric += math.log(product)
                product = 1.0
        geometric += math.log(product)
        # Energy times flatness (geometric over arithmetic mean): the energy cancels.
        flat += math.exp(geometric / (top - low)) * (top - low)
        energy += arithmetic
        low = high
    for i in range(power.shape[0]):
        power[i] = math.sqrt(power[i])
    banks, at = tables.banks, _tuning_index(state.tuning[2])
    apply_bank(power, Bank(banks.first[at], banks.size[at], banks.weights[at]), state.log_spectrum)
    mean_square = 0.0
    for i in range(N_LOG_BINS):
        mean_square += state.log_spectrum[i] * state.log_spectrum[i]
    mean_square /= N_LOG_BINS
    keep = tables.leaks[2]
    state.scalars[0] = keep * state.scalars[0] + (1.0 - keep) * mean_square
    reference = math.sqrt(state.scalars[0] / max(state.weights[2], 1e-3)) + 1e-6
    inverse = 1.0 / reference
    for i in range(N_LOG_BINS):
        state.log_spectrum[i] *= inverse
    whiten(state.log_spectrum, HALF_WIDTH, WHITENING, 0.05, state.observed)
    _tune(state, tables.leaks[3])
    state.previous[:] = state.notes
    for k in range(N_KEYS):
        state.notes[k] = 0.7 * state.notes[k] + 0.01
    nnls(
        state.observed, tables.templates, tables.gram, N_UPDATES, state.notes, state.projected, state.modelled
    )
    return flat / energy


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_level(moments: Float32, level_db: float) -> None:
    """Add a level to ``moments``: number, sum, sum of squares."""
    moments[0] += 1.0
    moments[1] += level_db
    moments[2] += level_db * level_db


@njit(cache=True)  # type: ignore[untyped-decorator]
def level_spread(moments: Float32) -> float:
    """Standard deviation of the levels counted, dB; 0 of none."""
    number = max(moments[0], 1e-6)
    mean = moments[1] / number
    return math.sqrt(max(moments[2] / number - mean * mean, 0.0))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _register(state: TonalState, leaks: Float32, out: Float32) -> None:
    """Eleven values on where and how thickly the notes lie, how many begin and how unevenly they are struck.

    The level of a note that begins is that of the spectrum at its fundamental. Their spread tells touch
    whatever the gain, as the curve from key velocity to level is steep where one plays softly; and how
    thickly one plays, for overtones taken for notes belong to it.
    """
    notes, struck, scalars, keep = state.notes, state.struck, state.scalars, leaks[0]
    total, square, centre, peak = 1e-6, 1e-9, 0.0, 1e-6
    for k in range(N_KEYS):
        a = notes[k]
        total += a
        square += a * a
        centre += a * k
        peak = max(peak, a)
    centre /= total
    spread, bass, treble, lowest, highest, onsets, swells = 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0
    gate = max(0.15 * peak, 0.15)
    for i in range(4):
        struck[i] *= leaks[2]
    for k in range(N_KEYS):
        a = notes[k]
        spread += a * (k - centre) ** 2
        if k <= BASS_TOP:
            bass += a
        if k >= 55:
            treble += a
        if a > gate:
            if lowest < 0.0:
                lowest = k
            highest = k
            if a > 1.3 * state.previous[k]:
                swells += 1.0
            if a > 2.0 * state.previous[k]:
                onsets += 1.0
                first = BINS_PER_SEMITONE * k
                level = 20.0 * math.log10(state.log_spectrum[first : first + BINS_PER_SEMITONE].max() + 1e-3)
                struck[3] += abs(level - struck[4]) if struck[0] > 0.0 else 0.0
                count_level(struck, level)
                struck[4] = level
    if lowest < 0.0:
        lowest = centre
        highest = centre
    scalars[1] = leaks[1] * scalars[1] + (1.0 - leaks[1]) * onsets
    now = (
        centre,
        math.sqrt(spread / total),
        lowest,
        highest,
        total * total / square,
        bass / total,
        treble / total,
    )
    for i in range(7):
        state.register[i] = keep * state.register[i] + (1.0 - keep) * now[i]
        out[i] = state.register[i] / state.weights[0]
    out[7] = scalars[1] / state.weights[1]
    scalars[6] = leaks[2] * scalars[6] + (1.0 - leaks[2]) * swells
    out[8] = scalars[6] / state.weights[2]
    out[9] = level_spread(struck)
    out[10] = struck[3] / max(struck[0], 1e-6)


@njit(cache=True)  # type: ignore[untyped-decorator]
def tonal_step(
    window: Float32, tables: TonalTables, state: TonalState, out: Float32, register: Float32
) -> float:
    """One hop group: 68 values into ``out``, 11 into ``register``; returns the spectral flatness."""
    leaks, profiles = tables.leaks, tables.profiles
    for s in range(3):
        state.weights[s] = leaks[s] * state.weights[s] + (1.0 - leaks[s])
    flatness = _notes(window, tables, state)
    _register(state, leaks, register)
    now = np.zeros(12, np.float32)
    bass_now = np.zeros(12, np.float32)
    for k in range(N_KEYS):
        # The square root stands between counting notes and weighing them.
        a = math.sqrt(state.notes[k]) if state.notes[k] > 0.02 else 0.0
        now[(k + LOWEST_KEY) % 12] += a
        if k <= BASS_TOP:
            bass_now[(k + LOWEST_KEY) % 12] += a
    for s in range(3):
        for p in range(12):
            state.chroma[s, p] = leaks[s] * state.chroma[s, p] + (1.0 - leaks[s]) * now[p]
    fast, chord, slow = state.chroma[0], state.chroma[1], state.chroma[2]
    triads_now = np.zeros(24, np.float32)
    norm = 1e-6
    for p in range(12):
        norm += fast[p] * fast[p]
        state.bass[p] = leaks[1] * state.bass[p] + (1.0 - leaks[1]) * bass_now[p]
    norm = math.sqrt(norm)
    loud, total = min(norm, 1.0), 1e-9
    for t in range(12):
        for quality in range(2):
            third = fast[(t + 4 - quality) % 12]
            fit = (fast[t] + third + fast[(t + 7) % 12]) / (1.7320508 * norm)
            triads_now[12 * quality + t] = math.exp(TRIAD_SHARPNESS * fit)
            total += triads_now[12 * quality + t]
    for t in range(24):
        state.triads[t] = leaks[1] * state.triads[t] + (1.0 - leaks[1]) * loud * triads_now[t] / total

    keys = np.zeros(24, np.float32)
    keys_chord = np.zeros(24, np.float32)
    _correlate(slow, profiles, keys)
    _correlate(chord, profiles, keys_chord)
    posterior = np.zeros(12, np.float32)
    highest, total = 0.0, 0.0
    for c in range(12):
        posterior[c] = 0.5 * (keys[c] + keys[12 + (c + 9) % 12])
        highest = max(highest, posterior[c])
    for c in range(12):
        posterior[c] = math.exp(SHARPNESS * (posterior[c] - highest))
        total += posterior[c]
    entropy, best = 0.0, 0.0
    for c in range(12):
        posterior[c] /= total
        best = max(best, posterior[c])
        entropy -= posterior[c] * math.log(posterior[c] + 1e-9)

    _rotate(slow, posterior, out[0:12])
    _rotate(chord, posterior, out[12:24])
    _rotate(state.bass, posterior, out[24:36])
    triads = np.zeros(24, np.float32)
    for q in range(2):
        _rotate(state.triads[12 * q : 12 * q + 12], posterior, triads[12 * q : 12 * q + 12])
    sums = np.zeros(2, np.float32)
    for q in range(2):
        for t in range(12):
            sums[q] += state.triads[12 * q + t]
    both = sums[0] + sums[1] + 1e-9
    for q in range(2):
        for t in range(12):
            out[36 + 12 * q + t] = triads[12 * q + t] * sums[q] / both

    top_major, top_minor, best_key, second = -1.0, -1.0, 0, -1.0
    for k in range(24):
        if k < 12:
            top_major = max(top_major, keys[k])
        else:
            top_minor = max(top_minor, keys[k])
        if keys[k] > keys[best_key]:
            best_key = k
    for k in range(24):
        if k != best_key:
            second = max(second, keys[k])
    chord_major, chord_minor = keys_chord[:12].max(), keys_chord[12:].max()
    out[60] = top_major
    out[61] = top_minor
    out[62] = top_major - top_minor
    out[63] = sums[0] / both
    out[64] = entropy
    out[65] = best
    out[66] = chord_major - chord_minor
    clash = 0.0
    chord_norm = 1e-9
    for p in range(12):
        chord_norm += fast[p] * fast[p]
        clash += fast[p] * (fast[(p + 1) % 12] + fast[(p + 6) % 12])
    out[67] = clash / chord_norm
    # How far the harmony of now is from that of the last seconds: 0 for the hum of a fridge.
    cross, slow_norm = 0.0, 1e-9
    for p in range(12):
        cross += fast[p] * slow[p]
        slow_norm += slow[p] * slow[p]
    sounds = 1.0 if chord_norm > 1e-6 else 0.0
    change = sounds * max(1.0 - cross / math.sqrt(chord_norm * slow_norm), 0.0)
    state.scalars[4] = leaks[1] * state.scalars[4] + (1.0 - leaks[1]) * change
    state.scalars[5] = leaks[1] * state.scalars[5] + (1.0 - leaks[1]) * sounds
    state.scalars[2] = best_key
    state.scalars[3] = keys[best_key] - second
    return flatness
