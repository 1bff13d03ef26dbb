"""What each beat sounds like, and what the last beats say of the place in the bar.

A *beat vector* is collected while a beat lasts: mean chroma and bass chroma, how strong four bands of the
spectrum rise where the beat begins and elsewhere in it, how much the notes grow, and how low and how high
they lie. It is complete ``HARMONY_DELAY`` frames after the next beat began. ``compared`` sets it beside the
vectors before it: by how much harmony and bass differ from those of one to sixteen beats ago, and those of
the last two, four and eight beats from as many before (chord changes, repetition). Small recurrent networks
(``bar_weights``; fitted by ``models.ensemble.fit_bars``) read the comparisons beat by beat and give log
likelihoods of the beats of the bars that ``bar`` knows, as Krebs, Böck, Dorfer and Widmer (ISMIR 2016) find
downbeats.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import N_PITCH_CLASSES
from kelly_edge.rhythm.evidence import AUDIBLE, BASS_TOP, GROWTH_TOP, N_BANDS
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS

Float32 = NDArray[np.float32]
HARMONY_DELAY: Final = 16
"""Frames from a sound to the middle of the spectra it is in, which are 341 ms long. Follows by definition of
the windows."""
NEAR: Final = 5
"""Frames around its beginning in which a beat's own attack may lie. Chosen by hand."""
N_RING: Final = 18
"""Beats remembered: two bars of eight and what they are compared with. By definition of what is compared."""
CHROMA, BASS = 0, N_PITCH_CLASSES
ACCENT: Final = 2 * N_PITCH_CLASSES
"""By definition: the parts of a vector, in order."""
BETWEEN: Final = ACCENT + N_BANDS
LOW_GROWTH, GROWTH, BASS_MASS, MASS, LOWEST, HIGHEST = range(BETWEEN + N_BANDS, BETWEEN + N_BANDS + 6)
N_VECTOR: Final = HIGHEST + 1
"""Parts of a vector, by definition of them."""
N_PLAIN: Final = N_VECTOR - ACCENT
LAGS: Final = (1, 2, 3, 4, 6, 8, 12, 16)
"""Beats back. Chosen: the halves and wholes of bars of two to eight, and two bars."""
SPANS: Final = (2, 4, 8)
"""Beats compared with as many before. Chosen: the halves and wholes of bars of four and eight."""
N_COMPARED: Final = 2 * (len(SPANS) + len(LAGS)) + N_PLAIN + 1
"""Numbers of a beat's comparisons, by definition of them."""
GATE: Final = 0.15
"""Activation, and share of the strongest, from which a key counts as the lowest or the highest. Chosen by
hand."""


class BarNetwork(NamedTuple):
    """Gated recurrent units (Cho et al. 2014) over the beats, and the cells of ``bar`` from them: n networks,
    whose answers are added.

    Gates lie one below the other: reset, update, candidate.
    """

    inputs: Float32  # [n, 3 n_units, N_COMPARED]
    inputs_bias: Float32  # [n, 3 n_units]
    units: Float32  # [n, 3 n_units, n_units]
    units_bias: Float32  # [n, 3 n_units]
    cells: Float32  # [n, N_CELLS, n_units]
    cells_bias: Float32  # [n, N_CELLS]


class BeatVectors(NamedTuple):
    """What is remembered of the last beats."""

    ring: Float32  # [N_RING, N_VECTOR] newest last
    growing: Float32  # [N_VECTOR] of the beat that is being collected: sums, and highest values
    next_accent: Float32  # [N_BANDS] of the beat about to begin
    accent: Float32  # [N_BANDS] of the beat just begun, whose harmony is not yet known
    between: Float32  # [N_BANDS] rises within it so far
    begun: Float32  # [2 N_BANDS] rises at the beginning and elsewhere in the beat whose harmony is awaited
    counts: Float32  # [3] groups collected; frames since the beat began; 1 while a beat's harmony is awaited
    before: Float32  # [N_KEYS] activations of the last group


