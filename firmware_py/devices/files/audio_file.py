"""Read a recording: any common file into mono float32 at the instrument's rate, a block at a time.

It is decoded twice: once to learn its true length, its faults and whether its channels cancel, then to be
heard. So a fault is told before any work is done, and no more than a block is ever held in memory.
"""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from firmware_py.devices.files.audio_header import Account, Repaired, account_of
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import AudioFileError
from kelly_edge.shared.printed import printed
from kelly_edge.units import gain_to_db

RATE_MIN_HZ, RATE_MAX_HZ = 8_000, 192_000
"""Chosen: from telephones to the fastest of common cards."""
LONGEST_S: Final = 2 * 3_600
"""Chosen: longer than any session."""
BLOCK_VALUES: Final = 262_144
"""Samples of all channels read at a time. Chosen: a megabyte of float32."""
STEP_FRAMES: Final = 16
"""Frames read at a time near damage: no more than these are lost before it. Chosen: a third of a
millisecond."""
PIECE_FRAMES: Final = 4_096
"""Frames over which the channels are compared. Chosen: 85 ms at 48 kHz."""
CLIPPED_AT: Final = 1.0 - 2.0**-15
"""Full scale of the coarsest common format, 16-bit: its largest positive value. By definition."""
LOUDEST: Final = 16.0
"""A float file may hold values far beyond full scale; what is heard has at most 24 dB of excess. Chosen by
hand."""
UNKNOWN_LENGTH: Final = 2**63 - 1
"""As libsndfile reports it (SF_COUNT_MAX)."""
CANCELLED: Final = 0.1
"""Channels cancel where their mean has less than this share of the power unrelated channels would leave.
Chosen: -10 dB."""
CANCELLED_SHARE: Final = 0.2
"""Share of a recording's power that may cancel before one channel is heard alone. Chosen by hand."""
UNFINISHED: Final = "its end was never written (did the recorder lose power?), so some may be missing"
REMEDY: Final = "give a WAV, FLAC, OGG or MP3 recording"
DECODING_FAULTS: Final = (soundfile.LibsndfileError, OSError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Recording:
    """A recording, ready to be heard.

    ``n_samples`` mono samples at 48 kHz, which ``blocks`` gives. The two counts are of the file's frames
    with such a value in any channel; a value that is not finite is heard as 0. ``level_db``: RMS of the
    mono sound heard, dBFS, from -120. ``notices``: what a person should know of the file, one line each.
    """

    path: Path
    n_samples: int
    original_rate_hz: int
    n_channels: int
    duration_s: float
    n_non_finite: int
    n_clipped: int
    level_db: float
    notices: tuple[str, ...]
    channel: int = field(default=-1, repr=False)
    """The one that is heard; -1: the mean of all."""
    account: Account = field(default=Account(), repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """What is heard: float32 blocks, finite, within ±``LOUDEST``, ``n_samples`` in all.

        Raises
        ------
        AudioFileError: the file has changed since it was looked at.
        """
        n_left, n_frames = self.n_samples, round(self.duration_s * self.original_rate_hz)
        resampler = None
        if self.original_rate_hz != SAMPLE_RATE_HZ:
            resampler = soxr.ResampleStream(
                self.original_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ"
            )
        try:
            for block in self._frames(n_frames):
                mono = mixed(block, self.channel)
                if resampler is not None:
                    # The filter's ringing may pass the bound again.
                    mono = np.clip(resampler.resample_chunk(mono), -LOUDEST, LOUDEST)
                n_left -= len(mono)
                yield mono
            if resampler is not None:
                end = np.clip(resampler.resample_chunk(np.zeros(0, np.float32), last=True), -LOUDEST, LOUDEST)
                n_left -= len(end)
                yield end
        except DECODING_FAULTS:
            n_left = 1
        if n_left:
            raise AudioFileError(f"{printed(str(self.path), 300)} was changed while it was read; try again")

    def _frames(self, n_frames: int) -> Iterator[NDArray[np.float32]]:
        with _opened(self.path, self.account) as file:
            n_at_once = max(1, BLOCK_VALUES // file.channels)
            while n_frames:
                block = file.read(min(n_at_once, n_frames), dtype="float32", always_2d=True)
                if not len(block):
                    return
                n_frames -= len(block)
                yield block

    @property
    def samples(self) -> NDArray[np.float32]:
        """All samples at once, for recordings known to be short: float32 [n_samples]."""
        return np.concatenate(list(self.blocks()))


def mixed(block: NDArray[np.float32], channel: int = -1) -> NDArray[np.float32]:
    """Frames [n, channels] as mono [n]: the mean, or one channel; values that are not finite are 0."""
    finite = np.where(np.isfinite(block), block, np.float32(0.0))
    chosen = finite if channel < 0 else finite[:, channel : channel + 1]
    # Bounded before the resampler: it would turn an enormous value into infinities around it.
    mono: NDArray[np.float64] = chosen.mean(axis=1, dtype=np.float64)
    return np.clip(mono, -LOUDEST, LOUDEST).astype(np.float32)


def read_audio(path: Path) -> Recording:
    """Look a recording through to its end.

    Raises
    ------
    AudioFileError: with the fault, the file and the remedy in one line.
    """
    name = printed(str(path), 300)
    size, account = _account(path, name)
    survey = _Survey(path, account)
    try:
        with _opened(path, account) as file:
            _refuse_what_cannot_be_heard(name, file)
            rate_hz, n_channels, n_promised = file.samplerate, file.channels, file.frames
    except soundfile.LibsndfileError as error:
        raise AudioFileError(f"{name} is not a readable recording ({_reason(error)}); {REMEDY}") from None
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # A TypeError: soundfile takes a file named .raw for headerless samples.
        raise AudioFileError(f"{name} is not a readable recording ({_reason(error)}); {REMEDY}") from None
    fault = survey.read_all(LONGEST_S * rate_hz)
    if survey.n_frames > LONGEST_S * rate_hz:
        raise AudioFileError(f"{name} is longer than {LONGEST_S // 3_600} hours; cut it")
    if fault and not survey.n_frames:
        raise AudioFileError(f"{name} is damaged or truncated ({fault}); copy the file again")
    n_samples = int(survey.n_frames * SAMPLE_RATE_HZ / rate_hz + 0.5)
    if n_samples == 0:
        raise AudioFileError(f"{name} holds no sound ({survey.n_frames} frames); {REMEDY}")
    if not survey.any_finite:
        raise AudioFileError(f"{name} holds no finite sample; {REMEDY}")
    duration_s = survey.n_frames / rate_hz
    notices = []
    if text := _what_is_missing(survey.n_frames, n_promised, size, account, fault, rate_hz):
        notices.append(f"{name}: {text}; {duration_s:.1f} s are read")
    channel = survey.channel_alone()
    if channel >= 0:
        notices.append(
            f"{name}: its channels cancel when mixed (out of phase); channel {channel + 1} is heard alone"
        )
    return Recording(
        path, n_samples, rate_hz, n_channels, duration_s, survey.n_non_finite, survey.n_clipped,
        survey.level_db(channel), tuple(notices), channel, account,
    )  # fmt: skip


def _what_is_missing(
    n_frames: int, n_promised: int, size: int, account: Account, fault: str, rate_hz: int
) -> str:
    """What is not there of a recording, or nothing."""
    if n_promised == UNKNOWN_LENGTH:
        return UNFINISHED
    if fault:
        of = f" of {n_promised / rate_hz:.1f}" if n_frames < n_promised < UNKNOWN_LENGTH else ""
        return f"damaged or cut short after {n_frames / rate_hz:.1f}{of} s ({fault})"
    if size < account.promised:
        return f"cut short, {size} of {account.promised} bytes are there"
    if account.is_unfinished:
        return UNFINISHED
    if n_frames < n_promised < UNKNOWN_LENGTH:
        return f"cut short, {n_frames / rate_hz:.1f} of {n_promised / rate_hz:.1f} s are there"
    return ""


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return printed(" ".join(str(text).split()).rstrip("."), 120) or type(error).__name__


def _account(path: Path, name: str) -> tuple[int, Account]:
    """Size of the file, and what its container says."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioFileError(f"{name} is a folder; give one recording in it")
        if not stat.S_ISREG(status.st_mode):
            # Opening a pipe would wait for ever.
            raise AudioFileError(f"{name} is not a file; {REMEDY}")
        with path.open("rb") as file:
            return status.st_size, account_of(file, status.st_size)
    except (OSError, ValueError) as error:
        raise AudioFileError(f"cannot read {name} ({_reason(error)}); {REMEDY}") from None


@contextmanager
def _opened(path: Path, account: Account) -> Iterator[soundfile.SoundFile]:
    if not account.needs_repair:
        # As bytes: a name need not be UTF-8.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            yield file
        return
    with (
        path.open("rb") as raw,
        soundfile.SoundFile(Repaired(raw, path.stat().st_size, account)) as file,
    ):
        yield file


def _refuse_what_cannot_be_heard(name: str, file: soundfile.SoundFile) -> None:
    if not RATE_MIN_HZ <= file.samplerate <= RATE_MAX_HZ:
        limits = f"{RATE_MIN_HZ} to {RATE_MAX_HZ} can be read"
        raise AudioFileError(f"{name} has {file.samplerate} samples per second; {limits}: resample it")
    if file.frames == 0:
        raise AudioFileError(f"{name} holds no sound (0 frames); {REMEDY}")
    if LONGEST_S * file.samplerate < file.frames < UNKNOWN_LENGTH:
        raise AudioFileError(f"{name} is longer than {LONGEST_S // 3_600} hours; cut it")


class _Survey:
    """Reads a file to its end, or to damage; counts the faults it meets."""

    def __init__(self, path: Path, account: Account) -> None:
        self._path = path
        self._account = account
        self.n_frames = self.n_non_finite = self.n_clipped = 0
        self.any_finite = False
        self._power: NDArray[np.float64] = np.zeros(0)
        """Of each channel, summed over the frames."""
        self._mean_power = 0.0
        self._cancelled_power = 0.0
        """Of all channels, summed over the pieces in which they cancel."""

    def read_all(self, n_most: int) -> str:
        """Read until the end, damage, or more than ``n_most`` frames; returns the fault, or nothing."""
        fault = self._read(BLOCK_VALUES, n_most)
        if fault:
            # What was decoded of the block that failed is lost: again in small steps from there.
            fault = self._read(0, n_most)
        return fault

    def _read(self, n_values: int, n_most: int) -> str:
        n_skipped = 0
        try:
            with _opened(self._path, self._account) as file:
                n_at_once = max(n_values // file.channels, STEP_FRAMES)
                while n_skipped < self.n_frames:
                    n_skipped += len(file.read(min(n_at_once, self.n_frames - n_skipped), dtype="float32"))
                while self.n_frames <= n_most and len(
                    block := file.read(n_at_once, dtype="float32", always_2d=True)
                ):
                    self._take(block)
        except DECODING_FAULTS as error:
            return _reason(error)
        return ""

    def _take(self, block: NDArray[np.float32]) -> None:
        finite = np.isfinite(block)
        self.any_finite = self.any_finite or bool(finite.any())
        self.n_frames += len(block)
        self.n_non_finite += int(np.sum(~finite.all(axis=1)))
        block = np.where(finite, block, np.float32(0.0))
        self.n_clipped += int(np.sum((np.abs(block) >= CLIPPED_AT).any(axis=1)))
        bounded = np.clip(block, -LOUDEST, LOUDEST)
        pieces = np.arange(0, len(block), PIECE_FRAMES)
        powers = np.add.reduceat(bounded.astype(np.float64) ** 2, pieces, axis=0)
        means = np.add.reduceat(mixed(block).astype(np.float64) ** 2, pieces)
        power = powers.sum(axis=0)
        self._power = power if not len(self._power) else self._power + power
        self._mean_power += float(means.sum())
        cancels = means < CANCELLED * powers.mean(axis=1) / block.shape[1]
        self._cancelled_power += float(powers[cancels].sum())

    def channel_alone(self) -> int:
        """The loudest channel where too much would cancel; -1: the mean of all is heard."""
        if self._cancelled_power <= CANCELLED_SHARE * float(self._power.sum()):
            return -1
        return int(np.argmax(self._power))

    def level_db(self, channel: int) -> float:
        """RMS of the sound that is heard, dBFS."""
        power = self._mean_power if channel < 0 else float(self._power[channel])
        return gain_to_db(math.sqrt(power / max(1, self.n_frames)))
