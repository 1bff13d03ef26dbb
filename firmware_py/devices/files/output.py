"""Write results beside their place and rename when all are complete: nothing half-written, ever."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

from kelly_edge.errors import OutputError
from kelly_edge.music.tempo_map import TICKS_PER_BEAT, TempoMap
from kelly_edge.shared.printed import printed

TRACK_NAME: Final = "Kelly Edge"
KEY_SIGNATURES: Final = (
    ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm"),
    ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
)
"""By mode (0 minor, 1 major) and tonic, with the fewest accidentals."""
FULL_SCALE_24: Final = 2**23
"""By definition: largest magnitude of a 24-bit sample."""
BLOCK_SAMPLES: Final = 65_536
"""Chosen: converted at a time, a quarter of a megabyte of float32."""
SNDFILE_SYSTEM_ERROR: Final = 2
"""libsndfile says "System error." and not which: of a write, that the disk took only a part. libsndfile's
SF_ERR_SYSTEM."""


def refuse_to_overwrite(outputs: Iterable[Path], sources: Iterable[Path]) -> None:
    """No command may write onto a file that it reads, under any name (links, case, ``..``).

    Raises
    ------
    OutputError: an output is the same file as a source.
    """
    known: dict[tuple[int, int], Path] = {}
    for source in sources:
        with contextlib.suppress(OSError, ValueError):
            status = source.stat()
            known[status.st_dev, status.st_ino] = source
    for output in outputs:
        with contextlib.suppress(OSError, ValueError):
            status = output.stat()
            if (found := known.get((status.st_dev, status.st_ino))) is not None:
                names = f"{printed(str(output), 300)} is {printed(str(found), 300)}"
                raise OutputError(f"{names}, which this command reads; choose another --out")


class OutputFolder:
    """Files that appear together in ``folder`` when the ``with`` block ends well, or not at all.

    ``path(name)`` is where to write a file until then. Files of other names are left alone.

    Parameters
    ----------
    names: the files to come, so that impossible ones are refused before any work is done.
    sources: what the command reads; no file is put in its place.

    Raises
    ------
    OutputError: the folder cannot be made or written, or a file would overwrite a source; raised for any
        ``OSError`` within the block too.
    """

    def __init__(self, folder: Path, names: Iterable[str] = (), sources: Iterable[Path] = ()) -> None:
        self.folder = folder
        self._names = tuple(names)
        self._sources = tuple(sources)
        self._beside: Path | None = None
        self._made: list[Path] = []

    def __enter__(self) -> "OutputFolder":
        refuse_to_overwrite((self.folder / name for name in self._names), self._sources)
        try:
            self._refuse_what_is_no_file(self._names)
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
            is_done = error is None
        except OSError as failure:
            error, is_done = failure, False
        except OutputError:
            self._remove()
            raise
        if is_done:
            self._made.clear()
        self._remove()
        if isinstance(error, (OSError, soundfile.LibsndfileError)):
            raise self._error(error) from None

    def _rename(self) -> None:
        assert self._beside is not None
        files = sorted(self._beside.iterdir())
        self._refuse_what_is_no_file(file.name for file in files)
        refuse_to_overwrite((self.folder / file.name for file in files), self._sources)
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

    def _refuse_what_is_no_file(self, names: Iterable[str]) -> None:
        """A device, which root could replace, is lost to the whole machine: ``--out /dev/null``."""
        for name in names:
            place = self.folder / name
            if place.is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder")
            if place.exists() and not place.is_file():
                raise FileExistsError(errno.EEXIST, f"{name} is a device or a pipe, not a file")

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


class WavWriter:
    """Mono float32 blocks into a 24-bit WAV, cut to steps toward zero: no peak is rounded above the ceiling.

    ``peak`` is the largest magnitude written. To be used in a ``with`` statement, inside of the folder's.
    """

    def __init__(self, output: OutputFolder, name: str, rate_hz: int) -> None:
        self.peak = 0.0
        self._file = soundfile.SoundFile(output.path(name), "w", rate_hz, 1, "PCM_24", format="WAV")
        self._waiting: list[NDArray[np.float32]] = []
        self._n_waiting = 0

    def write(self, block: NDArray[np.float32]) -> None:
        """Append float32 [n] (copied)."""
        self._waiting.append(block.copy())
        self._n_waiting += len(block)
        if self._n_waiting >= BLOCK_SAMPLES:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        samples = np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [], 0
        self.peak = max(self.peak, float(np.max(np.abs(samples), initial=0.0)))
        steps = np.trunc(samples * np.float64(FULL_SCALE_24))
        whole = np.clip(steps, -FULL_SCALE_24, FULL_SCALE_24 - 1).astype(np.int32)
        # soundfile takes the upper 24 bits.
        self._file.write(whole << 8)

    def __enter__(self) -> "WavWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()


class JsonLines:
    """A ``Journal`` into a file, one JSON object a line; to be used in a ``with`` statement."""

    def __init__(self, output: OutputFolder, name: str) -> None:
        self._file = output.path(name).open("w", encoding="utf-8")

    def record(self, entry: Mapping[str, Any]) -> None:
        """See ``Journal``."""
        self._file.write(json.dumps(entry, allow_nan=False) + "\n")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class Spool:
    """Records of one dtype, on disk in the folder until it is complete: memory does not grow with them."""

    def __init__(self, output: OutputFolder, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._file = tempfile.TemporaryFile(dir=output.path("."))  # noqa: SIM115
        self._n = 0

    def append(self, record: NDArray[Any]) -> None:
        """One record."""
        self._file.write(record.tobytes())
        self._n += 1

    def __len__(self) -> int:
        return self._n

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Records ``first`` up to but without ``last``."""
        self._file.seek(first * self.dtype.itemsize)
        found = np.frombuffer(self._file.read((last - first) * self.dtype.itemsize), self.dtype)
        self._file.seek(0, os.SEEK_END)
        return found

    def close(self) -> None:
        """Done."""
        self._file.close()


