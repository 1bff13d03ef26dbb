"""Tempo and phase of the beat: a bar-pointer filter over one beat, forward only.

A state is a period (whole frames) and a place within it. Every frame all places move on by one; where a
beat ends the tempo may change a little (exponential in the ratio, as Krebs, Böck and Widmer, ISMIR 2015).
The evidence weighs each place by the phase of the beat that it stands for. Each period's places lie in a
ring, so moving on moves nothing; the cost is one multiplication per state and frame.

The states' sums are the posterior over tempi; within the tempo that is kept (``beat``) their mean direction
is the phase and its length how certain that is.
"""

import math
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.emotion.rhythm import FRAME_RATE_HZ

Float32 = NDArray[np.float32]
N_BINS: Final = 12
"""Phases of a beat that observations tell apart: sixteenths and triplets both fall on bins. By definition
the smallest number that both divide."""
SHORTEST, LONGEST = 28, 125
"""Periods in frames: 201 to 45 beats per minute. Chosen: people tap to tempi between these (Moelants
2002)."""
N_PERIODS: Final = LONGEST - SHORTEST + 1
"""By definition: the whole numbers from one to the other."""
REACH: Final = 12
"""Most frames by which a period changes at a beat. Chosen: a tenth of the longest period."""
STEADINESS: Final = 60.0
"""Decay of the probability of a tempo change: exp(-this × relative change). Chosen lower than the 100 of
Krebs, Böck & Widmer (2015): one person wavers more than recorded songs."""
USUAL_S, SPREAD_OCTAVES = 0.64, 0.45
"""Prior of the period: people tap along at about 94 per minute (Moelants 2002: resonance near 120; slow
piano accompaniment lower). Chosen after it."""
ANYWHERE: Final = 1e-4
"""Share of the probability that begins anew at any tempo, at every beat. Chosen by hand: a new tempo is
found in some bars."""
LEAST: Final = 1e-12
"""Probability that no state falls below, so that nothing is ever ruled out. Chosen: far above the smallest
float32."""
HARMONY_LAG: Final = 32
"""Frames after which a change of harmony has been heard: its spectra are 341 ms long. Follows from it: 32
frames of 10.7 ms."""


class PulseTables(NamedTuple):
    """Constants of the filter."""

    first: NDArray[np.int64]  # [N_PERIODS + 1] where a period's ring begins
    change: Float32  # [N_PERIODS, 2 REACH + 1] probability of a period from its neighbours
    prior: Float32  # [N_PERIODS]
    cosine: Float32  # [n_states] of the phase of a place
    sine: Float32  # [n_states]
    bins: NDArray[np.uint8]  # [n_states] bin of the phase of a place; unsigned, for an index that may be
    # negative costs as much as the weighing
    bins_before: NDArray[np.uint8]  # [n_states] the same ``HARMONY_LAG`` frames ago


class PulseState(NamedTuple):
    """What the filter remembers."""

    weight: Float32  # [n_states]
    head: NDArray[np.int64]  # [N_PERIODS] where in its ring the place 0 lies
    leaving: Float32  # [N_PERIODS] scratch
    likelihood: Float32  # [N_BINS] scratch
    tempo: Float32  # [N_PERIODS] posterior
    direction: Float32  # [N_PERIODS, 2] of the phases, not normalised


@cache
def pulse_tables() -> PulseTables:
    """Built once."""
    periods = np.arange(SHORTEST, LONGEST + 1)
    first = np.concatenate([[0], np.cumsum(periods)])
    ratio = periods[None, :] / periods[:, None]
    change = np.exp(-STEADINESS * np.abs(ratio - 1.0))
    near = np.abs(np.arange(N_PERIODS)[:, None] - np.arange(N_PERIODS)[None, :]) <= REACH
    change = np.where(near, change, 0.0)
    change *= (1.0 - ANYWHERE) / change.sum(1, keepdims=True)
    banded = np.zeros((N_PERIODS, 2 * REACH + 1), np.float32)
    for to in range(N_PERIODS):
        for k in range(2 * REACH + 1):
            if 0 <= to + k - REACH < N_PERIODS:
                banded[to, k] = change[to + k - REACH, to]
    prior = np.exp(-0.5 * (np.log2(periods / FRAME_RATE_HZ / USUAL_S) / SPREAD_OCTAVES) ** 2)
    phase = np.concatenate([np.arange(n) / n for n in periods])
    length = np.repeat(periods, periods)
    return PulseTables(
        first,
        banded,
        (prior / prior.sum()).astype(np.float32),
        np.cos(2.0 * np.pi * phase).astype(np.float32),
        np.sin(2.0 * np.pi * phase).astype(np.float32),
        (np.floor(phase * N_BINS + 0.5) % N_BINS).astype(np.uint8),
        (np.floor((phase - HARMONY_LAG / length) * N_BINS + 0.5) % N_BINS).astype(np.uint8),
    )


