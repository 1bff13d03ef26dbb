"""Where in the bar the beats lie: a filter over the beats of bars of four, three, eight and six.

The pulse is taken as known. A cell is a beat of a metre; at every beat all cells move on by one, and once per
beat what the last beats sounded like (``bar_evidence``) weighs them. A bar of eight is one of four that is
tapped in halves, a bar of six one of three, or six eighths. Bars are cut short now and then, so a
little of the belief begins a bar at every beat.
"""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.rhythm.evidence import DOWN, MIDDLE, OTHER
from kelly_edge.rhythm.pulse import N_BINS

Float32 = NDArray[np.float32]
METRES: Final = (4, 3, 8, 6)
"""Beats of a bar, by definition of the cells."""
FIRST: Final = (0, 4, 7, 15)
"""The downbeat's cell, by metre. By definition."""
N_CELLS: Final = 21
"""Of all metres, by definition."""
USUAL: Final = (0.6, 0.04, 0.3, 0.06)
"""Of the metres, before anything is heard. Chosen by hand."""
PRIOR: Final = tuple(share / n for share, n in zip(USUAL, METRES, strict=True) for _ in range(n))
METRE: Final = tuple(m for m, n in enumerate(METRES) for _ in range(n))
"""Index of a cell's metre."""
ROLES: Final = (
    *(DOWN, OTHER, MIDDLE, OTHER),
    *(DOWN, OTHER, OTHER),
    *(DOWN, OTHER, OTHER, OTHER, MIDDLE, OTHER, OTHER, OTHER),
    *(DOWN, OTHER, OTHER, OTHER, OTHER, OTHER),
)
"""Of the cells, as ``evidence`` tells beats apart."""
CUT_SHORT: Final = 3e-3
"""Probability that a bar ends before its last beat, at each of its beats. Chosen on held-out songs below the
share of bars that are cut short (2 %): evidence of neighbouring beats is alike, and a doubt is no cut."""
RENEWED: Final = 3e-4
"""Share of the belief that begins anew at every beat. Chosen on held-out songs with ``CUT_SHORT``."""


def bar_weights() -> Float32:
    """Log weights of the cells before anything is heard: [N_CELLS]."""
    return np.log(np.array(PRIOR, np.float32))


@njit(cache=True)  # type: ignore[untyped-decorator]
def moved(cell: int, n_beats: int) -> int:
    """The cell ``n_beats`` later (or earlier) in its own metre."""
    metre = METRE[cell]
    first = FIRST[metre]
    return first + (cell - first + n_beats) % METRES[metre]


@njit(cache=True)  # type: ignore[untyped-decorator]
def next_beat(weights: Float32, scratch: Float32) -> None:
    """All cells move on by a beat."""
    highest, total = weights.max(), 0.0
    for c in range(N_CELLS):
        scratch[moved(c, 1)] = math.exp(weights[c] - highest)
    for c in range(N_CELLS):
        total += scratch[c]
    for c in range(N_CELLS):
        scratch[c] /= total
    for m in range(len(METRES)):
        first, end = FIRST[m], FIRST[m] + METRES[m]
        mass = 0.0
        for c in range(first, end):
            mass += scratch[c]
        for c in range(first, end):
            arriving = (1.0 - CUT_SHORT - RENEWED) * scratch[c] + RENEWED * PRIOR[c]
            arriving += CUT_SHORT * mass * (1.0 if c == first else 0.0)
            weights[c] = math.log(arriving + 1e-9)


@njit(cache=True)  # type: ignore[untyped-decorator]
def weigh(weights: Float32, classes: Float32, place_beats: float, trust: float) -> None:
    """Take ``classes`` (see ``evidence``) heard ``place_beats`` after the last beat, or before it."""
    n_before = math.floor(place_beats)
    bin_ = int((place_beats - n_before) * N_BINS + 0.5)
    if bin_ == N_BINS:
        bin_, n_before = 0, n_before + 1
    other = classes[OTHER * N_BINS + bin_]
    # The middle beat of a bar of four may sound weak. Otherwise beats without accents, most of which sound
    # weak, would count as bars of three.
    middle = math.log(0.5 * math.exp(classes[MIDDLE * N_BINS + bin_]) + 0.5 * math.exp(other))
    for c in range(N_CELLS):
        role = ROLES[moved(c, n_before)]
        if role == MIDDLE:
            weights[c] += trust * middle
        else:
            weights[c] += trust * classes[role * N_BINS + bin_]
