"""How reverberant and how noisy the place is, heard blindly from the music, once per hop group, causal.

In a dry room a band of the spectrum falls as fast as the instrument lets it; in a reverberant one never
faster than 60 dB in its RT60, and the gaps between the notes fill. So counts of how fast bands fall (Ratnam
et al., JASA 114, 2003; Eaton et al., the ACE challenge, 2015) and of how low they lie (minimum statistics:
Martin, IEEE Trans. Speech Audio Process. 9, 2001) are kept over the last 20 s of music, as leaky histograms
for three regions of the spectrum. A regression that was fitted to drawn rooms and noises
(``python -m models.emotion.rooms``) reads the direct-to-reverberant ratio, RT60 and SNR from their shares.

A room smears attacks, so that the emotion network takes lively music in a wet and quiet room for calmer than
it is; noise lifts what the room smears. The correction of arousal is proportional to both readings. No
estimate tells a legato or pedalled piece from a room for sure: each is a mean over what sounds alike, and the
correction is bounded.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.room_weights import BIASES, WEIGHTS

Float32 = NDArray[np.float32]
N_BANDS: Final = 27
"""Log mel bands of a frame, as ``FeatureExtractor.frames`` gives them. Definition of theirs."""
N_REGIONS: Final = 3
"""Nine bands each: to about 600 Hz, 1.9 kHz and 5.4 kHz. Chosen by hand."""
LEVELS: Final = np.array(
    [0.05, 0.1, 0.2, 0.35, 0.55, 0.8, 1.1, 1.5, 2.0, 2.6, 3.3, 4.1, 5.0, 6.0], np.float32
)
"""Edges of the levels, in log(1 + 300 × power over its 15-s mean): 0.05 lies 38 dB below that mean. Chosen by
hand."""
FALLS: Final = np.array([0.05, 0.15, 0.3, 0.45, 0.6, 0.8, 1.05, 1.35, 1.7, 2.2, 3.0], np.float32)
"""Edges of the falls over 43 ms, nepers of power: 0.98 is an RT60 of 0.6 s. Chosen by hand."""
LONG_FALLS: Final = np.array([0.2, 0.5, 0.9, 1.3, 1.7, 2.2, 2.8, 3.5, 4.5], np.float32)
"""The same of falls that went on for 128 ms. Chosen by hand."""
SHORT, LONG = 4, 12
"""Frames of 10.7 ms over which a fall is measured."""
FALLS_FROM, LONG_FALLS_FROM = 1.5, 2.5
"""Level from which a fall is counted: below, noise and the compression would hide how fast it is."""
N_LEVELS, N_FALLS, N_LONG_FALLS = len(LEVELS) + 1, len(FALLS) + 1, len(LONG_FALLS) + 1
N_COUNTS: Final = N_LEVELS + N_FALLS + N_LONG_FALLS
N_STATISTICS: Final = N_REGIONS * (N_COUNTS - 1)
"""By definition: the last count of each follows from the others."""
MEMORY_S: Final = 20.0
"""Time constant of the counts, in time with music. Chosen: most of a clip of EMOPIA."""
LEAST_WEIGHT: Final = 0.05
"""Of a group without music: a place is heard a little in any sound. Chosen by hand."""

FRAMES_PER_S: Final = 8 * EMOTION_RATE_HZ
"""By definition of the frames."""
DRY_DB, WET_DB = 6.0, -3.0
"""DRR from which a room begins to count, and where it counts in full. Chosen by hand."""
WETTEST: Final = 1.3
"""Beyond ``WET_DB`` the correction grows to this share. Chosen by hand."""
NOISY_DB, QUIET_DB = 15.0, 40.0
"""SNR between which a room's correction rises from none to all of it. Chosen by hand."""
AROUSAL_IN_A_ROOM: Final = 0.29
"""Half log odds at ``WET_DB`` and ``QUIET_DB``: the most likely value on held songs of the training split,
with the rooms' true values. Measured so."""
BELIEVED_S: Final = 8.0
"""Seconds of music from which a reading counts in full. Chosen by hand."""
READ_EVERY: Final = 6
"""Hop groups from one reading to the next: half a second, which is short for a memory of 20 s. Chosen for
that reason."""


class RoomState(NamedTuple):
    """What the room's counts remember."""

    past: Float32  # [LONG, 27] log mel of the last frames, a ring
    now: NDArray[np.int64]  # [1] where the next frame goes
    counts: Float32  # [N_REGIONS, N_COUNTS] levels, falls, long falls


def room_state() -> RoomState:
    """Nothing heard yet."""
    return RoomState(
        np.zeros((LONG, N_BANDS), np.float32),
        np.zeros(1, np.int64),
        np.zeros((N_REGIONS, N_COUNTS), np.float32),
    )


@njit(cache=True)  # type: ignore[untyped-decorator]
def _bin(value: float, edges: Float32) -> int:
    """Number of edges below ``value``."""
    i = 0
    while i < edges.shape[0] and value > edges[i]:
        i += 1
    return i