def pulse_state(tables: PulseTables) -> PulseState:
    """The prior over tempi, before anything is heard."""
    weight = np.concatenate(
        [np.full(n, p / n) for n, p in zip(np.diff(tables.first), tables.prior, strict=True)]
    )
    return PulseState(
        weight.astype(np.float32),
        np.zeros(N_PERIODS, np.int64),
        np.zeros(N_PERIODS, np.float32),
        np.zeros(N_BINS, np.float32),
        tables.prior.copy(),
        np.zeros((N_PERIODS, 2), np.float32),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _weigh_places(weight: Float32, likelihood: Float32, bins: NDArray[np.uint8], least: float) -> None:
    """``weight`` of some places, by the likelihood of the bin of each."""
    for k in range(weight.shape[0]):
        weight[k] = weight[k] * likelihood[bins[k]] + np.float32(least)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pulse_frame(log_likelihood: Float32, tables: PulseTables, state: PulseState) -> float:
    """Move on by one frame and weigh by ``log_likelihood`` [N_BINS]; returns the log of its mean."""
    weight, head, leaving, first = state.weight, state.head, state.leaving, tables.first
    mean = 0.0
    for b in range(N_BINS):
        state.likelihood[b] = math.exp(log_likelihood[b])
        mean += state.likelihood[b] / N_BINS
    total = np.float32(0.0)
    for i in range(N_PERIODS):
        n = first[i + 1] - first[i]
        head[i] = head[i] - 1 if head[i] > 0 else n - 1
        leaving[i] = weight[first[i] + head[i]]
        total += leaving[i]
    for i in range(N_PERIODS):
        arriving = ANYWHERE * total * tables.prior[i]
        for k in range(max(0, REACH - i), min(2 * REACH + 1, N_PERIODS + REACH - i)):
            arriving += leaving[i + k - REACH] * tables.change[i, k]
        weight[first[i] + head[i]] = arriving
    for i in range(N_PERIODS):
        begin, end, turn = first[i], first[i + 1], first[i] + head[i]
        n_after = end - turn
        _weigh_places(weight[turn:end], state.likelihood, tables.bins[begin : begin + n_after], LEAST)
        _weigh_places(weight[begin:turn], state.likelihood, tables.bins[begin + n_after : end], LEAST)
    return math.log(mean)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pulse_harmony(log_likelihood: Float32, tables: PulseTables, state: PulseState) -> float:
    """Weigh by the harmony's log likelihood [N_BINS] of ``HARMONY_LAG`` frames ago; returns the log of its
    mean."""
    mean = 0.0
    for b in range(N_BINS):
        state.likelihood[b] = math.exp(log_likelihood[b])
        mean += state.likelihood[b] / N_BINS
    for i in range(N_PERIODS):
        begin, end, turn = tables.first[i], tables.first[i + 1], tables.first[i] + state.head[i]
        before, n_after = tables.bins_before[begin:end], end - turn
        _weigh_places(state.weight[turn:end], state.likelihood, before[:n_after], 0.0)
        _weigh_places(state.weight[begin:turn], state.likelihood, before[n_after:], 0.0)
    return math.log(mean)


@njit(cache=True)  # type: ignore[untyped-decorator]
def pulse_sum(tables: PulseTables, state: PulseState) -> float:
    """Make the weights sum to 1 and fill ``tempo`` and ``direction``; returns the log of their sum before."""
    weight, head, first = state.weight, state.head, tables.first
    total: Any = 0.0
    for i in range(N_PERIODS):
        begin, end = first[i], first[i + 1]
        n_after = end - begin - head[i]
        mass, x, y = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        # Places lie in a ring: those in memory before the head are the last ones.
        for part in range(2):
            low, high = (begin, begin + head[i]) if part == 0 else (begin + head[i], end)
            place = begin + n_after if part == 0 else begin
            values = weight[low:high]
            cosine, sine = tables.cosine[place : place + high - low], tables.sine[place : place + high - low]
            for k in range(values.shape[0]):
                mass += values[k]
                x += values[k] * cosine[k]
                y += values[k] * sine[k]
        state.tempo[i], state.direction[i, 0], state.direction[i, 1] = mass, x, y
        total += float(mass)
    scale = np.float32(1.0 / total)
    for s in range(weight.shape[0]):
        weight[s] *= scale
    for i in range(N_PERIODS):
        state.tempo[i] *= scale
        state.direction[i, 0] *= scale
        state.direction[i, 1] *= scale
    return math.log(total)
