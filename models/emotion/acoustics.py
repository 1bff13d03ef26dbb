"""What lies between an instrument and the box: a room, an equaliser, gain and noise, all at random."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import lfilter, oaconvolve

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError

Float32 = NDArray[np.float32]
Treatment = Callable[[Float32, np.random.Generator], Float32]
N_EQUALISER: Final = 512


def read_audio(path: Path) -> Float32:
    """Any file soundfile reads, as mono float32 at 48 kHz. Raises DataError."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot read {path} ({error}); give WAV, FLAC, OGG or MP3") from None
    mono = audio.mean(1)
    return np.asarray(
        mono if rate == SAMPLE_RATE_HZ else soxr.resample(mono, rate, SAMPLE_RATE_HZ), np.float32
    )


def room(
    audio: Float32,
    rate_hz: int,
    decay_s: tuple[float, float],
    level_db: tuple[float, float],
    rng: np.random.Generator,
) -> Float32:
    """``audio`` and a tail of noise: its seconds to -60 dB, its level against the direct sound, in ranges."""
    n = int(rng.uniform(*decay_s) * rate_hz)
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    tail *= 10.0 ** (rng.uniform(*level_db) / 20.0) / np.linalg.norm(tail)
    tail[0] += 1.0
    return np.asarray(oaconvolve(audio, tail.astype(np.float32))[: audio.size], np.float32)


def equaliser(audio: Float32, rate_hz: int, range_db: float, rng: np.random.Generator) -> Float32:
    """A smooth random curve within ``range_db`` over ten octaves up to 24 kHz."""
    f = np.fft.rfftfreq(N_EQUALISER, 1.0 / rate_hz)
    curve = np.interp(np.log2(f + 20.0), np.linspace(4.3, 14.5, 7), rng.uniform(-range_db, range_db, 7))
    fir = np.roll(np.fft.irfft(10.0 ** (curve / 20.0)), N_EQUALISER // 2) * np.hanning(N_EQUALISER)
    return np.asarray(oaconvolve(audio, fir.astype(np.float32))[: audio.size], np.float32)


def coloured(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise between white and brown."""
    return np.asarray(lfilter([1.0], [1.0, -rng.uniform(0.0, 0.97)], rng.standard_normal(n)))


def add_noise(audio: Float32, noise: NDArray[np.float64], snr_db: float) -> Float32:
    """``audio`` with ``noise``, repeated as needed, ``snr_db`` below its mean power."""
    noise = np.resize(noise, audio.size)
    gain = np.sqrt(np.mean(audio**2) / (np.mean(noise**2) + 1e-20)) * 10.0 ** (-snr_db / 20.0)
    return np.asarray(audio + gain * noise, np.float32)


def microphone(audio: Float32, rng: np.random.Generator) -> Float32:
    """A random small room, equaliser and gain, with coloured noise at 18 to 40 dB."""
    wet = room(audio, SAMPLE_RATE_HZ, (0.15, 0.7), (-12.0, 0.0), rng)
    shaped = equaliser(wet, SAMPLE_RATE_HZ, 6.0, rng)
    heard = np.asarray(shaped * 10.0 ** (rng.uniform(-18.0, 6.0) / 20.0), np.float32)
    return add_noise(heard, coloured(heard.size, rng), rng.uniform(18.0, 40.0))
