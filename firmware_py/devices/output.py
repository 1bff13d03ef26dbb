"""Write results beside their place and rename when all are complete: nothing half-written, ever."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from kelly_edge.errors import OutputError

TICKS_PER_BEAT: Final = 480
TEMPO: Final = 500_000
"""Microseconds a beat. Notes lie on seconds of the stream, so one fixed tempo writes them all."""
TICKS_PER_S: Final = TICKS_PER_BEAT * 1_000_000 / TEMPO


class OutputFolder:
    """Files that appear together in ``folder`` when the ``with`` block ends well, or not at all.

    ``path(name)`` is where to write a file until then. Files of other names are left alone.

    Raises
    ------
    OutputError: the folder cannot be made or written; raised for any ``OSError`` within the block too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._beside: Path | None = None
        self._made: list[Path] = []

    def __enter__(self) -> "OutputFolder":
        try:
            for missing in reversed([p for p in (self.folder, *self.folder.parents) if not p.exists()]):
                missing.mkdir()
                self._made.append(missing)
            self._beside = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.folder))
        except OSError as error:
            self._remove()
            raise self._error(error) from None
        return self

    def path(self, name: str) -> Path:
        """Where to write the file that will be ``folder / name``."""
        assert self._beside is not None, "use within a with block"
        return self._beside / name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._rename()
        except OSError as failure:
            error = failure
        if error is None:
            self._made.clear()
        self._remove()
        if isinstance(error, (OSError, soundfile.LibsndfileError)):
            raise self._error(error) from None

    def _rename(self) -> None:
        assert self._beside is not None
        files = sorted(self._beside.iterdir())
        blocked = [f.name for f in files if (self.folder / f.name).is_dir()]
        if blocked:
            raise IsADirectoryError(21, f"{blocked[0]} is a folder")
        for file in files:
            with file.open("rb") as written:
                os.fsync(written.fileno())
        for file in files:
            file.replace(self.folder / file.name)

    def _remove(self) -> None:
        if self._beside is not None:
            shutil.rmtree(self._beside, ignore_errors=True)
        for made in reversed(self._made):
            # Only what is still empty: somebody else may have put something there.
            try:
                made.rmdir()
            except OSError:
                break

    def _error(self, error: BaseException) -> OutputError:
        reason = getattr(error, "strerror", None) or getattr(error, "error_string", None) or str(error)
        return OutputError(f"cannot write to {self.folder} ({reason}); make room or choose another folder")


def write_wav(output: OutputFolder, name: str, samples: NDArray[np.float32], rate_hz: int) -> None:
    """Mono float32 [n] as a 24-bit WAV."""
    soundfile.write(output.path(name), samples, rate_hz, subtype="PCM_24", format="WAV")


def write_json_lines(output: OutputFolder, name: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    with output.path(name).open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def write_npz(output: OutputFolder, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Arrays by name, compressed. numpy writes no dates, so the same arrays give the same bytes."""
    with output.path(name).open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def write_midi(output: OutputFolder, name: str, notes: NDArray[Any], program: int) -> None:
    """NOTE_DTYPE [n] as a standard MIDI file, format 0, 480 ticks a beat at 120 beats a minute."""
    events: list[tuple[int, int, mido.Message]] = []
    channels = sorted({int(c) for c in notes["channel"]}) or [0]
    for note in notes:
        on = round(float(note["onset_s"]) * TICKS_PER_S)
        off = max(on + 1, round((float(note["onset_s"]) + float(note["duration_s"])) * TICKS_PER_S))
        key = {"channel": int(note["channel"]), "note": int(note["pitch"])}
        events.append((on, 1, mido.Message("note_on", velocity=int(note["velocity"]), **key)))
        events.append((off, 0, mido.Message("note_off", velocity=0, **key)))
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=TEMPO)])
    track.extend(mido.Message("program_change", program=program, channel=c) for c in channels)
    before = 0
    # Note-offs first: a pitch struck again on the same tick must end before it begins.
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        track.append(message.copy(time=tick - before))
        before = tick
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(output.path(name))