@dataclass(frozen=True)
class Rows:
    """An array that is given block by block along its first axis."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterable[NDArray[Any]]]


def write_npz(output: OutputFolder, name: str, arrays: Mapping[str, NDArray[Any] | Rows]) -> None:
    """Arrays by name, compressed; the same arrays give the same bytes, in whatever blocks they come.

    As ``np.savez_compressed`` writes it, but closed in order where the disk is full: numpy leaves that to
    the garbage collector, which prints a traceback.
    """
    with zipfile.ZipFile(output.path(name), "w") as archive:
        for key, values in arrays.items():
            # A ZipInfo made by hand has no date of today.
            info = zipfile.ZipInfo(f"{key}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                if isinstance(values, Rows):
                    header = {
                        "descr": np.lib.format.dtype_to_descr(values.dtype),  # type: ignore[no-untyped-call]
                        "fortran_order": False,
                        "shape": values.shape,
                    }
                    np.lib.format.write_array_header_1_0(member, header)  # type: ignore[no-untyped-call]
                    for block in values.blocks():
                        member.write(np.ascontiguousarray(block, values.dtype).tobytes())
                else:
                    np.lib.format.write_array(member, np.asarray(values), allow_pickle=False)  # type: ignore[no-untyped-call]


NO_BARS: Final[NDArray[Any]] = np.zeros(0)


def write_midi(
    output: OutputFolder, name: str, notes: NDArray[Any], program: int, bars: NDArray[Any] = NO_BARS
) -> None:
    """NOTE_DTYPE [n] as a standard MIDI file, format 0, with a measure for each of the ``bars``.

    ``bars`` are ``BAR_DTYPE`` [n] in the order they were committed; without any there is one tempo, 120
    beats per minute. The last notes may ring on after the last measure that holds one.
    """
    tempi = TempoMap(bars)
    events: list[tuple[int, int, mido.Message | mido.MetaMessage]] = []
    last_tick = 0
    for note in notes:
        on = tempi.tick(float(note["onset_s"]))
        off = max(on + 1, tempi.tick(float(note["onset_s"]) + float(note["duration_s"])))
        key = {"channel": int(note["channel"]), "note": int(note["pitch"])}
        events.append((on, 2, mido.Message("note_on", velocity=int(note["velocity"]), **key)))
        events.append((off, 1, mido.Message("note_off", velocity=0, **key)))
        last_tick = max(last_tick, off)
    events += [(tick, 0, message) for tick, message in _map_messages(tempi) if tick <= last_tick]
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=TRACK_NAME)])
    channels = sorted({int(c) for c in notes["channel"]}) or [0]
    track.extend(mido.Message("program_change", program=program, channel=c) for c in channels)
    before = 0
    # Note-offs first: a pitch struck again on the same tick must end before it begins.
    for tick, _, message in sorted(events, key=lambda e: e[:2]):
        track.append(message.copy(time=tick - before))
        before = tick
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT, tracks=[track]).save(output.path(name))


def _map_messages(tempi: TempoMap) -> Iterator[tuple[int, mido.MetaMessage]]:
    """What changes from one measure to the next, with its tick: time signature, key signature, tempo."""
    n_beats, beat_us, key = 0, 0, ""
    for measure in tempi.measures:
        if measure.n_beats != n_beats:
            n_beats = measure.n_beats
            yield measure.tick, mido.MetaMessage("time_signature", numerator=n_beats, denominator=4)
        if measure.tonic >= 0 and KEY_SIGNATURES[measure.mode][measure.tonic] != key:
            key = KEY_SIGNATURES[measure.mode][measure.tonic]
            yield measure.tick, mido.MetaMessage("key_signature", key=key)
        if measure.beat_us != beat_us:
            beat_us = measure.beat_us
            yield measure.tick, mido.MetaMessage("set_tempo", tempo=beat_us)
