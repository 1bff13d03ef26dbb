"""What the harmony says, whatever the key: 68 values from note activations, once per hop group.

Notes (``signal.spectrum.nnls``) fold into leaky chromas; Albrecht & Shanahan's key profiles (Music
Perception 31:1, 2013) give a posterior over the 12 diatonic collections (C major = A minor = 0); chroma,
bass and triads are then *rotated into* that collection's degrees, weighted by the posterior, so that a
transposed piece gives the same numbers. Every running mean is corrected for its start (a mean of what was
heard so far), so the first seconds are usable.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.emotion.note_activations import hear_notes
from kelly_edge.emotion.register import where_notes_lie
from kelly_edge.emotion.tonal_state import (
    BASS_TOP,
    BEST_KEY,
    CHANGE,
    CHORD,
    FAST,
    KEY,
    KEY_MARGIN,
    N_KEYS_AND_MODES,
    N_MODES,
    SOUNDS,
    TonalState,
    TonalTables,
)
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS

Float32 = NDArray[np.float32]
SHARPNESS: Final = 12.0
"""Of the posterior: softmax of SHARPNESS times the correlations. Chosen by hand."""
TRIAD_SHARPNESS: Final = 8.0
"""The same of the triads; chosen by hand."""
ROOT_OF_3: Final = 1.7320508
"""Norm of a triad of three equal notes. The square root of 3, by definition."""
AUDIBLE: Final = 0.02
"""Activation below which a key is not counted in the chroma. Chosen by hand: what remains of a key that
does not sound."""
RELATIVE_MINOR: Final = 9
"""Semitones from a major tonic up to that of the minor with the same notes. Definition of the relative
key."""

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
def _begin_group(leaks: Float32, state: TonalState) -> None:
    for s in range(3):
        state.weights[s] = leaks[s] * state.weights[s] + (1.0 - leaks[s])


@njit(cache=True)  # type: ignore[untyped-decorator]
def _what_notes_say(tables: TonalTables, state: TonalState, out: Float32, register: Float32) -> None:
    """``state.notes`` into ``out`` and ``register``."""
    leaks = tables.leaks
    where_notes_lie(state, leaks, register)
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def tonal_step(
    window: Float32, tables: TonalTables, state: TonalState, out: Float32, register: Float32
) -> float:
    """One hop group of ``window`` [4096]: ``TONAL`` into ``out`` [68], ``REGISTER`` into ``register`` [11].

    Returns the spectral flatness.
    """
    _begin_group(tables.leaks, state)
    flatness = hear_notes(window, tables, state)
    _what_notes_say(tables, state, out, register)
    return flatness


@njit(cache=True)  # type: ignore[untyped-decorator]
def tonal_step_of_notes(
    notes: Float32, tables: TonalTables, state: TonalState, out: Float32, register: Float32
) -> None:
    """The same of a group whose activations [88] are known."""
    _begin_group(tables.leaks, state)
    state.previous[:] = state.notes
    state.notes[:] = notes
    _what_notes_say(tables, state, out, register)
