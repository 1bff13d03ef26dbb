"""The bars that were played as a sequencer counts them: measures on a grid of ticks, each with its tempo.

Bars lie on the seconds of the stream; a MIDI file has ticks and a tempo for each stretch of them. A measure
per committed bar puts every bar line on the grid. Where bars do not lie end to end (a rest cut short, the
time before the first bar) the beats between are stretched a little, so that no fraction of a beat is left.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from kelly_edge.music.compound_word import N_BEATS

# Chosen: what most sequencers write in a Standard MIDI File; sixteenths and triplets are whole ticks.
TICKS_PER_BEAT: Final = 480
PLAIN_BEAT_S: Final = 0.5
"""A beat where there are no bars: 120 per minute. MIDI's default tempo (SMF 1.0)."""
SHORTEST_MEASURE: Final = 0.5
"""In beats. What is left of a rest that was cut shorter than this belongs to the measure before it.
Chosen: an eighth."""
TOLERANCE_US: Final = 100
"""Error of a measure's end up to which its bar's own tempo is written: a tenth of a tick. Follows from
``TICKS_PER_BEAT`` at 120 beats per minute: a tick is 1,042 µs."""


@dataclass(frozen=True)
class Measure:
    """A measure of the file, with ``n_beats`` quarter notes."""

    tick: int
    time_us: int
    """When it begins by the file's own tempi, microseconds."""
    n_beats: int
    beat_us: int
    tonic: int = -1
    """Pitch class of its key, -1 unknown; ``mode`` 1 major, 0 minor."""
    mode: int = -1


class TempoMap:
    """Measures for bars in the order they were committed.

    Parameters
    ----------
    bars: records [n] with ``start_s``, ``beat_s``, ``n_beats``, ``tonic`` and ``mode`` (``board.BAR_DTYPE``).
    Without any the measures are plain, at 120 beats per minute.

    Attributes
    ----------
    measures: from second 0 on, end to end; never empty.
    """

    def __init__(self, bars: NDArray[Any]) -> None:
        self.measures = list(_measures(_in_force(bars)))
        self._times_us = [measure.time_us for measure in self.measures]

    def tick(self, time_s: float) -> int:
        """The tick nearest to a second of the stream; the last measure's tempo goes on beyond it."""
        measure = self.measures[max(0, bisect_right(self._times_us, time_s * 1e6) - 1)]
        return measure.tick + round((time_s * 1e6 - measure.time_us) / measure.beat_us * TICKS_PER_BEAT)


def _in_force(bars: NDArray[Any]) -> list[Any]:
    """The bars without those that a later one was put in place of."""
    kept: list[Any] = []
    for bar in bars:
        while kept and bar["start_s"] - kept[-1]["start_s"] < SHORTEST_MEASURE * kept[-1]["beat_s"]:
            kept.pop()
        kept.append(bar)
    return kept


def _measures(bars: list[Any]) -> Iterator[Measure]:
    tick = time_us = 0

    def measure(n_beats: int, beat_s: float, end_s: float, bar: Any | None = None) -> Measure:
        nonlocal tick, time_us
        beat_us = round(beat_s * 1e6)
        if abs(time_us + n_beats * beat_us - end_s * 1e6) > TOLERANCE_US:
            beat_us = max(1, round((end_s * 1e6 - time_us) / n_beats))
        key = {} if bar is None else {"tonic": int(bar["tonic"]), "mode": int(bar["mode"])}
        made = Measure(tick, time_us, n_beats, beat_us, **key)
        tick, time_us = tick + n_beats * TICKS_PER_BEAT, time_us + n_beats * beat_us
        return made

    def beats_up_to(end_s: float, beat_s: float) -> Iterator[Measure]:
        """Whole beats from here, in measures of the usual length."""
        n_left = max(1, round((end_s - time_us / 1e6) / beat_s))
        while n_left > 0:
            n_beats, even_s = min(n_left, N_BEATS), (end_s - time_us / 1e6) / n_left
            yield measure(n_beats, even_s, time_us / 1e6 + n_beats * even_s)
            n_left -= n_beats

    if not bars:
        yield Measure(0, 0, N_BEATS, round(PLAIN_BEAT_S * 1e6))
        return
    if bars[0]["start_s"] * 1e6 > TOLERANCE_US:
        yield from beats_up_to(float(bars[0]["start_s"]), float(bars[0]["beat_s"]))
    last_end_s = float(bars[-1]["start_s"] + bars[-1]["n_beats"] * bars[-1]["beat_s"])
    next_starts_s = [*(float(bar["start_s"]) for bar in bars[1:]), last_end_s]
    for bar, end_s in zip(bars, next_starts_s, strict=True):
        start_s, beat_s, n_beats = float(bar["start_s"]), float(bar["beat_s"]), int(bar["n_beats"])
        n_until_next = max(1, round((end_s - start_s) / beat_s))
        if n_until_next <= n_beats:
            yield measure(n_until_next, beat_s, end_s, bar)
        else:
            yield measure(n_beats, beat_s, start_s + n_beats * beat_s, bar)
            yield from beats_up_to(end_s, beat_s)
