"""Sounds that are no music, for the emotion network to tell from it: speech, noises of a house, applause.

Speech comes from Debian's synthesisers, whichever are installed (espeak-ng, festival with its voices, flite);
the noises are drawn at random. No recording is used: recorded speech and noise stay for evaluation.
"""

import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from models.emotion.acoustics import ambience, place, read_audio
from models.emotion.melodies import RATE_HZ, resonate

Float32 = NDArray[np.float32]
LENGTH_S: Final = 22.0
"""Chosen: as the excerpts of the other sounds."""
BABBLE: Final = 400
"""Chosen: the last 90 of ``data.N_NOT_MUSIC``."""
FESTIVAL_VOICES: Final = Path("/usr/share/festival/voices")
FLITE_VOICES: Final = ("kal16", "awb", "rms", "slt")
ESPEAK_LANGUAGES: Final = "en-gb en-us de fr-fr es it pt-br nl pl sv cmn hi tr"
VOCABULARY: Final = """
the a one some this that my your house garden river morning evening table window doctor music money letter
question answer people children mother brother winter summer hospital station street colour friend water is
was has goes comes takes gives knows thinks wants needs looks says tells asks works plays stands reads very
quite never always often slowly quickly again today tomorrow yesterday here there under over with without
because although while after before and but or so then if when good bad small large old new warm cold
"""


def _sentences(rng: np.random.Generator) -> str:
    words, parts = VOCABULARY.split(), []
    for _ in range(int(rng.integers(4, 9))):
        said = rng.choice(words, int(rng.integers(3, 14)))
        parts.append(" ".join(said) + str(rng.choice([".", "?", ",", "!", "."])))
    return " ".join(parts)


def synthesisers() -> list[list[str]]:
    """Commands that speak their standard input to the file ``OUT``; one for each voice found."""
    found = []
    if shutil.which("espeak-ng"):
        for language in ESPEAK_LANGUAGES.split():
            found += [
                ["espeak-ng", "-v", f"{language}+{v}", "--stdin", "-w", "OUT"] for v in ("m3", "f2", "m7")
            ]
    if shutil.which("flite"):
        found += [["flite", "-voice", voice, "-f", "/dev/stdin", "-o", "OUT"] for voice in FLITE_VOICES]
    if shutil.which("text2wave"):
        for voice in sorted(FESTIVAL_VOICES.glob("*/*")):
            if any(voice.glob("festvox/*.scm")):
                found.append(["text2wave", "-eval", f"(voice_{voice.name})", "-o", "OUT"])
    return found


def speech(rng: np.random.Generator, scratch: Path) -> Float32:
    """One voice that talks, at random speed and pitch, now and then with pauses. Raises DataError."""
    voices = synthesisers()
    if not voices:
        raise DataError("no speech synthesiser is installed; apt install espeak-ng flite festival")
    command = list(voices[int(rng.integers(len(voices)))])
    if command[0] == "espeak-ng":
        command += ["-s", str(int(rng.integers(110, 230))), "-p", str(int(rng.integers(10, 90)))]
    wav = scratch / "speech.wav"
    command = [str(wav) if word == "OUT" else word for word in command]
    n = round(LENGTH_S * SAMPLE_RATE_HZ)
    spoken: list[Float32] = []
    while sum(part.size for part in spoken) < n:
        wav.unlink(missing_ok=True)
        done = subprocess.run(command, input=_sentences(rng).encode(), capture_output=True, check=False)
        if done.returncode or not wav.is_file() or wav.stat().st_size < 1_000:
            return speech(rng, scratch)  # A voice that lacks its data: another one.
        spoken.append(read_audio(wav))
        spoken.append(np.zeros(int(rng.uniform(0.0, 2.0) * SAMPLE_RATE_HZ), np.float32))
    voice = np.concatenate(spoken)[:n]
    # Slightly higher or lower voices than the synthesisers have.
    ratio = rng.uniform(0.85, 1.18)
    t = np.minimum(np.arange(n) * ratio, n - 1)
    return np.interp(t, np.arange(n), voice).astype(np.float32)


