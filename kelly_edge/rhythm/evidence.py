"""Evidence of the beat in the sound: likelihoods of its phase and of its place in the bar.

Two small networks (``weights``; fitted by ``models.ensemble.fit``) read intermediate results of the emotion
features, so that no spectrum is taken twice. One reads the rise of four bands of the mel spectrum in seven
frames 10.7 ms apart: accents. The other reads how far the harmony and the bass of now are from those of a
third of a second ago, once per hop group. Both answer with log likelihoods of ``N_CLASSES``: the phase of
the beat in ``N_BINS`` for a beat that begins a bar, one in the middle of a bar, and any other. Rises are
relative to their mean, so gain does not matter."""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.emotion.rhythm import FRAME_RATE_HZ, N_MEL
from kelly_edge.rhythm.pulse import N_BINS
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS

Float32 = NDArray[np.float32]
DOWN, MIDDLE, OTHER = range(3)
# By definition, counts of the classes above.
N_ROLES: Final = 3
N_CLASSES: Final = N_ROLES * N_BINS
ROLE_SHARE: Final = (0.25, 0.25, 0.5)
"""Of beats in common time. Follows from the metre: one downbeat, one middle, two others."""
BANDS: Final = (0, 4, 9, 16, N_MEL)
"""Edges of the four bands: 50, 250, 600, 1,500 and 5,400 Hz or so."""
N_BANDS: Final = 4
"""Counts of ``BANDS``, by definition."""
N_SEEN: Final = 7
"""Frames that a likelihood is read from; it is that of the third newest. Chosen: 75 ms, from before an
attack until after it."""
# Frames after the one judged, and time constant of the mean rise. Chosen: a third of ``N_SEEN``; a bar or
# two.
AHEAD: Final = 2
MEAN_S: Final = 4.0
FAINT: Final = 0.02
"""Added to the mean rise: below it rises are noise. Nepers. Chosen by hand."""
STILL: Final = 0.004
"""Mean rise below which nothing is heard, and nothing is learned. Nepers. Chosen by hand."""
AGO: Final = 4
"""Groups between the harmonies compared: as long as the spectrum they come from. Follows from the window
of 341 ms: four groups."""
# Groups kept. Chosen: more than twice ``AGO``.
N_PAST: Final = 10
BASS_TOP: Final = 52 - LOWEST_KEY
"""Key E3; chosen as in ``emotion.tonal_state``."""
GROWTH_TOP: Final = 32
"""Lowest keys whose growth is a bass note's: up to E3. Chosen as ``BASS_TOP``."""
N_ACCENT: Final = N_BANDS * N_SEEN
# Inputs of the second network, by definition (``harmony_inputs``).
N_HARMONY: Final = 15
AUDIBLE: Final = 0.02
"""Activation below which a key counts for nothing; chosen as in ``emotion.tonality``."""


class Network(NamedTuple):
    """Two layers with a rectifier between; inputs are standardised by the first layer's numbers."""

    first: Float32  # [n_hidden, n_in]
    first_bias: Float32  # [n_hidden]
    second: Float32  # [N_CLASSES, n_hidden]
    second_bias: Float32  # [N_CLASSES]


class EvidenceState(NamedTuple):
    """What the evidence remembers."""

    last: Float32  # [27] log mel of the frame before
    rises: Float32  # [N_SEEN, 4] newest last
    mean: Float32  # [2] leaky sum of rises, and of ones
    units: Float32  # [N_PAST, 2, 12] directions of chroma and bass, newest last
    bass: Float32  # [N_PAST] how much bass
    notes: Float32  # [3, 88] the last activations, newest last
    growth: Float32  # [1] of the bass, a group ago
    hidden: Float32  # [64] scratch


