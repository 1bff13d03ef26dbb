"""What the harmony says, whatever the key: 68 values from note activations, once per hop group.

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

from kelly_edge.contract import EMOTION_RATE_HZ, N_PITCH_CLASSES
from kelly_edge.emotion.key_profiles import MAJOR, MINOR
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
"""341 ms at 12 kHz: 2.9 Hz per bin. Chosen: tells semitones from A2 upwards."""
# Time constants. Chosen: a note, a chord or two, and the time a key takes to be heard.
FAST_S: Final = 0.4
CHORD_S: Final = 4.0
KEY_S: Final = 15.0
SHARPNESS: Final = 12.0
"""Of the posterior: softmax of SHARPNESS times the correlations. Chosen by hand."""
TRIAD_SHARPNESS: Final = 8.0
"""The same of the triads; chosen by hand."""
ROOT_OF_3: Final = 1.7320508
"""Norm of a triad of three equal notes. The square root of 3, by definition."""
BASS_TOP: Final = 52 - LOWEST_KEY
"""Keys up to E3 make the bass chroma. Chosen: below the usual tenor."""
TREBLE_BOTTOM: Final = 76 - LOWEST_KEY
"""Keys from E5 are the treble. Chosen: two octaves higher."""
AUDIBLE: Final = 0.02
"""Activation below which a key is not counted in the chroma. Chosen by hand: what remains of a key that
does not sound."""
GATE: Final = 0.15
"""Share of the strongest activation, and activation, above which a key sounds. Chosen by hand."""
SWELL, ONSET = 1.3, 2.0
"""Growth of an activation from group to group at which a key swells, and at which it begins. Ratios;
chosen by hand."""
# Exponent of the local mean. Chosen: between none (0) and full whitening (1) of Mauch & Dixon (2010).
WHITENING: Final = 0.6
WHITENING_FLOOR: Final = 0.05
"""Added to the local mean, in units of the running mean: what lies far below it is not lifted. Chosen by
hand."""
HALF_WIDTH: Final = 18
"""Log-frequency bins of the local mean for whitening: half an octave either side. As in Mauch & Dixon
(2010): an octave in all."""
# A share, and an activation. Chosen by hand.
WARM_START: Final = 0.7
LEAST: Final = 0.01
"""The solution begins at a share of the last one and a little of every key: none is ever stuck at zero.
Chosen by hand."""
FLAT_FIRST, FLAT_LAST = 38, 1_800
"""First and last bin where a half-octave band of the flatness begins: 111 Hz and 5.3 kHz. Chosen: from the
octave of the lowest melodies to the end of the band."""
FEWEST: Final = 0.1
"""Notes a group added before the logarithm of a rate: 1.2 per second. Chosen by hand: a note more or less in
near silence says little."""
N_UPDATES: Final = 20
"""Multiplicative updates of the activations per hop group, from a warm start. Chosen by hand; the cost
grows in proportion."""
N_MODES: Final = 2
"""Major and minor, by definition."""
N_KEYS_AND_MODES: Final = N_PITCH_CLASSES * N_MODES
"""Majors by tonic, then minors by tonic."""
RELATIVE_MINOR: Final = 9
"""Semitones from a major tonic up to that of the minor with the same notes. Definition of the relative
key."""
FAST, CHORD, KEY, TUNING = range(4)
"""Time constants, in the order of ``TonalTables.leaks``; chromas and ``weights`` have the first three."""

REGISTER: Final = (
    ("pitch_mean", 1),
    ("pitch_spread", 1),
    ("lowest", 1),
    ("highest", 1),
    ("polyphony", 1),
    ("bass_share", 1),
    ("treble_share", 1),
    ("note_rate", 1),
    ("swell_rate", 1),
    ("note_level_spread_db", 1),
    ("note_level_step_db", 1),
)
"""What ``_register`` writes, in order: name and number of values, as in ``features.FEATURES``."""
(PITCH_MEAN, PITCH_SPREAD, LOWEST, HIGHEST, POLYPHONY, BASS_SHARE, TREBLE_SHARE) = range(7)
NOTE_RATE, SWELL_RATE, LEVEL_SPREAD, LEVEL_STEP = range(7, 11)

TONAL: Final = (
    ("degree_chroma_15s", 12),
    ("degree_chroma_4s", 12),
    ("degree_bass_4s", 12),
    ("degree_major_triads", 12),
    ("degree_minor_triads", 12),
    ("best_major", 1),
    ("best_minor", 1),
    ("major_less_minor", 1),
    ("major_share", 1),
    ("key_entropy", 1),
    ("key_posterior", 1),
    ("major_less_minor_4s", 1),
    ("clash", 1),
)
"""What ``tonal_step`` writes, in order: name and number of values, as in ``features.FEATURES``."""
CHROMA_15S, CHROMA_4S, BASS_4S, MAJOR_TRIADS, MINOR_TRIADS = (12 * row for row in range(5))
BEST_MAJOR, BEST_MINOR, MAJOR_LESS_MINOR, MAJOR_SHARE = range(60, 64)
KEY_ENTROPY, KEY_POSTERIOR, MAJOR_LESS_MINOR_4S, CLASH = range(64, 68)

POWER, ONSETS, BEST_KEY, KEY_MARGIN, CHANGE, SOUNDS, SWELLS = range(7)
"""Slots of ``TonalState.scalars``: mean square of the log spectrum (15 s); keys that begin per group (4 s);
index of the best key, -1 before any; its correlation less the next best's; cosine distance of the harmony of
.4 s from that of 15 s (4 s); share of groups that sound (4 s); keys that grow per group (15 s)."""
NUMBER, LEVELS, SQUARES, STEPS, LAST_LEVEL = range(5)
"""Slots of ``TonalState.struck``; the first three also of every ``moments`` that ``count_level`` fills."""
COSINE, SINE, OFFSET = range(3)
"""Slots of ``TonalState.tuning``: leaky sum of the phases of a semitone; semitones above A = 440 Hz."""
TUNING_STEP: Final = 0.05
"""Semitones from one bank of log-frequency bands to the next: 5 cents. Chosen: about the smallest step of
pitch that listeners notice."""
N_TUNINGS: Final = 25
"""Banks from -0.6 to +0.6 semitones: beyond a half, so that a tuning near it does not flap between keys.
Chosen by hand."""
TUNING_S: Final = 6.0
"""Time constant of the tuning estimate: steady under vibrato, and a slow drift is followed. Chosen by
hand."""
TUNING_LOWEST: Final = 3 * (45 - LOWEST_KEY)
"""First log-frequency bin that tunes: A2. Below, a bin of the FFT is as wide as a third of a semitone.
Chosen for that reason."""


def leak(time_constant_s: float) -> float:
    """What a running mean keeps of its past from one hop group to the next."""
    return math.exp(-1.0 / (time_constant_s * EMOTION_RATE_HZ))


class TonalTables(NamedTuple):
    """Constants of the kernel."""

    plan: FftPlan
    banks: Bank  # one for each tuning: [25, …]
    templates: Float32  # [274, 88] log spectrum of each key
    gram: Float32  # [88, 88] templates.T @ templates
    profiles: Float32  # [24, 12] 12 majors then 12 minors by tonic, zero mean, unit norm
    leaks: Float32  # [4] share kept per group: FAST, CHORD, KEY, TUNING


class TonalState(NamedTuple):
    """Everything the tonal features remember."""

    notes: Float32  # [88] activations of this group
    previous: Float32  # [88] of the group before
    chroma: Float32  # [3, 12] running means by pitch class: FAST, CHORD, KEY
    bass: Float32  # [12] the same of keys up to E3: CHORD
    triads: Float32  # [24] how much each triad sounds, majors then minors by root: CHORD
    register: Float32  # [7] running means, FAST: PITCH_MEAN to TREBLE_SHARE
    struck: Float32  # [5] keys that began, KEY: see NUMBER, in dB
    weights: Float32  # [3] how much of each running mean is real: 1 - leak ** n
    scalars: Float32  # [7] see POWER
    tuning: Float32  # [3] see COSINE
    power: Float32  # [2049] scratch: power, then magnitude
    log_spectrum: Float32  # [274] magnitude relative to the last 15 s
    observed: Float32  # [274] the same, whitened
    projected: Float32  # [88] scratch of ``nnls``
    modelled: Float32  # [88] scratch of ``nnls``


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

    scalars = zeros(7)
    scalars[BEST_KEY] = -1.0
    return TonalState(
        np.full(N_KEYS, LEAST, np.float32),
        zeros(N_KEYS),
        zeros(3, 12),
        zeros(12),
        zeros(24),
        zeros(7),
        zeros(5),
        zeros(3),
        scalars,
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
    bank = TUNING_STEP * (_tuning_index(tuning[OFFSET]) - N_TUNINGS // 2)
    c, s = math.cos(2.0 * math.pi * bank), math.sin(2.0 * math.pi * bank)
    tuning[COSINE] = keep * tuning[COSINE] + (1.0 - keep) * (cosine * c - sine * s)
    tuning[SINE] = keep * tuning[SINE] + (1.0 - keep) * (cosine * s + sine * c)
    wanted = math.atan2(tuning[SINE], tuning[COSINE]) / (2.0 * math.pi)
    # The nearest of the tunings a semitone apart, unless that leaves the banks: then the keys are renamed.
    wanted += math.floor(tuning[OFFSET] - wanted + 0.5)
    furthest = TUNING_STEP * (N_TUNINGS // 2)
    if wanted > furthest:
        _rename(state, 1)
        wanted -= 1.0
    elif wanted < -furthest:
        _rename(state, -1)
        wanted += 1.0
    tuning[OFFSET] = wanted


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
def _flatness(power: Float32) -> float:
    """Spectral flatness in half-octave bands, weighted by energy: the colour of a noise does not count."""
    flat, energy, low = 0.0, 1e-12, FLAT_FIRST
    while low < FLAT_LAST:
        high = low + low // 2
        top = min(high, power.shape[0])
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
    return flat / energy


@njit(cache=True)  # type: ignore[untyped-decorator]
def _log_spectrum(tables: TonalTables, state: TonalState) -> None:
    """From ``state.power`` to ``state.log_spectrum``: magnitudes, tuned, relative to the last 15 s."""
    power, log_spectrum, scalars = state.power, state.log_spectrum, state.scalars
    for i in range(power.shape[0]):
        power[i] = math.sqrt(power[i])
    banks, at = tables.banks, _tuning_index(state.tuning[OFFSET])
    apply_bank(power, Bank(banks.first[at], banks.size[at], banks.weights[at]), log_spectrum)
    mean_square = 0.0
    for i in range(N_LOG_BINS):
        mean_square += log_spectrum[i] * log_spectrum[i]
    mean_square /= N_LOG_BINS
    keep = tables.leaks[KEY]
    scalars[POWER] = keep * scalars[POWER] + (1.0 - keep) * mean_square
    reference = math.sqrt(scalars[POWER] / max(state.weights[KEY], 1e-3)) + 1e-6
    inverse = 1.0 / reference
    for i in range(N_LOG_BINS):
        log_spectrum[i] *= inverse


@njit(cache=True)  # type: ignore[untyped-decorator]
def _notes(window: Float32, tables: TonalTables, state: TonalState) -> float:
    """Update ``state.notes``; returns local spectral flatness (noise about .56, a chord under .2)."""
    power_spectrum(window, tables.plan, state.power)
    flatness = _flatness(state.power)
    _log_spectrum(tables, state)
    whiten(state.log_spectrum, HALF_WIDTH, WHITENING, WHITENING_FLOOR, state.observed)
    _tune(state, tables.leaks[TUNING])
    state.previous[:] = state.notes
    for k in range(N_KEYS):
        state.notes[k] = WARM_START * state.notes[k] + LEAST
    nnls(
        state.observed, tables.templates, tables.gram, N_UPDATES, state.notes, state.projected, state.modelled
    )
    return flatness


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_level(moments: Float32, level_db: float) -> None:
    """Add a level to ``moments``: number, sum, sum of squares."""
    moments[NUMBER] += 1.0
    moments[LEVELS] += level_db
    moments[SQUARES] += level_db * level_db


@njit(cache=True)  # type: ignore[untyped-decorator]
def level_spread(moments: Float32) -> float:
    """Standard deviation of the levels counted, dB; 0 of none."""
    number = max(moments[NUMBER], 1e-6)
    mean = moments[LEVELS] / number
    return math.sqrt(max(moments[SQUARES] / number - mean * mean, 0.0))


@njit(cache=True)  # type: ignore[untyped-decorator]
def _register(state: TonalState, leaks: Float32, out: Float32) -> None:
    """Eleven values on where and how thickly the notes lie, how many begin and how unevenly they are struck.

    The level of a note that begins is that of the spectrum at its fundamental. Their spread tells touch
    whatever the gain, as the curve from key velocity to level is steep where one plays softly; and how
    thickly one plays, for overtones taken for notes belong to it.
    """
    notes, struck, scalars, keep = state.notes, state.struck, state.scalars, leaks[FAST]
    total, square, centre, peak = 1e-6, 1e-9, 0.0, 1e-6
    for k in range(N_KEYS):
        a = notes[k]
        total += a
        square += a * a
        centre += a * k
        peak = max(peak, a)
    centre /= total
    spread, bass, treble, lowest, highest, onsets, swells = 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0
    gate = max(GATE * peak, GATE)
    for i in range(LAST_LEVEL):
        struck[i] *= leaks[KEY]
    for k in range(N_KEYS):
        a = notes[k]
        spread += a * (k - centre) ** 2
        if k <= BASS_TOP:
            bass += a
        if k >= TREBLE_BOTTOM:
            treble += a
        if a > gate:
            if lowest < 0.0:
                lowest = k
            highest = k
            if a > SWELL * state.previous[k]:
                swells += 1.0
            if a > ONSET * state.previous[k]:
                onsets += 1.0
                first = BINS_PER_SEMITONE * k
                level = 20.0 * math.log10(state.log_spectrum[first : first + BINS_PER_SEMITONE].max() + 1e-3)
                struck[STEPS] += abs(level - struck[LAST_LEVEL]) if struck[NUMBER] > 0.0 else 0.0
                count_level(struck, level)
                struck[LAST_LEVEL] = level
    if lowest < 0.0:
        lowest = centre
        highest = centre
    scalars[ONSETS] = leaks[CHORD] * scalars[ONSETS] + (1.0 - leaks[CHORD]) * onsets
    now = (
        centre,
        math.sqrt(spread / total),
        lowest,
        highest,
        total * total / square,
        bass / total,
        treble / total,
    )
    for i in range(len(now)):
        state.register[i] = keep * state.register[i] + (1.0 - keep) * now[i]
        out[i] = state.register[i] / state.weights[FAST]
    out[NOTE_RATE] = math.log2(scalars[ONSETS] / state.weights[CHORD] + FEWEST)
    scalars[SWELLS] = leaks[KEY] * scalars[SWELLS] + (1.0 - leaks[KEY]) * swells
    out[SWELL_RATE] = math.log2(scalars[SWELLS] / state.weights[KEY] + FEWEST)
    out[LEVEL_SPREAD] = level_spread(struck)
    out[LEVEL_STEP] = struck[STEPS] / max(struck[NUMBER], 1e-6)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _fold(state: TonalState, leaks: Float32) -> None:
    """The notes of now into the running chromas and the bass."""
    now = np.zeros(N_PITCH_CLASSES, np.float32)
    bass_now = np.zeros(N_PITCH_CLASSES, np.float32)
    for k in range(N_KEYS):
        # The square root stands between counting notes and weighing them.
        a = math.sqrt(state.notes[k]) if state.notes[k] > AUDIBLE else 0.0
        now[(k + LOWEST_KEY) % 12] += a
        if k <= BASS_TOP:
            bass_now[(k + LOWEST_KEY) % 12] += a
    for s in range(3):
        for p in range(12):
            state.chroma[s, p] = leaks[s] * state.chroma[s, p] + (1.0 - leaks[s]) * now[p]
    for p in range(12):
        state.bass[p] = leaks[CHORD] * state.bass[p] + (1.0 - leaks[CHORD]) * bass_now[p]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _follow_triads(fast: Float32, triads: Float32, keep: float) -> None:
    """How well each of the 24 triads fits the chroma of now, as shares of 1, into the running ``triads``."""
    now = np.zeros(N_KEYS_AND_MODES, np.float32)
    norm = 1e-6
    for p in range(12):
        norm += fast[p] * fast[p]
    norm = math.sqrt(norm)
    loud, total = min(norm, 1.0), 1e-9
    for root in range(12):
        for minor in range(N_MODES):
            third = fast[(root + 4 - minor) % 12]
            fit = (fast[root] + third + fast[(root + 7) % 12]) / (ROOT_OF_3 * norm)
            now[12 * minor + root] = math.exp(TRIAD_SHARPNESS * fit)
            total += now[12 * minor + root]
    for t in range(N_KEYS_AND_MODES):
        triads[t] = keep * triads[t] + (1.0 - keep) * loud * now[t] / total


@njit(cache=True)  # type: ignore[untyped-decorator]
def _collections(keys: Float32, posterior: Float32) -> tuple[float, float]:
    """Posterior of the 12 diatonic collections from the 24 keys' correlations; its entropy and best entry."""
    highest, total = 0.0, 0.0
    for c in range(12):
        posterior[c] = 0.5 * (keys[c] + keys[12 + (c + RELATIVE_MINOR) % 12])
        highest = max(highest, posterior[c])
    for c in range(12):
        posterior[c] = math.exp(SHARPNESS * (posterior[c] - highest))
        total += posterior[c]
    entropy, best = 0.0, 0.0
    for c in range(12):
        posterior[c] /= total
        best = max(best, posterior[c])
        entropy -= posterior[c] * math.log(posterior[c] + 1e-9)
    return entropy, best


