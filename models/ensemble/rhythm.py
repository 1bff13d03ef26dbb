"""Whether the box knows the player's beat and bar, and plays on them.

- ``beat_f``: F of the beats believed against those annotated, within ``TOLERANCE_S``, in the octave of the
  tempo that fits best: the annotated one, its double, or every other beat.
- ``downbeat_f``: the same of downbeats, in the annotated octave.
- ``grid_ms``: median distance of onsets from the player's nearest sixteenth; ``grid_share`` the same as a
  share of what onsets anywhere would have (a quarter of a sixteenth).
- ``asynchrony_ms``: mean signed distance, positive late; ``asynchrony_abs_ms`` without its sign.
- ``bar_lines``: share of bar lines played within ``TOLERANCE_S`` of an annotated downbeat.
- ``notes_per_s``: silence is not together.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.ensemble.measures import SETTLED_S, Party, settled
from models.ensemble.songs import EXCERPT_S, Song

Floats = NDArray[np.float64]
TOLERANCE_S: Final = 0.07
"""As MIREX and mir_eval have it (Davies, Degara & Plumbley, 2009)."""
PER_BEAT: Final = 4
"""Sixteenths. Chosen: the grid of POP909."""


def f_measure(found_s: Floats, true_s: Floats) -> float:
    """F of events within ``TOLERANCE_S``, each matched once, greedily in time; NaN with nothing to find."""
    if not true_s.size:
        return float("nan")
    n_hits, i = 0, 0
    for time_s in np.sort(found_s):
        while i < true_s.size and true_s[i] < time_s - TOLERANCE_S:
            i += 1
        if i < true_s.size and true_s[i] <= time_s + TOLERANCE_S:
            n_hits += 1
            i += 1
    return 2.0 * n_hits / (found_s.size + true_s.size)


def octave_free_f(found_s: Floats, beats_s: Floats) -> float:
    """The best F of the annotated beats, of their double, and of every other one, in both phases."""
    halves = np.sort(np.concatenate([beats_s, (beats_s[1:] + beats_s[:-1]) / 2.0]))
    octaves = (beats_s, halves, beats_s[::2], beats_s[1::2])
    return max(f_measure(found_s, settled(octave)) for octave in octaves)


def grid_of(beats_s: Floats) -> Floats:
    """Sixteenths between the beats."""
    place = np.arange(PER_BEAT * (len(beats_s) - 1) + 1) / PER_BEAT
    return np.asarray(np.interp(place, np.arange(len(beats_s)), beats_s))


def distances_s(onset_s: Floats, grid_s: Floats) -> Floats:
    """Signed distance of every onset from the nearest point of the grid, positive late."""
    after = np.clip(np.searchsorted(grid_s, onset_s), 1, len(grid_s) - 1)
    nearest = np.where(
        onset_s - grid_s[after - 1] < grid_s[after] - onset_s, grid_s[after - 1], grid_s[after]
    )
    return np.asarray(onset_s - nearest)


def measure(song: Song, party: Party) -> dict[str, float]:
    """A row of figures; see the module's text."""
    onset_s, lines_s = settled(party.onset_s), settled(party.bar_lines_s)
    grid_s = grid_of(song.beats_s)
    onset_s = onset_s[(onset_s >= grid_s[0]) & (onset_s <= grid_s[-1])]
    figures = {
        "beat_f": octave_free_f(settled(party.beats_s), song.beats_s),
        "beat_f_same_octave": f_measure(settled(party.beats_s), settled(song.beats_s)),
        "downbeat_f": f_measure(settled(party.downbeats_s), settled(song.downbeats_s)),
        "notes_per_s": onset_s.size / (EXCERPT_S - SETTLED_S),
    }
    figures |= dict.fromkeys(("grid_ms", "grid_share", "asynchrony_ms", "asynchrony_abs_ms"), float("nan"))
    if onset_s.size:
        off_s = distances_s(onset_s, grid_s)
        chance_s = float(np.median(np.diff(grid_s))) / 4.0
        figures["grid_ms"] = 1e3 * float(np.median(np.abs(off_s)))
        figures["grid_share"] = figures["grid_ms"] / (1e3 * chance_s)
        figures["asynchrony_ms"] = 1e3 * float(off_s.mean())
        figures["asynchrony_abs_ms"] = abs(figures["asynchrony_ms"])
    figures["bar_lines"] = float("nan")
    if lines_s.size:
        near = np.abs(lines_s[:, None] - song.downbeats_s[None, :]).min(1)
        figures["bar_lines"] = float(np.mean(near <= TOLERANCE_S))
    return figures
