"""The input of a family of measures, and how figures are put together.

A family is a function from a song and one party's playing to figures by name. The same function measures
the box, the human player (as if they were the box) and chance: the box's music a few seconds late, so that
it is the same music at the wrong place. A new family is a module with such a function and a row in
``evaluate.FAMILIES``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.ensemble.songs import EXCERPT_S, Song

Floats = NDArray[np.float64]
SETTLED_S: Final = 20.0
"""The time before is not measured. Chosen: beat, key and a loop of chords can be known by then."""
SHIFTS_S: Final = (2.83, 4.37, 6.19, 7.71)
"""How late chance plays; no multiple of a usual beat. Chosen by hand."""


@dataclass(frozen=True)
class Party:
    """One party's playing, and its beliefs about the song while it listened.

    ``beats_s`` and ``downbeats_s`` are those believed when they came; ``heard`` is HEARD_DTYPE [n] (empty for
    a person).
    """

    onset_s: Floats
    end_s: Floats
    pitch: NDArray[np.int64]
    bar_lines_s: Floats
    beats_s: Floats
    downbeats_s: Floats
    heard: NDArray[Any]

    def later(self, seconds: float) -> "Party":
        """The same at the wrong time, begun anew where the excerpt ends, so that as much is measured."""
        span = EXCERPT_S - SETTLED_S

        def moved(times: Floats) -> Floats:
            return np.where(times >= SETTLED_S, SETTLED_S + (times - SETTLED_S + seconds) % span, times)

        onset_s = moved(self.onset_s)
        order = np.argsort(onset_s, kind="stable")
        return replace(
            self,
            onset_s=onset_s[order],
            end_s=(onset_s + self.end_s - self.onset_s)[order],
            pitch=self.pitch[order],
            bar_lines_s=np.sort(moved(self.bar_lines_s)),
            beats_s=np.sort(moved(self.beats_s)),
            downbeats_s=np.sort(moved(self.downbeats_s)),
        )


Figures = Mapping[str, float]
Family = Callable[[Song, Party], Figures]


def settled(times: Floats) -> Floats:
    """Those that are measured."""
    return times[(times >= SETTLED_S) & (times < EXCERPT_S)]


def player_of(song: Song) -> Party:
    """The human player as a party."""
    notes = song.notes
    heard = np.zeros(0)
    return Party(
        notes.onset_s, notes.end_s, notes.pitch, song.downbeats_s, song.beats_s, song.downbeats_s, heard
    )


def chance_of(family: Family, song: Song, party: Party) -> dict[str, float]:
    """The figures of the same music at the wrong time, means over ``SHIFTS_S``."""
    found = [family(song, party.later(seconds)) for seconds in SHIFTS_S]
    known = {name: [f[name] for f in found if np.isfinite(f[name])] for name in found[0]}
    return {name: float(np.mean(values)) if values else float("nan") for name, values in known.items()}


def with_interval(values: Sequence[float]) -> dict[str, float]:
    """Mean and its 95 % interval by bootstrap over songs; NaN (nothing to measure) does not count."""
    known = np.array([v for v in values if np.isfinite(v)])
    if not known.size:
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    drawn = np.random.default_rng(0).choice(known, (2_000, known.size)).mean(1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return {"mean": float(known.mean()), "low": float(low), "high": float(high), "n": int(known.size)}
