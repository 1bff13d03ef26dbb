"""Which beat it is: beats are counted on a steady phase, not on the phase read from the pulse.

Where the beat and its off-beat are both likely, the phase read springs from one to the other and back: twice
half a beat, of which nobody can say whether it was a beat forward, a beat back, or none. A count of the times
that the phase comes round loses beats there, and the bar lines move with them. A person who taps along keeps
tapping meanwhile. So does the phase counted: it moves on with the period, and only slowly to where the phase
read lies. How far that is off is kept beside it, so that two springs forward are known to be a beat.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NEXT_BEAT: Final = 0.6
"""Beats off from which the phase read is taken for that of the beat after, or before. Chosen a little above
a half, so that it does not change from one to the other at every doubt."""
PULL, PULL_MOST = 4.0, 0.2
"""Share of what the phase read is off that the phase counted follows per beat, and most beats per beat.
Chosen on songs that are not for evaluation (docs/decisions/0053)."""
COUNTED, OFF, READ, COUNTED_PERIOD = range(4)
"""Slots of a count: the phase counted, 0 to 1; beats from it to the phase read; the phase read and the
period, of the last group."""


def beat_count() -> Floats:
    """Before anything is heard: [4], see ``COUNTED``."""
    return np.zeros(4)


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_anew(count: Floats) -> None:
    """Another pulse: it is counted where it was read last."""
    count[COUNTED], count[OFF] = count[READ], 0.0


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_on(phase: float, period: float, n_frames: int, count: Floats) -> float:
    """Take the phase at the end of ``n_frames`` more, and the period in frames.

    Returns the beats by which ``count[COUNTED]`` moves on in each of these frames, never back; whoever reads
    the frames adds them (``next_frame``).
    """
    beats = n_frames / period
    if count[COUNTED_PERIOD] <= 0.0:
        count[COUNTED] = count[READ] = (phase - beats) % 1.0
    count[OFF] += (phase - count[READ] - beats + 0.5) % 1.0 - 0.5
    count[READ], count[COUNTED_PERIOD] = phase, period
    if count[OFF] > NEXT_BEAT:
        count[OFF] -= 1.0
    elif count[OFF] < -NEXT_BEAT:
        count[OFF] += 1.0
    most = PULL_MOST * beats
    pull = min(max(count[OFF] * min(1.0, PULL * beats), -most), most)
    count[OFF] -= pull
    per_frame: float = (beats + pull) / n_frames
    return per_frame


@njit(cache=True)  # type: ignore[untyped-decorator]
def next_frame(per_frame: float, count: Floats) -> bool:
    """The phase counted moves on by a frame; whether a beat begins."""
    count[COUNTED] += per_frame
    if count[COUNTED] < 1.0:
        return False
    count[COUNTED] -= 1.0
    return True