@njit(cache=True)  # type: ignore[untyped-decorator]
def _degrees(state: TonalState, posterior: Float32, out: Float32) -> float:
    """Chromas, bass and triads by degree of the collection, into ``out``; returns the major triads' share."""
    _rotate(state.chroma[KEY], posterior, out[CHROMA_15S : CHROMA_15S + 12])
    _rotate(state.chroma[CHORD], posterior, out[CHROMA_4S : CHROMA_4S + 12])
    _rotate(state.bass, posterior, out[BASS_4S : BASS_4S + 12])
    triads = np.zeros(N_KEYS_AND_MODES, np.float32)
    sums = np.zeros(N_MODES, np.float32)
    for minor in range(N_MODES):
        rows = slice(12 * minor, 12 * minor + 12)
        _rotate(state.triads[rows], posterior, triads[rows])
        for root in range(12):
            sums[minor] += state.triads[12 * minor + root]
    both = sums[0] + sums[1] + 1e-9
    for minor in range(N_MODES):
        for root in range(12):
            out[MAJOR_TRIADS + 12 * minor + root] = triads[12 * minor + root] * sums[minor] / both
    return float(sums[0] / both)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _best_key(keys: Float32, scalars: Float32) -> None:
    """The best of the 24 keys and its margin over the next, into ``scalars``."""
    best, second = 0, -1.0
    for k in range(N_KEYS_AND_MODES):
        if keys[k] > keys[best]:
            best = k
    for k in range(N_KEYS_AND_MODES):
        if k != best:
            second = max(second, keys[k])
    scalars[BEST_KEY] = best
    scalars[KEY_MARGIN] = keys[best] - second


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(state: TonalState, keep: float) -> float:
    """Follow how far the harmony of now is from that of the last seconds: 0 for the hum of a fridge.

    Returns how much the notes of now clash.
    """
    fast, slow, scalars = state.chroma[FAST], state.chroma[KEY], state.scalars
    clash, norm = 0.0, 1e-9
    for p in range(12):
        norm += fast[p] * fast[p]
        clash += fast[p] * (fast[(p + 1) % 12] + fast[(p + 6) % 12])
    cross, slow_norm = 0.0, 1e-9
    for p in range(12):
        cross += fast[p] * slow[p]
        slow_norm += slow[p] * slow[p]
    sounds = 1.0 if norm > 1e-6 else 0.0
    change = sounds * max(1.0 - cross / math.sqrt(norm * slow_norm), 0.0)
    scalars[CHANGE] = keep * scalars[CHANGE] + (1.0 - keep) * change
    scalars[SOUNDS] = keep * scalars[SOUNDS] + (1.0 - keep) * sounds
    return clash / norm


