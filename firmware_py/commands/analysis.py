"""The arrays of ``kelly-edge analyse``: one row per hop, spooled to disk while a recording is heard."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.files.output import OutputFolder, Rows, Spool
from firmware_py.processes.dsp import DspStage
from kelly_edge.contract import HOP_SIZE, N_EMOTION, N_FEATURES, SAMPLE_RATE_HZ

ROWS_AT_ONCE: Final = 2_048
"""Rows of features that are held before they are written. Chosen: a megabyte of 128 float32."""
HOP: Final = np.dtype(
    [
        ("f0_hz", "<f4"),
        ("f0_time_s", "<f8"),  # when that pitch held: the middle of the window it was measured on
        ("confidence", "<f4"),
        ("loudness_db", "<f4"),
        ("emotion_step", "<i8"),
    ]
)
GROUP: Final = np.dtype(
    [
        ("features", "<f4", N_FEATURES),
        ("emotion", "<f4", N_EMOTION),
        ("valence", "<f4"),
        ("arousal", "<f4"),
        ("emotion_confidence", "<f4"),
        ("presence", "<f4"),
    ]
)
TARGET: Final = np.dtype(
    [("time_s", "<f8"), ("valence", "<f4"), ("arousal", "<f4"), ("density", "<f4"), ("tempo_bpm", "<f4")]
)
ORDER: Final = (
    "time_s", "features", "emotion", "emotion_step", "f0_hz", "f0_time_s", "confidence", "loudness_db",
    "valence", "arousal", "emotion_confidence", "presence",
)  # fmt: skip


class Analysis:
    """A ``Journal`` for the targets, told after each hop; ``arrays()`` at the end.

    Values that advance once per hop group are kept once per group, and repeated for its hops when written.
    """

    def __init__(self, output: OutputFolder) -> None:
        self._hops, self._groups, self._targets = (Spool(output, dtype) for dtype in (HOP, GROUP, TARGET))
        self._hop, self._group = np.zeros((), HOP), np.zeros((), GROUP)
        self._target = np.zeros((), TARGET)
        # What a row holds before the first group.
        self._groups.append(self._group)

    def __enter__(self) -> "Analysis":
        return self

    def __exit__(self, *_: object) -> None:
        for spool in (self._hops, self._groups, self._targets):
            spool.close()

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``: what ``play`` would compose for."""
        if entry["kind"] == "emotion":
            self._target["time_s"] = entry["time_s"]
            for name in ("valence", "arousal", "density", "tempo_bpm"):
                self._target[name] = entry["target"][name]
            self._targets.append(self._target)

    def note_down(self, dsp: DspStage) -> None:
        """A hop is done."""
        hop = self._hop
        hop["f0_hz"], hop["confidence"] = dsp.tracker.f0_hz, dsp.tracker.confidence
        now = (len(self._hops) + 1) * HOP_SIZE
        hop["f0_time_s"] = max(now - dsp.tracker.age_samples, 0) / SAMPLE_RATE_HZ
        hop["loudness_db"] = dsp.meter.loudness_db
        step = int(dsp.counters["n_emotion_steps"])
        hop["emotion_step"] = step
        self._hops.append(hop)
        if step == len(self._groups):
            group, heard = self._group, dsp.heard
            group["features"], group["emotion"] = dsp.extractor.features, heard["emotion"]
            group["valence"], group["arousal"] = heard["valence"], heard["arousal"]
            group["emotion_confidence"], group["presence"] = heard["confidence"], heard["presence"]
            self._groups.append(group)

    def arrays(self) -> dict[str, Rows]:
        """Every array by name, read from the spools block by block."""
        n = len(self._hops)
        rows = {name: self._rows(n, name) for name in ORDER}
        for name in TARGET.names or ():
            rows[f"target_{name}"] = Rows((len(self._targets),), TARGET[name], self._columns(name))
        return rows

    def _rows(self, n: int, name: str) -> Rows:
        if name == "time_s":
            return Rows((n,), np.dtype("<f8"), lambda: self._times(n))
        if name in (HOP.names or ()):
            return Rows((n,), HOP[name], lambda: (hops[name] for hops in self._blocks(self._hops)))
        base = GROUP[name]
        return Rows((n, *base.shape), base.base, lambda: self._held(name))

    def _times(self, n: int) -> Iterator[NDArray[Any]]:
        for first in range(0, n, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, n)
            yield np.arange(first + 1, last + 1) * (HOP_SIZE / SAMPLE_RATE_HZ)

    def _columns(self, name: str) -> Callable[[], Iterator[NDArray[Any]]]:
        return lambda: (records[name] for records in self._blocks(self._targets))

    def _held(self, name: str) -> Iterator[NDArray[Any]]:
        for hops in self._blocks(self._hops):
            steps = hops["emotion_step"]
            groups = self._groups.read(int(steps[0]), int(steps[-1]) + 1)
            yield groups[name][steps - steps[0]]

    @staticmethod
    def _blocks(spool: Spool) -> Iterator[NDArray[Any]]:
        for first in range(0, len(spool), ROWS_AT_ONCE):
            yield spool.read(first, min(first + ROWS_AT_ONCE, len(spool)))
