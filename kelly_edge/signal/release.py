"""When a note is let go: its level falls faster than the note itself did, long before its tail is silent.

The tail of a string, of a body or of a room is as periodic as the note, so that no measure of the period
tells them apart; the level does. A reference follows the level up at once and down at the pace of the note's
own decay, which a struck or plucked note shows right after its attack. A level well below the reference is a
release. A new note ends it: a rise that no beating of a tail makes, or another pitch that rises a little.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import HOP_RATE_HZ

# The constants were chosen on lines of thirteen General MIDI instruments through FluidR3, dry and in
# fluidsynth's room: the fewest hops voiced after a note's end among those that keep .96 of the notes.
DROP_DB: Final = 5.5
"""Below the reference a note is let go. Chosen on those lines."""
FALL_DB: Final = 50.0 / HOP_RATE_HZ
"""Per hop, what any note may lose: 50 dB per second; rooms and dampers lose 70 and more. Chosen on those
lines."""
STRUCK_DB: Final = 60.0 / HOP_RATE_HZ
"""Per hop, what a note may lose beside it right after its attack, and how far its decay is followed. Chosen
on those lines: strings lose so much when they are struck."""
OWN_SHARE: Final = 10.0 / HOP_RATE_HZ
"""Share of the way per hop to the decay seen: a tenth of a second. Chosen on those lines. It only falls: a
release is not taken for the note's own."""
ATTACK: Final = 10.0**1.2
"""Rise of the power within ``ATTACK_HOPS`` that only a new note makes: 12 dB. Chosen on those lines."""
ATTACK_HOPS: Final = 5
"""27 ms: chosen on those lines."""
NEW_PITCH_DB: Final = 5.0
"""Rise above the lowest level of the tail with which another pitch is a new note. Chosen on those lines."""
BACK_DB: Final = 5.0
"""Below the reference, which goes on falling, a note is back again. Chosen on those lines."""
OTHER_PITCH: Final = 2.0 ** (0.8 / 12.0)
"""Ratio of two notes' periods. Chosen below a semitone and above a vibrato."""
FAINT: Final = 1e-10
"""Added to every mean square: -100 dBFS. Chosen: below what 16-bit recordings hold."""
FEW, MANY = 4, 8
"""Hops of which the level is the mean: 21 ms, or 43 ms where those do not hold two periods. As the pitch
tracker's windows, by definition."""


class Release(NamedTuple):
    """The state, to be handed to ``is_released`` at every hop."""

    energies: NDArray[np.float64]
    """Sums of squares of the last hops."""
    state: NDArray[np.float64]
    """Reference, lowest level of the tail and last level (dB), own decay (dB per hop), last period, and
    whether the note is let go."""


def release_state() -> Release:
    """Silence before."""
    release = Release(np.zeros(MANY + ATTACK_HOPS), np.zeros(6))
    reset(release)
    return release


def reset(release: Release) -> None:
    """Silence before."""
    release.energies[:] = 0.0
    faint_db = 10.0 * math.log10(FAINT)
    release.state[:] = faint_db, faint_db, faint_db, 0.0, 0.0, 0.0


@njit(cache=True)
def is_released(
    energies: NDArray[np.float64], state: NDArray[np.float64], hop: NDArray[np.float64], period: float,
    few_below: float,
) -> bool:  # fmt: skip
    """Take ``hop`` (samples); ``period`` is that of its pitch where it is clear, 0 elsewhere.

    Periods below ``few_below`` are short enough for the level of few hops.
    """
    reference, lowest, before, own, known, let_go = state
    energy = 0.0
    for i in range(hop.shape[0]):
        energy += hop[i] * hop[i]
    energies[:-1] = energies[1:]
    energies[-1] = energy
    another = period > 0.0 and known > 0.0 and max(period, known) > OTHER_PITCH * min(period, known)
    if period > 0.0:
        known = period
    n = FEW if known <= few_below else MANY
    last = energies.shape[0]
    power = energies[last - n :].sum()
    least = power
    for ago in range(1, ATTACK_HOPS + 1):
        least = min(least, energies[last - n - ago : last - ago].sum())
    faint = n * hop.shape[0] * FAINT
    level = 10.0 * math.log10((power + faint) / (n * hop.shape[0]))
    attack = power + faint >= ATTACK * (least + faint)
    if let_go > 0.0:
        lowest = min(lowest, level)
        reference -= FALL_DB
        if attack or level > reference - BACK_DB or (another and level > lowest + NEW_PITCH_DB):
            let_go, reference, own = 0.0, level, STRUCK_DB if attack else 0.0
    else:
        reference = max(level, reference - FALL_DB - max(own, 0.0))
        if another:
            reference = level
        fall = min(max(before - level, -STRUCK_DB), STRUCK_DB)
        own = STRUCK_DB if attack else own + min(OWN_SHARE * (fall - own), 0.0)
        if level < reference - DROP_DB:
            let_go, lowest = 1.0, level
    state[0], state[1], state[2], state[3], state[4], state[5] = reference, lowest, level, own, known, let_go
    return bool(let_go > 0.0)