@njit(cache=True)  # type: ignore[untyped-decorator]
def count_frames(frames: Float32, weight: float, keep: float, state: RoomState) -> None:
    """Count the levels and falls of a group's ``frames`` [8, 27], each as ``weight``."""
    past, counts = state.past, state.counts
    at = state.now[0]
    for r in range(N_REGIONS):
        for i in range(N_COUNTS):
            counts[r, i] *= keep
    for f in range(frames.shape[0]):
        short, middle = (at - SHORT) % LONG, (at - 2 * SHORT) % LONG
        for b in range(N_BANDS):
            value, region = frames[f, b], counts[b * N_REGIONS // N_BANDS]
            region[_bin(value, LEVELS)] += weight
            before = past[short, b]
            if before > FALLS_FROM and value < before:
                region[N_LEVELS + _bin(before - value, FALLS)] += weight
                long_before = past[at, b]
                if long_before > past[middle, b] > before and long_before > LONG_FALLS_FROM:
                    region[N_LEVELS + N_FALLS + _bin(long_before - value, LONG_FALLS)] += weight
            past[at, b] = value
        at = (at + 1) % LONG
    state.now[0] = at


def statistics(counts: NDArray[np.float32]) -> Float32:
    """``[…, N_STATISTICS]`` from counts ``[…, N_REGIONS, N_COUNTS]``.

    Cumulative shares of each histogram, and what share of the time has falls and long ones.
    """
    heard = counts[..., :N_LEVELS].sum(-1, keepdims=True) + 1.0
    parts = []
    for first, n in ((0, N_LEVELS), (N_LEVELS, N_FALLS), (N_LEVELS + N_FALLS, N_LONG_FALLS)):
        histogram = counts[..., first : first + n]
        total = histogram.sum(-1, keepdims=True)
        parts.append(np.cumsum(histogram[..., :-1], -1) / (total + 1.0))
        if first:
            parts.append(total / heard)
    stacked = np.concatenate(parts, -1)
    return np.asarray(stacked.reshape(*stacked.shape[:-2], N_STATISTICS), np.float32)


class RoomCounter:
    """Streaming counts; ``push`` a hop group's log mel frames and its presence."""

    def __init__(self) -> None:
        self._state = room_state()
        self.counts = self._state.counts

    def reset(self) -> None:
        """Nothing heard yet."""
        for array in self._state:
            array[:] = 0

    def push(self, frames: Float32, presence: float) -> None:
        """Take the log mel of a group's frames, float32 [8, 27], and its presence of music, 0 .. 1."""
        weight = max(presence, LEAST_WEIGHT) if math.isfinite(presence) else LEAST_WEIGHT
        # Time without music forgets as little as it teaches.
        keep = math.exp(-min(weight, 1.0) / (MEMORY_S * EMOTION_RATE_HZ))
        count_frames(frames, weight, keep, self._state)

    @property
    def heard_s(self) -> float:
        """Seconds of music that the counts are of."""
        return float(self.counts[0, :N_LEVELS].sum()) * N_REGIONS / (N_BANDS * FRAMES_PER_S)


class RoomReading(NamedTuple):
    """What the place is like, as far as the music tells: means over rooms that sound alike."""

    drr_db: float
    """Direct-to-reverberant ratio; about 12 where no room is heard."""
    rt60_s: float
    """Seconds until reverberation has fallen by 60 dB; about 0.2 where no room is heard."""
    snr_db: float
    """Music over noise; about 60 where no noise is heard."""

    @property
    def arousal(self) -> float:
        """What to add to the arousal heard here, in half log odds: 0 to .38."""
        wet = min(max((DRY_DB - self.drr_db) / (DRY_DB - WET_DB), 0.0), WETTEST)
        quiet = min(max((self.snr_db - NOISY_DB) / (QUIET_DB - NOISY_DB), 0.0), 1.0)
        return AROUSAL_IN_A_ROOM * wet * quiet


UNKNOWN: Final = RoomReading(12.0, 0.2, 60.0)
"""Before anything is heard: a dry, quiet place."""


def read_room(counts: Float32, heard_s: float) -> RoomReading:
    """The reading of ``counts`` [N_REGIONS, N_COUNTS], of ``heard_s`` seconds of music."""
    drr_db, octaves, snr_db = (WEIGHTS @ statistics(counts) + BIASES).tolist()
    share = min(heard_s / BELIEVED_S, 1.0)
    return RoomReading(
        UNKNOWN.drr_db + share * (min(max(drr_db, -10.0), 15.0) - UNKNOWN.drr_db),
        2.0 ** (math.log2(UNKNOWN.rt60_s) * (1.0 - share) + share * min(max(octaves, -3.0), 1.0)),
        UNKNOWN.snr_db + share * (min(max(snr_db, 0.0), 60.0) - UNKNOWN.snr_db),
    )


class Room:
    """Streaming; ``push`` hop groups, then read ``reading``."""

    def __init__(self) -> None:
        self._counter = RoomCounter()
        self.reset()

    def reset(self) -> None:
        """Nothing heard yet."""
        self._counter.reset()
        self.reading = UNKNOWN
        self._n_groups = 0

    def push(self, frames: Float32, presence: float) -> None:
        """Take the log mel of a group's frames, float32 [8, 27], and its presence of music, 0 .. 1."""
        self._counter.push(frames, presence)
        self._n_groups += 1
        if self._n_groups % READ_EVERY == 0:
            self.reading = read_room(self._counter.counts, self._counter.heard_s)


def room_of_clip(frames: Float32, presence: Float32) -> RoomReading:
    """The reading at the end of a clip of log mel frames [n, 8, 27] and presence [n]."""
    counter = RoomCounter()
    for group, weight in zip(frames, presence, strict=True):
        counter.push(np.asarray(group, np.float32), float(weight))
    return read_room(counter.counts, counter.heard_s)