@njit(cache=True)  # type: ignore[untyped-decorator]
def tonal_step(
    window: Float32, tables: TonalTables, state: TonalState, out: Float32, register: Float32
) -> float:
    """One hop group of ``window`` [4096]: ``TONAL`` into ``out`` [68], ``REGISTER`` into ``register`` [11].

    Returns the spectral flatness.
    """
    leaks = tables.leaks
    for s in range(3):
        state.weights[s] = leaks[s] * state.weights[s] + (1.0 - leaks[s])
    flatness = _notes(window, tables, state)
    _register(state, leaks, register)
    _fold(state, leaks)
    _follow_triads(state.chroma[FAST], state.triads, leaks[CHORD])
    keys = np.zeros(N_KEYS_AND_MODES, np.float32)
    keys_of_chord = np.zeros(N_KEYS_AND_MODES, np.float32)
    _correlate(state.chroma[KEY], tables.profiles, keys)
    _correlate(state.chroma[CHORD], tables.profiles, keys_of_chord)
    posterior = np.zeros(N_PITCH_CLASSES, np.float32)
    out[KEY_ENTROPY], out[KEY_POSTERIOR] = _collections(keys, posterior)
    out[MAJOR_SHARE] = _degrees(state, posterior, out)
    _best_key(keys, state.scalars)
    out[BEST_MAJOR] = max(keys[:12].max(), -1.0)
    out[BEST_MINOR] = max(keys[12:].max(), -1.0)
    out[MAJOR_LESS_MINOR] = out[BEST_MAJOR] - out[BEST_MINOR]
    out[MAJOR_LESS_MINOR_4S] = keys_of_chord[:12].max() - keys_of_chord[12:].max()
    out[CLASH] = _move(state, leaks[CHORD])
    return flatness
