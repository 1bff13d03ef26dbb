"""What lies between an instrument and the box: a room, an equaliser, gain and noise, all at random.

Real rooms have a direct-to-reverberant ratio (DRR) below 0 dB at a microphone a few metres away.
``response`` draws one: the direct sound, echoes that thicken within 80 ms, a tail whose treble dies sooner
(statistical room acoustics: Kuttruff, Room Acoustics, chapters 4 and 5). No measured room is in it, nor
recorded noise: those are kept for evaluation.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, oaconvolve, sosfilt

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError

Float32 = NDArray[np.float32]
Treatment = Callable[[Float32, np.random.Generator], Float32]
Truth = dict[str, float]
"""What was drawn: ``drr_db``, ``rt60_s``, ``snr_db``, as far as there is such a thing."""
N_EQUALISER: Final = 512
"""Taps of the equaliser's FIR at the box's rate. Chosen: 94 Hz between its points."""


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


def response(rate_hz: int, drr_db: float, rt60_s: float, rng: np.random.Generator) -> Float32:
    """A room's impulse response, direct sound first: its DRR in dB and its seconds to -60 dB at 500 Hz."""
    n = int(1.2 * rt60_s * rate_hz)
    t = np.arange(n) / rate_hz
    tail = np.zeros(n)
    edges_hz = (0.0, 250.0, 1_000.0, 4_000.0, rate_hz / 2.0)
    # Walls swallow treble, and now and then bass; each band has a decay of its own.
    decays = rt60_s * np.array([rng.uniform(0.7, 1.5), 1.0, rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.8)])
    spectrum = np.fft.rfft(rng.standard_normal(n))
    f = np.fft.rfftfreq(n, 1.0 / rate_hz)
    for low, high, decay_s in zip(edges_hz, edges_hz[1:], decays, strict=False):
        band = np.fft.irfft(np.where((f >= low) & (f < high), spectrum, 0.0), n)
        tail += band * np.exp(-6.9 * t / decay_s)
    # Echoes arrive ever more densely: at the start most samples are silent.
    tail *= rng.random(n) < np.clip((t / 0.08) ** 2 + 0.002, 0.0, 1.0)
    tail[: int(rng.uniform(0.001, 0.012) * rate_hz)] = 0.0
    tail *= 10.0 ** (-drr_db / 20.0) / (np.linalg.norm(tail) + 1e-12)
    tail[0] = 1.0
    return tail.astype(np.float32)


def reverberant(
    audio: Float32,
    rate_hz: int,
    drr_db: tuple[float, float],
    rt60_s: tuple[float, float],
    rng: np.random.Generator,
    told: Truth | None = None,
) -> Float32:
    """``audio`` in a room drawn from the ranges, at the power it had; ``told`` which room that is."""
    drawn = {"drr_db": rng.uniform(*drr_db), "rt60_s": rng.uniform(*rt60_s)}
    if told is not None:
        told.update(drawn)
    wet = oaconvolve(audio, response(rate_hz, drawn["drr_db"], drawn["rt60_s"], rng))[: audio.size]
    gain = np.sqrt(np.mean(audio**2) / (np.mean(wet**2) + 1e-20))
    return np.asarray(gain * wet, np.float32)


def bass_cut(audio: Float32, rate_hz: int, rng: np.random.Generator) -> Float32:
    """What small microphones and rooms do below 60 to 200 Hz: 6 or 12 dB an octave less."""
    sos = butter(int(rng.integers(1, 3)), rng.uniform(60.0, 200.0), "highpass", fs=rate_hz, output="sos")
    return np.asarray(sosfilt(sos, audio), np.float32)


def ambience(n: int, rate_hz: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of a place: coloured, humming, or modulated like many voices or passing cars."""
    noise = coloured(n, rng)
    kind = rng.integers(3)
    t = np.arange(n) / rate_hz
    if kind == 1:
        hum_hz = rng.uniform(45.0, 190.0)
        hum = sum(np.sin(2.0 * np.pi * hum_hz * h * t) / h for h in range(1, int(rng.integers(2, 9))))
        noise = noise / noise.std() + rng.uniform(0.2, 1.5) * hum
    elif kind == 2:
        # Slow swells, a few per second, of a band in the middle.
        low_hz = rng.uniform(100.0, 600.0)
        sos = butter(2, (low_hz, low_hz * rng.uniform(3.0, 8.0)), "bandpass", fs=rate_hz, output="sos")
        knots = np.arange(0.0, t[-1] + 2.0, 1.0 / rng.uniform(0.5, 6.0))
        swell = np.interp(t, knots, 10.0 ** (rng.uniform(-12.0, 6.0, knots.size) / 20.0))
        noise = sosfilt(sos, noise) * swell
    return np.asarray(noise)


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


def quiet_place(audio: Float32, rng: np.random.Generator, told: Truth | None = None) -> Float32:
    """``place`` at night: ambience at 30 to 60 dB. Noise lifts what a room smears, here nothing does."""
    return place(audio, rng, told, (30.0, 60.0))


def place(
    audio: Float32,
    rng: np.random.Generator,
    told: Truth | None = None,
    snr_db: tuple[float, float] = (5.0, 30.0),
) -> Float32:
    """A random real room: wet or dry, often without bass, with ambience at 5 to 30 dB."""
    heard = reverberant(audio, SAMPLE_RATE_HZ, (-8.0, 8.0), (0.2, 1.2), rng, told)
    if rng.random() < 0.5:
        heard = bass_cut(heard, SAMPLE_RATE_HZ, rng)
    heard = equaliser(heard, SAMPLE_RATE_HZ, 6.0, rng)
    heard *= np.float32(10.0 ** (rng.uniform(-18.0, 6.0) / 20.0))
    noise, drawn_db = ambience(heard.size, SAMPLE_RATE_HZ, rng), rng.uniform(*snr_db)
    if told is not None:
        told["snr_db"] = drawn_db
    return add_noise(heard, noise, drawn_db)


def wet(audio: Float32, rng: np.random.Generator, told: Truth | None = None) -> Float32:
    """A room whose reverberation outweighs the direct sound, a few metres from the microphone; no noise."""
    heard = reverberant(audio, SAMPLE_RATE_HZ, (-6.0, 0.0), (0.4, 1.0), rng, told)
    return bass_cut(heard, SAMPLE_RATE_HZ, rng) if rng.random() < 0.5 else heard
