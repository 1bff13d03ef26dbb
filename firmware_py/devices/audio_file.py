"""Read a recording: any common file into mono float32 at the instrument's rate.

A block at a time is read, mixed down, cleaned and resampled, so that beside the result only a block is held.
"""

import math
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from firmware_py.devices.audio_length import promised_bytes
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import AudioFileError
from kelly_edge_text.printed import printed

RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 192_000
LONGEST_S: Final = 2 * 3_600
BLOCK_VALUES: Final = 262_144
"""Samples of all channels read at a time."""
CLIPPED_AT: Final = 1.0 - 2.0**-15
"""Full scale of the coarsest common format, 16-bit: its largest positive value."""
LOUDEST: Final = 16.0
"""A float file may hold values far beyond full scale; what is heard has at most 24 dB of excess."""
UNKNOWN_LENGTH: Final = 2**63 - 1
REMEDY: Final = "give a WAV, FLAC, OGG or MP3 recording"


@dataclass(frozen=True)
class Recording:
    """A recording, ready to be heard.

    ``samples`` is float32 [n], mono at 48 kHz, finite, within ±``LOUDEST``. The two counts are of
    the file's frames with such a value in any channel; a value that is not finite became 0.
    """

    samples: NDArray[np.float32]
    original_rate_hz: int
    n_channels: int
    duration_s: float
    n_non_finite: int
    n_clipped: int


def read_audio(path: Path) -> Recording:
    """Read, downmix (mean of the channels), clean and resample a recording.

    Raises
    ------
    AudioFileError: with the fault, the file and the remedy in one line.
    """
    name = printed(str(path), 300)
    _refuse_what_is_not_whole(path, name)
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError, ValueError) as error:
        # A TypeError: soundfile takes a file named .raw for headerless samples.
        raise AudioFileError(f"{name} is not a readable recording ({_reason(error)}); {REMEDY}") from None
    with file:
        _refuse_what_cannot_be_heard(name, file)
        reader = _Reader(file)
        try:
            reader.read_all()
        except MemoryError:
            raise AudioFileError(f"{name} is too long for the memory of this machine; cut it") from None
        except (soundfile.LibsndfileError, OSError, RuntimeError, ValueError) as error:
            reason = f"{_reason(error)} after {reader.n_frames} of {file.frames} frames"
            raise AudioFileError(f"{name} is damaged or truncated ({reason}); copy the file again") from None
    if reader.n_frames < file.frames:
        counts = f"{reader.n_frames} of {file.frames} frames are there"
        raise AudioFileError(f"{name} is truncated ({counts}); copy the file again")
    if not reader.any_finite:
        raise AudioFileError(f"{name} holds no finite sample; {REMEDY}")
    samples = reader.samples()
    if len(samples) == 0:
        raise AudioFileError(f"{name} holds no sound ({reader.n_frames} frames); {REMEDY}")
    duration_s = reader.n_frames / file.samplerate
    return Recording(
        samples, file.samplerate, file.channels, duration_s, reader.n_non_finite, reader.n_clipped
    )


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return printed(" ".join(str(text).split()).rstrip("."), 120) or type(error).__name__


def _refuse_what_is_not_whole(path: Path, name: str) -> None:
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioFileError(f"{name} is a folder; give one recording in it")
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for ever.
            raise AudioFileError(f"{name} is not a file; {REMEDY}")
        with path.open("rb") as file:
            promised = promised_bytes(file, status.st_size)
    except (OSError, ValueError) as error:
        raise AudioFileError(f"cannot read {name} ({_reason(error)}); {REMEDY}") from None
    if status.st_size < promised:
        found = f"{status.st_size} of {promised} bytes are there"
        raise AudioFileError(f"{name} is truncated ({found}); copy the file again")


def _refuse_what_cannot_be_heard(name: str, file: soundfile.SoundFile) -> None:
    if not RATE_MIN_HZ <= file.samplerate <= RATE_MAX_HZ:
        limits = f"{RATE_MIN_HZ} to {RATE_MAX_HZ} can be read"
        raise AudioFileError(f"{name} has {file.samplerate} samples a second; {limits}: resample it")
    if file.frames == 0:
        raise AudioFileError(f"{name} holds no sound (0 frames); {REMEDY}")
    if file.frames == UNKNOWN_LENGTH:
        raise AudioFileError(f"{name} does not say how long it is (written to a pipe?); convert it to a WAV")
    if file.frames > LONGEST_S * file.samplerate:
        raise AudioFileError(f"{name} is longer than {LONGEST_S // 3_600} hours; cut it")


class _Reader:
    """Reads a file to its end; counts what it meets."""

    def __init__(self, file: soundfile.SoundFile) -> None:
        self._file = file
        self._resampler = None
        if file.samplerate != SAMPLE_RATE_HZ:
            self._resampler = soxr.ResampleStream(
                file.samplerate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ"
            )
        self._n_samples = 0
        self._samples = np.zeros(0, np.float32)
        self.n_frames = self.n_non_finite = self.n_clipped = 0
        self.any_finite = False

    def read_all(self) -> None:
        """Read the file to its end."""
        file = self._file
        # Memory is taken where it is written to, so a header that lies costs nothing.
        self._samples = np.empty(math.ceil(file.frames * SAMPLE_RATE_HZ / file.samplerate) + 1, np.float32)
        n_at_once = max(1, BLOCK_VALUES // file.channels)
        while len(block := file.read(n_at_once, dtype="float32", always_2d=True)):
            self._append(self._mixed(block), last=False)
        self._append(np.zeros(0, np.float32), last=True)

    def samples(self) -> NDArray[np.float32]:
        """What was read: float32 [n] at 48 kHz."""
        return self._samples[: self._n_samples]

    def _mixed(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        self.n_frames += len(block)
        finite = np.isfinite(block)
        self.any_finite = self.any_finite or bool(finite.any())
        self.n_non_finite += int(np.sum(~finite.all(axis=1)))
        block[~finite] = 0.0
        self.n_clipped += int(np.sum((np.abs(block) >= CLIPPED_AT).any(axis=1)))
        mono: NDArray[np.float64] = block.mean(axis=1, dtype=np.float64)
        # Before the resampler: it would turn an enormous value into infinities around it.
        return np.clip(mono, -LOUDEST, LOUDEST).astype(np.float32)

    def _append(self, mono: NDArray[np.float32], last: bool) -> None:
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono, last=last)
            # The filter's ringing may pass the bound again.
            mono = np.clip(mono, -LOUDEST, LOUDEST)
        end = self._n_samples + len(mono)
        self._samples[self._n_samples : end] = mono
        self._n_samples = end