def babble(rng: np.random.Generator) -> Float32:
    """Syllables of no language, of a voice drawn at random: voices that the synthesisers do not have.

    Each has its formants, its breath and its melody of speech, which glides and never rests on a note.
    """
    n = round(LENGTH_S * RATE_HZ)
    parts: list[NDArray[np.float64]] = []
    base_hz, spread, rate = rng.uniform(80.0, 260.0), rng.uniform(0.05, 0.35), rng.uniform(0.7, 1.5)
    sharpness, breath = int(rng.integers(4, 40)), rng.uniform(0.0, 0.08)
    first_hz = rng.uniform(250.0, 850.0, 6)
    vowels = [tuple(np.sort(np.r_[f, rng.uniform(850.0, 3_200.0, 2)])) for f in first_hz]
    while sum(part.size for part in parts) < n:
        pitch_hz = base_hz * np.exp(rng.normal(spread, 0.1))
        for _ in range(int(rng.integers(3, 14))):
            size = int(rng.uniform(0.06, 0.3) / rate * RATE_HZ)
            end_hz = pitch_hz * np.exp(rng.normal(-0.04, spread))
            jitter = np.exp(0.01 * np.cumsum(rng.standard_normal(size)) / math.sqrt(size))
            phase = np.cumsum(np.geomspace(pitch_hz, end_hz, size) * jitter) / RATE_HZ
            pitch_hz = float(np.clip(end_hz, 0.6 * base_hz, 2.0 * base_hz))
            pulses = np.diff((0.5 + 0.5 * np.cos(2.0 * np.pi * phase)) ** sharpness, prepend=0.0)
            pulses += breath * rng.standard_normal(size) * np.abs(pulses).max()
            vowel = resonate(pulses, vowels[int(rng.integers(len(vowels)))], 1.0)
            parts.append(vowel / (np.abs(vowel).max() + 1e-9) * np.hanning(size) ** rng.uniform(0.2, 1.0))
            hiss = rng.standard_normal(int(rng.uniform(0.0, 0.15) * RATE_HZ))
            parts.append(np.diff(hiss, prepend=0.0) * rng.choice([0.0, 0.02, 0.06, 0.15]))
        parts.append(np.zeros(int(rng.uniform(0.05, 1.2) * RATE_HZ)))
    spoken = np.concatenate(parts)[:n] + 1e-4 * rng.standard_normal(n)
    return np.asarray(soxr.resample(spoken, RATE_HZ, SAMPLE_RATE_HZ), np.float32)


def _bursts(
    rng: np.random.Generator, rate_hz: float, decay_s: float, low_hz: float, high_hz: float
) -> Float32:
    """Short noises at random moments: knocks, coughs, steps, dishes, claps."""
    n = round(LENGTH_S * SAMPLE_RATE_HZ)
    strokes = np.zeros(n)
    for _ in range(rng.poisson(rate_hz * LENGTH_S) + 1):
        at = int(rng.integers(n))
        m = min(int(decay_s * 5 * SAMPLE_RATE_HZ), n - at)
        t = np.arange(m) / SAMPLE_RATE_HZ
        strokes[at : at + m] += rng.uniform(0.2, 1.0) * rng.standard_normal(m) * np.exp(-t / decay_s)
    sos = butter(2, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, strokes), np.float32)


def _size() -> int:
    return round(LENGTH_S * SAMPLE_RATE_HZ)


def _fan(rng: np.random.Generator) -> Float32:
    return ambience(_size(), SAMPLE_RATE_HZ, rng).astype(np.float32)


def _knocks(rng: np.random.Generator) -> Float32:
    low_hz = rng.uniform(80.0, 900.0)
    rate_hz, decay_s = rng.uniform(0.3, 3.0), rng.uniform(0.01, 0.15)
    return _bursts(rng, rate_hz, decay_s, low_hz, low_hz * rng.uniform(3.0, 9.0))


def _applause(rng: np.random.Generator) -> Float32:
    return _bursts(rng, rng.uniform(20.0, 400.0), rng.uniform(0.002, 0.02), 600.0, rng.uniform(3e3, 9e3))


def _motor(rng: np.random.Generator) -> Float32:
    """A pitch that wanders, with its harmonics, under a broad noise."""
    n = _size()
    f = rng.uniform(60.0, 420.0) * np.exp(np.cumsum(rng.standard_normal(n)) * rng.uniform(0.0, 2e-4))
    phase = 2.0 * np.pi * np.cumsum(f) / SAMPLE_RATE_HZ
    hum = np.zeros(n)
    for h in range(1, int(rng.integers(3, 20))):
        hum += np.sin(h * phase + rng.uniform(0.0, 6.28)) * rng.uniform(0.2, 1.0) / math.sqrt(h)
    return np.asarray(hum + rng.uniform(0.2, 4.0) * ambience(n, SAMPLE_RATE_HZ, rng), np.float32)


def _tap(rng: np.random.Generator) -> Float32:
    edges_hz = rng.uniform(200.0, 1_500.0), rng.uniform(3e3, 1e4)
    sos = butter(2, edges_hz, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(sosfilt(sos, rng.standard_normal(_size())), np.float32)


NOISES: Final[dict[str, Callable[[np.random.Generator], Float32]]] = {
    "fan": _fan,
    "knocks": _knocks,
    "applause": _applause,
    "motor": _motor,
    "tap": _tap,
}
"""A fan or engine; coughs, knocks and dishes; applause and rain; a vacuum cleaner; a running tap."""


def noise(rng: np.random.Generator) -> Float32:
    """One of ``NOISES``."""
    kinds = list(NOISES.values())
    return kinds[int(rng.integers(len(kinds)))](rng)


def sound(i: int, scratch: Path) -> Float32:
    """The ``i``-th of an endless row: speech (from ``BABBLE`` on babble), each third a noise; peak .05 to .9.

    Half are in a room with noise.
    """
    rng = np.random.default_rng([i, 77])
    made = babble(rng) if i >= BABBLE else speech(rng, scratch) if i % 3 else noise(rng)
    if rng.random() < 0.5:
        made = place(made, rng)
    return made * np.float32(rng.uniform(0.05, 0.9) / (np.abs(made).max() + 1e-9))
