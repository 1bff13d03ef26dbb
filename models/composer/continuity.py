"""Long play through the box's own stage: does it stop, loop, drift or leave the envelope, and has it form?

Every bar played is held against the plan it was composed for: a bar may come again as often as its form
says, and no more often; and the music stops only where an ending was planned.
"""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.runtimes.onnx import OnnxComposer
from firmware_py.settings import Settings
from kelly_edge.contract import Rung
from kelly_edge.music.form import FINAL, NO_RETURN, Place
from kelly_edge.music.generator import Generator
from kelly_edge.music.notes import Bar
from kelly_edge.music.sampling import SamplingSettings
from kelly_edge.music.target import Target
from models.composer.data import Notes
from models.composer.form import MEASURES, bars_and_mode, form_of
from models.composer.performance import (
    bars_of,
    longest_loop,
    outside_envelope,
    perform_with,
    repeated_share,
)

MINUTE_S: Final = 60.0
"""By definition of a minute."""
LEAST_NOTES: Final = 2
"""Notes of a bar that can be said to come again. Chosen, as by the measures of form."""


@dataclass(frozen=True)
class Planned:
    """What the plan says of a bar: the same ``source`` twice is a bar that returns."""

    source: tuple[int, int]
    """Number of the first bar of its form, and index in the form of the bar whose material it brings."""
    is_final: bool
    """Whether it is the last chord of an ending."""


class Planning(Generator):
    """A generator that keeps what was planned for each bar, of a bar composed again the last time.

    Attributes
    ----------
    plan: by number of the bar.
    """

    def __init__(self, network: OnnxComposer, settings: SamplingSettings, seed: int) -> None:
        super().__init__(network, settings, seed)
        self.plan: dict[int, Planned] = {}

    def compose_bar(self, target: Target, rung: int = Rung.FULL) -> Bar:
        """As a generator's."""
        bar = super().compose_bar(target, rung)
        score = self.score
        self.plan.pop(bar.number, None)
        if bar.notes and score is not None and score.written:
            index = len(score.written) - 1
            is_final = score.places[index].cadence == FINAL
            self.plan[bar.number] = Planned((score.began, source_of(score.places, index)), is_final)
        return bar


def source_of(places: Sequence[Place], index: int) -> int:
    """Index of the bar whose material bar ``index`` of a form brings; a bar moved along the scale is new."""
    while places[index].like != NO_RETURN and not places[index].is_moved:
        index = places[index].like
    return index


def beyond_the_plan(bars: Sequence[Hashable], sources: Sequence[Hashable]) -> int:
    """Bars that sound like another one more often than their plan brings their material back.

    ``bars`` say what is struck, ``sources`` what was planned, for the same bars.
    """
    allowed = Counter(sources)
    heard = Counter(bars)
    most = {
        bar: max(allowed[source] for other, source in zip(bars, sources, strict=True) if other == bar)
        for bar, n in heard.items()
        if n > 1
    }
    return sum(heard[bar] - n for bar, n in most.items() if heard[bar] > n)


def longest_rest_bars(numbers: Sequence[int]) -> int:
    """Most bars in a row without a note between those with notes, whose ``numbers`` ascend."""
    return max((b - a - 1 for a, b in pairwise(numbers)), default=0)


def as_notes(notes: NDArray[Any]) -> Notes:
    """Records of notes (NOTE_DTYPE) as columns."""
    onset_s = notes["onset_s"].astype(np.float64)
    pitch, velocity = notes["pitch"].astype(np.int64), notes["velocity"].astype(np.int64)
    return Notes(onset_s, onset_s + notes["duration_s"], pitch, velocity)


def form_by_minute(minutes: Sequence[NDArray[Any]]) -> dict[str, list[float]]:
    """The measures of form of each minute, read as those of clips are."""
    values = np.array([form_of(bars_and_mode(as_notes(minute))[0]) for minute in minutes if len(minute)])
    return {
        name: [round(float(value), 3) for value in column]
        for name, column in zip(MEASURES, values.T, strict=False)
    }


def continuity(network: OnnxComposer, seconds: float = 600.0, seed: int | None = None) -> dict[str, Any]:
    """Measures of ``seconds`` of play for one emotion, with an ending; ``seed``: the setting's if None."""
    settings = Settings()
    composer = settings.composer
    sampling = SamplingSettings(temperature=composer.temperature, top_p=composer.top_p)
    generator = Planning(network, sampling, composer.seed if seed is None else seed)
    notes = perform_with(generator, settings, seconds, [(0.0, 0.3, 0.1)], ends_s=seconds)
    bars = bars_of(notes)
    numbers = np.unique(notes["bar"]).tolist()
    plan: Mapping[int, Planned] = generator.plan
    many = [i for i, n in enumerate(numbers) if np.count_nonzero(notes["bar"] == n) >= LEAST_NOTES]
    sources = [plan[n].source for n in numbers]
    minutes = (notes["onset_s"] // MINUTE_S).astype(int)
    whole = [notes[minutes == m] for m in range(int(seconds // MINUTE_S))]
    end_s = float((notes["onset_s"] + notes["duration_s"]).max())
    gaps = np.diff(notes["onset_s"], append=end_s)
    return {
        "n_notes": len(notes),
        "n_bars": len(bars),
        "n_forms": len({source[0] for source in sources}),
        "longest_silence_s": round(float(gaps.max()), 2),
        "longest_rest_bars": longest_rest_bars(numbers),
        "longest_loop_bars": longest_loop(bars),
        "longest_loop_planned": longest_loop(sources),
        "beyond_the_plan": beyond_the_plan([bars[i] for i in many], [sources[i] for i in many]),
        "ends_with_an_ending": plan[numbers[-1]].is_final,
        "end_s": round(end_s, 2),
        "repeated_bars": round(repeated_share(bars), 4),
        "outside_envelope": outside_envelope(notes, settings.envelope),
        "form_by_minute": form_by_minute(whole),
        "notes_per_s_by_minute": [round(len(m) / MINUTE_S, 2) for m in whole],
        "pitch_by_minute": [round(float(m["pitch"].mean()), 1) for m in whole if len(m)],
        "velocity_by_minute": [round(float(m["velocity"].mean()), 1) for m in whole if len(m)],
    }
