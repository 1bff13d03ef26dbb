"""Beat vectors as the ears would collect them, from notes alone.

Rendering and hearing eight hundred songs takes hours; the bar needs many songs and little detail. Activations
of the notes are imitated by struck, decaying tones under the spectrum's window, and the rises of the four
bands by the partials that begin. The code of ``kelly_edge.rhythm`` then collects the beats. In 20 rendered
songs the comparisons correlate with those from here by .79 to .85 (chroma), .66 to .78 (bass), .53 to .60
(accents) and .27 to .67 (the rest).
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_FRAMES
from kelly_edge.emotion.struck_notes import (
    BASS_BELOW,
    BASS_DECAY_S,
    DECAY_S,
    LOUD,
    LOUDER,
    USUAL_VELOCITY,
    WINDOW_S,
    in_window,
)
from kelly_edge.rhythm.bar_evidence import (
    N_COMPARED,
    N_RING,
    N_VECTOR,
    BeatVectors,
    beat_vectors,
    begin_beat,
    compared,
    complete,
    take_frame,
    take_notes,
)
from kelly_edge.rhythm.evidence import FAINT, MEAN_S, N_BANDS
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS
from models.composer.data import Notes

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
OCTAVE_LEAK: Final = 0.15
"""Share of an activation that appears an octave higher. Chosen by hand."""
EDGES_HZ: Final = np.array([50.0, 250.0, 600.0, 1_500.0, 5_400.0])
"""Of the bands of ``evidence``. By definition there."""
RING_S: Final = 0.5
"""Seconds a note rings on in a beat that follows. Chosen by hand."""
LAG_FRAMES: Final = 4
"""Frames from an attack until its rise is read. Chosen by hand."""


class Beats(NamedTuple):
    """Beats of a piece after the first: vectors [n, N_VECTOR], periods in frames [n], their numbers."""

    vectors: Float32
    period: Floats
    number: NDArray[np.int64]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _activations(onset_s: Floats, end_s: Floats, key: Any, loudness: Floats, n_groups: int) -> Float32:
    activations = np.zeros((n_groups, N_KEYS), np.float32)
    for j in range(len(onset_s)):
        k, decay_s = key[j], BASS_DECAY_S if key[j] < BASS_BELOW else DECAY_S
        if k < 0 or k >= N_KEYS:
            continue
        first = int(onset_s[j] * FRAME_RATE_HZ / N_FRAMES)
        last = min(int((end_s[j] + 1.2) * FRAME_RATE_HZ / N_FRAMES) + 3, n_groups)
        for g in range(max(first, 0), last):
            now_s = (g + 1) * N_FRAMES / FRAME_RATE_HZ
            level = in_window(now_s, onset_s[j], end_s[j], decay_s, WINDOW_S)
            activations[g, k] += loudness[j] * level
            if k + 12 < N_KEYS:
                activations[g, k + 12] += OCTAVE_LEAK * loudness[j] * level
    return activations


@njit(cache=True)  # type: ignore[untyped-decorator]
def _rises(struck: Floats, noise: Floats) -> Float32:
    """Rises of the bands as ``evidence`` has them, from the energy struck per frame, [n, 4]."""
    rises = np.zeros(struck.shape, np.float32)
    keep, keep_mean = np.exp(-1.0 / (FRAME_RATE_HZ * RING_S)), np.exp(-1.0 / (FRAME_RATE_HZ * MEAN_S))
    level, mean, ones = np.zeros(N_BANDS), 0.0, 0.0
    for i in range(len(struck)):
        total = 0.0
        for b in range(N_BANDS):
            now = level[b] * keep + struck[i, b]
            rises[i, b] = max(np.log((now + 0.1) / (level[b] + 0.1)), 0.0) + noise[i, b]
            level[b] = now
            total += rises[i, b] / N_BANDS
        mean, ones = keep_mean * mean + (1.0 - keep_mean) * total, keep_mean * ones + 1.0 - keep_mean
        for b in range(N_BANDS):
            rises[i, b] = np.log(1.0 + rises[i, b] / (mean / ones + FAINT))
    return rises


def _struck(onset_s: Floats, key: Any, loudness: Floats, n_frames: int) -> Floats:
    struck = np.zeros((n_frames, N_BANDS))
    f0_hz, frame = 440.0 * 2.0 ** ((key + LOWEST_KEY - 69) / 12.0), (onset_s * FRAME_RATE_HZ).astype(int)
    for partial in range(1, 9):
        band = np.searchsorted(EDGES_HZ, f0_hz * partial) - 1
        for later, share in ((0, 0.6), (1, 0.4)):
            heard = (band >= 0) & (band < N_BANDS) & (frame + later < n_frames)
            place = (frame[heard] + later, band[heard])
            np.add.at(struck, place, share * 0.6 ** (partial - 1) * loudness[heard])
    return struck


@njit(cache=True)  # type: ignore[untyped-decorator]
def _collect(
    activations: Float32, rises: Float32, beats_s: Floats, vectors: BeatVectors, out: Float32, period: Floats
) -> None:
    beat = -1
    for g in range(len(activations)):
        for i in range(N_FRAMES):
            frame = g * N_FRAMES + i - LAG_FRAMES
            time_s = frame / FRAME_RATE_HZ
            while frame >= 0 and beat + 1 < len(beats_s) and beats_s[beat + 1] <= time_s:
                beat += 1
                if beat > 0:
                    begin_beat((beats_s[beat] - beats_s[beat - 1]) * FRAME_RATE_HZ, vectors)
            if frame < 0 or beat < 0 or beat + 1 >= len(beats_s):
                continue
            length = (beats_s[beat + 1] - beats_s[beat]) * FRAME_RATE_HZ
            take_frame(rises[frame], (time_s - beats_s[beat]) * FRAME_RATE_HZ / length, length, vectors)
        if complete(vectors) and beat > 0:
            out[beat] = vectors.ring[N_RING - 1]
            after = min(beat + 1, len(beats_s) - 1)
            period[beat] = (beats_s[after] - beats_s[beat - 1]) * FRAME_RATE_HZ / (after - beat + 1)
        take_notes(activations[g], vectors)


def simulate(notes: Notes, beats_s: Floats, seconds: float, rng: np.random.Generator) -> Beats:
    """Notes whose beats are known, as heard in an instrument and a room of their own."""
    n_groups, key = int(seconds * FRAME_RATE_HZ / N_FRAMES), notes.pitch - LOWEST_KEY
    loudness = (np.clip(notes.velocity, 10, 127) / USUAL_VELOCITY) ** LOUDER
    uneven = np.exp(rng.normal(0.0, 0.5, key.size))
    activations = _activations(notes.onset_s, notes.end_s, key, LOUD * loudness * uneven, n_groups)
    activations *= np.exp(rng.normal(0.0, 0.3, activations.shape)).astype(np.float32)
    struck = _struck(notes.onset_s, key, loudness, n_groups * N_FRAMES)
    rises = _rises(struck, np.abs(rng.normal(0.0, 0.02, struck.shape)))
    wander = np.convolve(rng.normal(0.0, 0.012, beats_s.size), np.ones(4) / 4.0, "same")
    vectors, period = np.zeros((beats_s.size, N_VECTOR), np.float32), np.zeros(beats_s.size)
    found_s = beats_s + wander + rng.normal(0.0, 0.006, beats_s.size)
    _collect(activations, rises, found_s, beat_vectors(), vectors, period)
    known = period > 0.0
    return Beats(vectors[known], period[known], np.flatnonzero(known))


@njit(cache=True)  # type: ignore[untyped-decorator]
def comparisons(vectors: Float32, period: Floats) -> Float32:
    """``bar_evidence.compared`` of every beat of a piece: [n, N_COMPARED]."""
    out = np.zeros((len(vectors), N_COMPARED), np.float32)
    ring = np.zeros((N_RING, N_VECTOR), np.float32)
    for t in range(len(vectors)):
        ring[:-1] = ring[1:].copy()
        ring[N_RING - 1] = vectors[t]
        compared(ring, period[t], out[t])
    return out
