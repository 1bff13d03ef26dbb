"""Read a recording: any common file into mono float32 at the instrument's rate."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import AudioFileError

RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 192_000
LONGEST_S: Final = 2 * 3_600
BLOCK_FRAMES: Final = 65_536
REMEDY: Final = "give a WAV, FLAC, OGG or MP3 recording"


@dataclass(frozen=True)
class Recording:
    """A recording, ready to be heard.

    ``samples`` is float32 [n], mono at 48 kHz, finite; counts are of the file's frames.
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
    _refuse_what_is_no_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            _refuse_what_cannot_be_heard(path, file)
            mono, n_non_finite, n_clipped = _read_mono(file)
            rate_hz, n_channels, n_promised = file.samplerate, file.channels, file.frames
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"{path} is not a readable recording ({_reason(error)}); {REMEDY}") from None
    except (OSError, RuntimeError, MemoryError, ValueError) as error:
        raise AudioFileError(f"cannot read {path} ({_reason(error)}); {REMEDY}") from None
    if len(mono) == 0:
        raise AudioFileError(f"{path} holds no sound (0 frames); {REMEDY}")
    if len(mono) < n_promised:
        raise AudioFileError(
            f"{path} is truncated ({len(mono)} of {n_promised} frames are there); copy the file again"
        )
    if n_non_finite == len(mono):
        raise AudioFileError(f"{path} holds no finite sample; {REMEDY}")
    samples = (
        soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ") if rate_hz != SAMPLE_RATE_HZ else mono
    )
    # A file may hold values far beyond full scale; what is heard has at most 24 dB of excess.
    samples = np.clip(samples, -16.0, 16.0).astype(np.float32)
    return Recording(samples, rate_hz, n_channels, len(mono) / rate_hz, n_non_finite, n_clipped)


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__


def _refuse_what_is_no_file(path: Path) -> None:
    if path.is_dir():
        raise AudioFileError(f"{path} is a folder; give one recording in it")
    try:
        with path.open("rb") as file:
            header = file.read(12)
    except (OSError, ValueError) as error:
        raise AudioFileError(f"cannot read {path} ({_reason(error)}); {REMEDY}") from None
    if not os.path.isfile(path):
        raise AudioFileError(f"{path} is not a file; {REMEDY}")
    # libsndfile quietly takes what is there of a WAV that was cut short: the header tells.
    if header[:4] == b"RIFF" and header[8:12] == b"WAVE":
        promised, found = int.from_bytes(header[4:8], "little") + 8, path.stat().st_size
        if promised < 0xFFFF_FFFF and found < promised - 1:
            raise AudioFileError(
                f"{path} is truncated ({found} of {promised} bytes are there); copy the file again"
            )


def _refuse_what_cannot_be_heard(path: Path, file: soundfile.SoundFile) -> None:
    if not RATE_MIN_HZ <= file.samplerate <= RATE_MAX_HZ:
        raise AudioFileError(
            f"{path} has {file.samplerate} samples a second; {RATE_MIN_HZ} to {RATE_MAX_HZ} can be read: resample it"
        )
    if file.frames > LONGEST_S * file.samplerate:
        raise AudioFileError(f"{path} is longer than {LONGEST_S // 3_600} hours; cut it")


def _read_mono(file: soundfile.SoundFile) -> tuple[NDArray[np.float32], int, int]:
    parts: list[NDArray[np.float32]] = []
    n_non_finite = n_clipped = n_frames = 0
    for block in file.blocks(BLOCK_FRAMES, dtype="float32", always_2d=True):
        finite = np.isfinite(block)
        n_non_finite += int(np.sum(~finite.all(axis=1)))
        block[~finite] = 0.0
        n_clipped += int(np.sum(np.any(np.abs(block) >= 1.0, axis=1)))
        parts.append(block.mean(axis=1, dtype=np.float64).astype(np.float32))
        n_frames += len(block)
        if n_frames > LONGEST_S * file.samplerate:
            raise ValueError("longer than it says")
    return (np.concatenate(parts) if parts else np.zeros(0, np.float32)), n_non_finite, n_clipped