def beat_vectors() -> BeatVectors:
    """Silence before the stream."""

    def zeros(*shape: int) -> Float32:
        return np.zeros(shape, np.float32)

    return BeatVectors(
        zeros(N_RING, N_VECTOR),
        zeros(N_VECTOR),
        zeros(N_BANDS),
        zeros(N_BANDS),
        zeros(N_BANDS),
        zeros(2 * N_BANDS),
        zeros(3),
        zeros(N_KEYS),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def take_frame(rises: Float32, phase: float, period: float, vectors: BeatVectors) -> None:
    """The rises [4] of a frame at ``phase`` of a beat of ``period`` frames."""
    vectors.counts[1] += 1.0
    is_next, is_begin = phase * period > period - NEAR, phase * period < NEAR
    for b in range(N_BANDS):
        if is_next:
            vectors.next_accent[b] = max(vectors.next_accent[b], rises[b])
        elif is_begin:
            vectors.accent[b] = max(vectors.accent[b], rises[b])
        else:
            vectors.between[b] = max(vectors.between[b], rises[b])


@njit(cache=True)  # type: ignore[untyped-decorator]
def begin_beat(period: float, vectors: BeatVectors) -> None:
    """A beat begins: that before it is complete but for its harmony."""
    if vectors.counts[1] < 0.5 * period:
        return
    vectors.begun[:N_BANDS] = vectors.accent
    vectors.begun[N_BANDS:] = vectors.between
    vectors.accent[:] = vectors.next_accent
    vectors.next_accent[:] = 0.0
    vectors.between[:] = 0.0
    vectors.counts[1], vectors.counts[2] = 0.0, 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def take_notes(notes: Float32, vectors: BeatVectors) -> None:
    """A group's activations [88]."""
    growing, low, every, peak = vectors.growing, 0.0, 0.0, GATE
    for k in range(N_KEYS):
        growth = max(notes[k] - vectors.before[k], 0.0)
        every += growth
        if k < GROWTH_TOP:
            low += growth
        peak = max(peak, notes[k])
        vectors.before[k] = notes[k]
    lowest, highest = -1, -1
    for k in range(N_KEYS):
        if notes[k] > AUDIBLE:
            value = math.sqrt(notes[k])
            growing[CHROMA + (k + LOWEST_KEY) % 12] += value
            growing[MASS] += value
            if k <= BASS_TOP:
                growing[BASS + (k + LOWEST_KEY) % 12] += value
                growing[BASS_MASS] += value
        if notes[k] >= GATE * peak and notes[k] >= GATE:
            lowest = k if lowest < 0 else lowest
            highest = k
    growing[LOW_GROWTH] = max(growing[LOW_GROWTH], low)
    growing[GROWTH] += every
    if lowest >= 0:
        growing[LOWEST] = max(growing[LOWEST], 1.0 - lowest / N_KEYS)
        growing[HIGHEST] = max(growing[HIGHEST], highest / N_KEYS)
    vectors.counts[0] += 1.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def complete(vectors: BeatVectors) -> bool:
    """Where the harmony of a beat has just become known, its vector enters the ring."""
    if vectors.counts[2] == 0.0 or vectors.counts[1] < HARMONY_DELAY:
        return False
    ring, growing = vectors.ring, vectors.growing
    for i in range(N_RING - 1):
        ring[i] = ring[i + 1]
    vector, n = ring[N_RING - 1], max(vectors.counts[0], np.float32(1.0))
    for i in range(ACCENT):
        vector[i] = growing[i] / n
    for view in range(2):
        begin, norm = view * N_PITCH_CLASSES, 0.0
        for p in range(N_PITCH_CLASSES):
            norm += vector[begin + p] * vector[begin + p]
        norm = math.sqrt(norm) + 0.3
        for p in range(N_PITCH_CLASSES):
            vector[begin + p] /= norm
    for b in range(2 * N_BANDS):
        vector[ACCENT + b] = vectors.begun[b]
    vector[LOW_GROWTH] = math.log(1.0 + growing[LOW_GROWTH])
    vector[GROWTH] = math.log(1.0 + growing[GROWTH])
    vector[BASS_MASS] = math.log(1.0 + growing[BASS_MASS] / n)
    vector[MASS] = math.log(1.0 + growing[MASS] / n)
    vector[LOWEST], vector[HIGHEST] = growing[LOWEST], growing[HIGHEST]
    growing[:] = 0.0
    vectors.counts[0] = vectors.counts[2] = 0.0
    return True


@njit(cache=True)  # type: ignore[untyped-decorator]
def _differ(ring: Float32, newest: int, n: int, lag: int, view: int) -> float:
    """One less the cosine of the ``n`` beats up to ``newest`` and those ``lag`` before, in chroma or bass."""
    dot, a2, b2 = 0.0, 0.0, 0.0
    for p in range(view * N_PITCH_CLASSES, (view + 1) * N_PITCH_CLASSES):
        a, b = 0.0, 0.0
        for i in range(n):
            a += ring[newest - i, p]
            b += ring[newest - lag - i, p]
        dot, a2, b2 = dot + a * b, a2 + a * a, b2 + b * b
    return 1.0 - dot / (math.sqrt(a2 * b2) + 0.1)


@njit(cache=True)  # type: ignore[untyped-decorator]
def compared(ring: Float32, period: float, out: Float32) -> None:
    """The newest beat beside those before it: ``out`` [N_COMPARED]; ``period`` in frames."""
    newest, at = N_RING - 1, 0
    for view in range(2):
        for lag in LAGS:
            out[at] = _differ(ring, newest, 1, lag, view)
            at += 1
        for n in SPANS:
            out[at] = _differ(ring, newest, n, n, view)
            at += 1
    for i in range(N_PLAIN):
        out[at] = ring[newest, ACCENT + i]
        at += 1
    out[at] = math.log(period)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _layer(weights: Float32, bias: Float32, inputs: Float32, out: Float32) -> None:
    for row in range(weights.shape[0]):
        total = bias[row]
        for i in range(weights.shape[1]):
            total += weights[row, i] * inputs[i]
        out[row] = total


def bar_scratch(network: BarNetwork) -> Float32:
    """Room for ``infer_bar``."""
    return np.zeros(N_COMPARED + network.cells.shape[1] + 2 * network.units.shape[1], np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def infer_bar(
    network: BarNetwork, ring: Float32, period: float, units: Float32, scratch: Float32, out: Float32
) -> None:
    """Log likelihoods of the cells that the beat just begun may be, [N_CELLS].

    ``units`` [n, n_units] remember the beats before; ``scratch`` as of ``bar_scratch``.
    """
    n, n_cells, gates = units.shape[1], network.cells.shape[1], 3 * units.shape[1]
    comparisons, said = scratch[:N_COMPARED], scratch[N_COMPARED : N_COMPARED + n_cells]
    from_inputs = scratch[N_COMPARED + n_cells : N_COMPARED + n_cells + gates]
    from_units = scratch[N_COMPARED + n_cells + gates : N_COMPARED + n_cells + 2 * gates]
    compared(ring, period, comparisons)
    out[:] = 0.0
    for k in range(units.shape[0]):
        _layer(network.inputs[k], network.inputs_bias[k], comparisons, from_inputs)
        _layer(network.units[k], network.units_bias[k], units[k], from_units)
        for u in range(n):
            reset = 1.0 / (1.0 + math.exp(-from_inputs[u] - from_units[u]))
            update = 1.0 / (1.0 + math.exp(-from_inputs[n + u] - from_units[n + u]))
            candidate = math.tanh(from_inputs[2 * n + u] + reset * from_units[2 * n + u])
            units[k, u] = (1.0 - update) * candidate + update * units[k, u]
        _layer(network.cells[k], network.cells_bias[k], units[k], said)
        for c in range(n_cells):
            out[c] += said[c]
