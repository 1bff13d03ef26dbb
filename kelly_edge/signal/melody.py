"""The notes of a melody, streaming: from f0, its confidence and the level of every hop to note after note.

A note begins where the pitch has settled: on another semitone than before, or after an attack (a rise of the
level). It is dated by its attack, or where there was none (a slur) by when its pitch came. It ends when the
level falls as fast as that of released keys, or without a pitch. Chords have no one f0 and give no notes.
Exact notes, from a keyboard, need none of this: ``MelodyNote`` is what both are told by.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import HOP_RATE_HZ, HOP_SIZE, HOPS_PER_EMOTION_STEP

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SURE: Final = 0.5
"""Confidence from which an f0 counts. Chosen on practice songs."""
SETTLED: Final = 6
"""Hops (32 ms) for which a pitch must stay to be a note's. Chosen on practice songs."""
SAME_PITCH: Final = 0.6
"""Semitones within which it stays. Chosen: a little more than a vibrato's half width."""
GONE: Final = 8
"""Hops (43 ms) without a sure f0 after which a note has ended. Chosen on practice songs."""
LEVEL_HOPS: Final = 4
"""Hops (21 ms) whose mean power is the level. Chosen: a period of the lowest note, nearly."""
ATTACK_DB: Final = 4.0
"""Rise of the level over the least of the last ``BEFORE`` hops that is an attack. Chosen on practice
songs."""
BEFORE: Final = 8
"""Hops (43 ms): an attack's rise is shorter. Chosen by hand."""
APART: Final = 12
"""Hops (64 ms) between two attacks at least. Chosen: a sixteenth at 234 beats per minute."""
NEAR: Final = 16
"""A pitch that settles within so many hops (85 ms) of an attack belongs to it. Chosen: the longest window
of the pitch tracker."""
LATE: Final = 4
"""Hops (21 ms) by which an f0 is known late. Follows from the age of a clear note."""
RELEASED_DB: Final = 12.0
"""Fall of the level within ``FALLS`` from which a note has ended, whatever is still heard of it. Chosen on
practice songs: released keys of a piano fall by 16 to 20 dB in that time, held ones by 6 dB once ``STEEP``
has passed."""
FALLS: Final = 32
"""Hops (171 ms). Chosen with it."""
FLOOR_DB: Final = -75.0
"""Level in dBFS below which nothing sounds. Chosen on practice songs, whose held notes fall to -70."""
STEEP: Final = 24
"""Hops (128 ms) after an attack in which a held note may fall as fast. Chosen on practice songs: high
notes of a piano do."""
LOWEST, HIGHEST = 28, 96
"""MIDI notes: the range of the pitch tracker (E1 to C7)."""
F0, CONFIDENCE, POWER = range(3)
"""Columns of what is heard of a hop."""
(HOP, PITCH, N_BEGUN, ONSET, ATTACK, CANDIDATE, N_CANDIDATE, N_GONE, IS_RELEASED, TOLD) = range(10)
"""Slots of the state: hops so far; pitch that sounds, 0 none; notes begun; hop of its onset; hop of the last
attack; pitch that may be another note's, and hops it has stayed; hops without a pitch; whether the note
was released; notes told."""


class MelodyNote(NamedTuple):
    """The note of a melody that sounds, or none."""

    pitch: int
    """MIDI note; 0 none sounds."""
    number: int
    """Notes begun so far, modulo 256: another number is another note."""
    age_s: float
    """How old the onset of the last note was when it was told."""

    def fill(self, heard: NDArray[Any]) -> None:
        """Put it into ``heard``, a 0-d HEARD_DTYPE array."""
        heard["melody"], heard["melody_number"], heard["melody_age_s"] = self


