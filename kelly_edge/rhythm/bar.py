"""Where in the bar the beats lie: a filter over the beats of a bar of four and of a bar of three.

The pulse is given. Each frame scores by its accents, and each hop group by its harmony, how well it suits a
downbeat, the middle beat of a bar of four, or any other beat. A cell is one beat of a metre; at every beat
all cells move on by one."""

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.rhythm.evidence import DOWN, MIDDLE, OTHER
from kelly_edge.rhythm.pulse import N_BINS

Float32 = NDArray[np.float32]
# Definition: four beats of one metre and three of the other; cells of three follow those of four.
N_CELLS: Final = 7
ROLES: Final = (DOWN, OTHER, MIDDLE, OTHER, DOWN, OTHER, OTHER)
"""Roles of the beats in a bar of four, then in a bar of three."""
FIRST_OF_THREE: Final = 4
"""Definition: index of the first cell of a bar of three."""
PRIOR: Final = (0.2425, 0.2425, 0.2425, 0.2425, 0.01, 0.01, 0.01)
"""Probabilities of the cells: bars of three are rare. Chosen by hand: three in a hundred pieces, not
counted anywhere."""
RENEWED: Final = 1e-3
"""Share of the belief that begins anew at every beat. Chosen by hand."""


def bar_weights() -> Float32:
    """Log weights of the cells before anything is heard: [N_CELLS]."""
    return np.log(np.array(PRIOR, np.float32))


@njit(cache=True)  # type: ignore[untyped-decorator]
def moved(cell: int, n_beats: int) -> int:
    """The cell ``n_beats`` later (or earlier) in its own metre."""
    if cell < FIRST_OF_THREE:
        return (cell + n_beats) % FIRST_OF_THREE
    return FIRST_OF_THREE + (cell - FIRST_OF_THREE + n_beats) % (N_CELLS - FIRST_OF_THREE)


@njit(cache=True)  # type: ignore[untyped-decorator]
def next_beat(weights: Float32, scratch: Float32, n_beats: int) -> None:
    """All cells move on by ``n_beats`` (1 or -1)."""
    highest, total = weights.max(), 0.0
    for c in range(N_CELLS):
        scratch[moved(c, n_beats)] = math.exp(weights[c] - highest)
    for c in range(N_CELLS):
        total += scratch[c]
    for c in range(N_CELLS):
        weights[c] = math.log((1.0 - RENEWED) * scratch[c] / total + RENEWED * PRIOR[c])


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