def evidence_state() -> EvidenceState:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    return EvidenceState(
        zeros(N_MEL),
        zeros(N_SEEN, N_BANDS),
        zeros(2),
        zeros(N_PAST, 2, N_PITCH_CLASSES),
        zeros(N_PAST),
        zeros(3, N_KEYS),
        zeros(1),
        zeros(64),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def accent_inputs(mel: Float32, state: EvidenceState, out: Float32) -> float:
    """Take the log mel [27] of a frame; ``out`` [28], oldest first. Returns the mean rise."""
    keep = math.exp(-1.0 / (MEAN_S * FRAME_RATE_HZ))
    for i in range(N_SEEN - 1):
        state.rises[i] = state.rises[i + 1]
    total = 0.0
    rises = state.rises[N_SEEN - 1]
    for band in range(N_BANDS):
        begin, end = BANDS[band], BANDS[band + 1]
        rise = 0.0
        for b in range(begin, end):
            rise += max(mel[b] - state.last[b], 0.0)
        rises[band] = rise / (end - begin)
        total += rises[band] / N_BANDS
    state.last[:] = mel
    state.mean[0] = keep * state.mean[0] + (1.0 - keep) * total
    state.mean[1] = keep * state.mean[1] + (1.0 - keep)
    mean: float = state.mean[0] / state.mean[1]
    for band in range(N_BANDS):
        rises[band] = math.log(1.0 + rises[band] / (mean + FAINT))
    for i in range(N_SEEN):
        for band in range(N_BANDS):
            out[N_BANDS * i + band] = state.rises[i, band]
    return mean


@njit(cache=True)  # type: ignore[untyped-decorator]
def _distance(a: Float32, b: Float32) -> float:
    total = 0.0
    for p in range(N_PITCH_CLASSES):
        total += a[p] * b[p]
    return 1.0 - total


@njit(cache=True)  # type: ignore[untyped-decorator]
def harmony_inputs(notes: Float32, state: EvidenceState, out: Float32) -> None:
    """Take a group's activations [88]; ``out`` [15]."""
    units, bass = state.units, state.bass
    for i in range(N_PAST - 1):
        units[i] = units[i + 1]
        bass[i] = bass[i + 1]
    now = units[N_PAST - 1]
    now[:] = 0.0
    for k in range(N_KEYS):
        value = math.sqrt(notes[k]) if notes[k] > AUDIBLE else 0.0
        now[0, (k + LOWEST_KEY) % 12] += value
        if k <= BASS_TOP:
            now[1, (k + LOWEST_KEY) % 12] += value
    bass[N_PAST - 1] = now[1].sum()
    for v in range(2):
        norm = 0.0
        for p in range(N_PITCH_CLASSES):
            norm += now[v, p] * now[v, p]
        # 0.3 here and below, chosen as ``harmony.hearing.FAINT``: a faint chroma has no direction.
        norm = math.sqrt(norm) + 0.3
        for p in range(N_PITCH_CLASSES):
            now[v, p] /= norm
    at = 0
    before = np.zeros(N_PITCH_CLASSES, np.float32)
    for v in range(2):
        for k in range(4):
            out[at] = _distance(units[N_PAST - 1 - k, v], units[max(N_PAST - 1 - AGO - k, 0), v])
            at += 1
        before[:] = 0.0
        for i in range(N_PAST - AGO):
            for p in range(N_PITCH_CLASSES):
                before[p] += units[i, v, p]
        norm = 0.3
        norm += math.sqrt((before * before).sum())
        out[at] = 1.0
        for p in range(N_PITCH_CLASSES):
            out[at] -= now[v, p] * before[p] / norm
        at += 1
    out[at], out[at + 1] = math.log(1.0 + bass[N_PAST - 1]), math.log(1.0 + bass[N_PAST - 1 - AGO])
    low, every = 0.0, 0.0
    for k in range(N_KEYS):
        growth = max(notes[k] - state.notes[0, k], 0.0)
        every += growth
        if k < GROWTH_TOP:
            low += growth
    for i in range(2):
        state.notes[i] = state.notes[i + 1]
    state.notes[2] = notes
    out[at + 2], out[at + 3], out[at + 4] = math.log(1.0 + low), math.log(1.0 + every), state.growth[0]
    state.growth[0] = out[at + 2]


@njit(cache=True)  # type: ignore[untyped-decorator]
def infer(network: Network, inputs: Float32, hidden: Float32, out: Float32) -> None:
    """Log likelihoods of the classes, [N_CLASSES], against their shares of common time."""
    n_hidden, n_in = network.first.shape
    for h in range(n_hidden):
        total = network.first_bias[h]
        for i in range(n_in):
            total += network.first[h, i] * inputs[i]
        hidden[h] = max(total, np.float32(0.0))
    highest = np.float32(-1e9)
    for c in range(N_CLASSES):
        total = network.second_bias[c]
        for h in range(n_hidden):
            total += network.second[c, h] * hidden[h]
        out[c] = total
        highest = max(highest, total)
    norm = 0.0
    for c in range(N_CLASSES):
        norm += math.exp(out[c] - highest) * ROLE_SHARE[c // N_BINS] / N_BINS
    log_norm = math.log(norm) + highest
    for c in range(N_CLASSES):
        out[c] -= log_norm


@njit(cache=True)  # type: ignore[untyped-decorator]
def phases_of(classes: Float32, weight: float, out: Float32) -> None:
    """Log likelihoods of the phase alone, [N_BINS], times ``weight``."""
    for b in range(N_BINS):
        total = 0.0
        for role in range(N_ROLES):
            total += ROLE_SHARE[role] * math.exp(classes[role * N_BINS + b])
        out[b] = weight * math.log(total)
