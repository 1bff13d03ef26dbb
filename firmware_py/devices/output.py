"""Write results beside their place and rename when all are complete: nothing half-written, ever."""

import contextlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from kelly_edge.errors import OutputError
from kelly_edge_text.printed import printed

TICKS_PER_BEAT: Final = 480
TEMPO: Final = 500_000
"""Microseconds a beat. Notes lie on seconds of the stream, so one fixed tempo writes them all."""
TICKS_PER_S: Final = TICKS_PER_BEAT * 1_000_000 / TEMPO
FULL_SCALE_24: Final = 2**23
BLOCK_SAMPLES: Final = 65_536
SNDFILE_SYSTEM_ERROR: Final = 2
"""libsndfile says "System error." and not which: of a write, that the disk took only a part."""


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
        kept = self._beside / ".kept"
        kept.mkdir()
        undoable: list[Path] = []
        try:
            for file in files:
                place = self.folder / file.name
                can_undo = _keep(place, kept / file.name)
                file.replace(place)
                if can_undo:
                    undoable.append(place)
        except OSError:
            for place in undoable:
                self._put_back(kept / place.name, place)
            raise

    @staticmethod
    def _put_back(old: Path, place: Path) -> None:
        with contextlib.suppress(OSError):
            if os.path.lexists(old):
                old.replace(place)
            else:
                place.unlink()

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
        if isinstance(error, soundfile.LibsndfileError) and error.code == SNDFILE_SYSTEM_ERROR:
            reason = "the sound file could not be written whole: is the disk full?"
        else:
            reason = printed(getattr(error, "strerror", None) or str(error), 120)
        folder = printed(str(self.folder), 300)
        return OutputError(f"cannot write to {folder} ({reason}); make room or choose another folder")


def _keep(place: Path, kept: Path) -> bool:
    """Link the old result, so that it stays in place until renamed over; whether it can be put back."""
    if os.path.lexists(place):
        try:
            os.link(place, kept, follow_symlinks=False)
        except OSError:
            return False  # a file system without links, as on a memory stick
    return True


def write_wav(output: OutputFolder, name: str, samples: NDArray[np.float32], rate_hz: int) -> None:
    """Mono float32 [n] as a 24-bit WAV, cut to steps toward zero: no peak is rounded above the ceiling."""
    with soundfile.SoundFile(output.path(name), "w", rate_hz, 1, "PCM_24", format="WAV") as file:
        for start in range(0, len(samples), BLOCK_SAMPLES):
            steps = np.trunc(samples[start : start + BLOCK_SAMPLES] * np.float64(FULL_SCALE_24))
            whole = np.clip(steps, -FULL_SCALE_24, FULL_SCALE_24 - 1).astype(np.int32)
            # soundfile takes the upper 24 bits.
            file.write(whole << 8)


def write_json_lines(output: OutputFolder, name: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    with output.path(name).open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def write_npz(output: OutputFolder, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Arrays by name, compressed; the same arrays give the same bytes.

    As ``np.savez_compressed`` writes it, but closed in order where the disk is full: numpy leaves that to
    the garbage collector, which prints a traceback.
    """
    with zipfile.ZipFile(output.path(name), "w") as archive:
        for key, values in arrays.items():
            # A ZipInfo made by hand has no date of today.
            info = zipfile.ZipInfo(f"{key}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)  # type: ignore[no-untyped-call]


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