@njit(cache=True)  # type: ignore[untyped-decorator]
def _follow(hops: Float64, recent: Float64, levels_db: Float64, state: Float64) -> None:
    """Take a group's hops [16, 3]; ``recent`` [LEVEL_HOPS] and ``levels_db`` [FALLS + 16] hold what was
    before."""
    n = hops.shape[0]
    levels_db[:FALLS] = levels_db[n:].copy()
    for i in range(n):
        now = state[HOP]
        state[HOP] += 1.0
        recent[:-1] = recent[1:].copy()
        recent[-1] = hops[i, POWER]
        level = 10.0 * math.log10(recent.mean() / HOP_SIZE + 1e-12)
        levels_db[FALLS + i] = level
        least = levels_db[FALLS + i - BEFORE : FALLS + i].min()
        if level > max(least + ATTACK_DB, FLOOR_DB) and now - state[ATTACK] >= APART:
            state[ATTACK] = now - 1.0
            state[N_CANDIDATE] = state[IS_RELEASED] = 0.0
        elif level < levels_db[i] - RELEASED_DB and now - state[ATTACK] >= FALLS + STEEP:
            state[IS_RELEASED], state[PITCH] = 1.0, 0.0
        is_heard = hops[i, CONFIDENCE] >= SURE and hops[i, F0] > 0.0 and level > FLOOR_DB
        if not is_heard or state[IS_RELEASED] > 0.0:
            state[N_CANDIDATE] = 0.0
            state[N_GONE] += 1.0
            if state[N_GONE] >= GONE:
                state[PITCH] = 0.0
            continue
        state[N_GONE] = 0.0
        pitch = 69.0 + 12.0 * math.log2(hops[i, F0] / 440.0)
        if state[N_CANDIDATE] > 0.0 and abs(pitch - state[CANDIDATE]) <= SAME_PITCH:
            state[N_CANDIDATE] += 1.0
            state[CANDIDATE] += (pitch - state[CANDIDATE]) / state[N_CANDIDATE]
        else:
            state[CANDIDATE], state[N_CANDIDATE] = pitch, 1.0
        is_new = state[ATTACK] > state[ONSET] or abs(state[CANDIDATE] - state[PITCH]) > SAME_PITCH
        if state[N_CANDIDATE] < SETTLED or not is_new:
            continue
        nearest = math.floor(state[CANDIDATE] + 0.5)
        if nearest < LOWEST or nearest > HIGHEST:
            continue
        is_struck = now - state[ATTACK] <= NEAR + SETTLED
        state[ONSET] = state[ATTACK] if is_struck else now - SETTLED - LATE
        state[PITCH] = nearest
        state[N_BEGUN] += 1.0


class MelodyTracker:
    """Streaming: ``push`` for every hop, ``note`` once per hop group.

    Attributes
    ----------
    note: the ``MelodyNote`` at the end of the last group.
    """

    def __init__(self) -> None:
        self._hops = np.zeros((HOPS_PER_EMOTION_STEP, 3))
        self._recent = np.zeros(LEVEL_HOPS)
        self._levels_db = np.zeros(FALLS + HOPS_PER_EMOTION_STEP)
        self._state = np.zeros(10)
        self.reset()

    def reset(self) -> None:
        """Silence before the stream."""
        self._hops[:] = 0.0
        self._recent[:] = 0.0
        self._levels_db[:] = FLOOR_DB
        self._state[:] = 0.0
        self._state[ONSET] = self._state[ATTACK] = -1e9
        self._n = 0
        self.note = MelodyNote(0, 0, 0.0)

    def push(self, hop: Float32, f0_hz: float, confidence: float) -> None:
        """Take float32 [256] at 48 kHz, and what the pitch tracker found in it."""
        power = float(np.dot(hop, hop))
        heard = self._hops[self._n]
        heard[F0], heard[CONFIDENCE], heard[POWER] = f0_hz, confidence, power if math.isfinite(power) else 0.0
        self._n += 1
        if self._n == HOPS_PER_EMOTION_STEP:
            self._n = 0
            self._take_group()

    def _take_group(self) -> None:
        state = self._state
        _follow(self._hops, self._recent, self._levels_db, state)
        age_s = self.note.age_s
        if state[N_BEGUN] != state[TOLD]:
            state[TOLD] = state[N_BEGUN]
            age_s = float(state[HOP] - state[ONSET]) / HOP_RATE_HZ
        self.note = MelodyNote(int(state[PITCH]), int(state[N_BEGUN]) % 256, age_s)
