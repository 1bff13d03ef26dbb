"""The summary of a recording: how loud it was, and which moods were heard in it."""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from firmware_py.devices.files.audio_file import Recording
from firmware_py.devices.files.midi_file import KeyboardPerformance
from firmware_py.ports import Journal
from firmware_py.processes.quiet_input import DIGITAL_SILENCE_DB
from kelly_edge.contract import PRESENT, QUADRANTS
from kelly_edge.emotion.features import SOUNDING_DB
from kelly_edge.shared.printed import printed
from kelly_edge.units import SILENCE_DB

DIGITS: Final = 3
"""Of the numbers in a summary. Chosen: finer than the features are exact."""


class Heard:
    """A ``Journal`` that sums up the emotions heard, and passes each entry on."""

    def __init__(self, journal: Journal | None = None) -> None:
        self._journal = journal
        self.loudest_db = SILENCE_DB
        self._rows = {name: array("d") for name in ("time_s", "valence", "arousal", "presence")}
        self._quadrants = array("b")

    def record(self, entry: dict[str, Any]) -> None:
        """See ``Journal``."""
        if entry["kind"] == "emotion":
            for name, values in self._rows.items():
                values.append(entry[name])
            self._quadrants.append(int(np.argmax(entry["posterior"])))
            self.loudest_db = max(self.loudest_db, entry["level_db"])
        if self._journal is not None:
            self._journal.record(entry)

    def moods(self) -> list[dict[str, Any]]:
        """The mood heard in each half of the time in which somebody played; empty where nobody did."""
        played = np.flatnonzero(np.frombuffer(self._rows["presence"]) > PRESENT)
        halves = (played[: len(played) // 2], played[len(played) // 2 :])
        return [self._mood(half) for half in halves if len(half)]

    def _mood(self, at: NDArray[np.int64]) -> dict[str, Any]:
        rows = {name: np.frombuffer(values)[at] for name, values in self._rows.items()}
        quadrants = Counter(QUADRANTS[self._quadrants[i]] for i in at)
        return {
            "from_s": float(rows["time_s"][0]),
            "to_s": float(rows["time_s"][-1]),
            "quadrant": quadrants.most_common(1)[0][0],
            "valence": round(float(np.mean(rows["valence"])), DIGITS),
            "arousal": round(float(np.mean(rows["arousal"])), DIGITS),
        }

    def notices(
        self, recording: Recording | KeyboardPerformance, n_notes: int | None = None
    ) -> Iterable[str]:
        """Why nothing was heard, or answered, in one line."""
        name = printed(str(recording.path), 300)
        if self.moods():
            if n_notes == 0:
                yield f"{name}: too little music was heard for an answer: no note was played"
        elif isinstance(recording, KeyboardPerformance):
            yield f"{name}: too few notes to be heard as music, so no emotion is told"
        elif self.loudest_db < SOUNDING_DB:
            level = (
                "silence"
                if self.loudest_db <= DIGITAL_SILENCE_DB
                else f"{self.loudest_db:.0f} dBFS at its loudest"
            )
            yield (
                f"{name}: too quiet to be heard as music ({level}; {SOUNDING_DB:.0f} is needed), so no "
                "emotion is told; raise the gain of the microphone"
            )
        else:
            yield f"{name}: no music was heard (noise, or a tone that never moves), so no emotion is told"
