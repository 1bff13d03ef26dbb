"""Plain music for telling music from speech: a voice hums or sings, one tone plays, chords ring.

Sound fonts have no humming person, and speech is nearest to one. A voice is a pulse train through moving
formants (Klatt, JASA 67(3), 1980) whose pitch holds the notes of a scale with glides and vibrato: that, and
not the timbre, is what tells it from speech.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from kelly_edge.contract import SAMPLE_RATE_HZ
from models.emotion.acoustics import add_noise, ambience, place

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
LENGTH_S: Final = 22.0
"""Chosen: as the excerpts of the other sounds."""
RATE_HZ: Final = 12_000
"""Of the synthesis: the analysis hears nothing above 6 kHz. Follows from ``framing.ANALYSIS_RATE_HZ``."""
# Definition of the major and the natural minor scale, in semitones.
MAJOR: Final = (0, 2, 4, 5, 7, 9, 11)
MINOR: Final = (0, 2, 3, 5, 7, 8, 10)
FORMANTS_HZ: Final = (
    (700, 1200, 2600),
    (400, 1900, 2600),
    (300, 800, 2300),
    (500, 900, 2500),
    (300, 2200, 3000),
)
"""Of the vowels a, e, u, o and i. After Peterson & Barney (1952), rounded."""
HUM_HZ: Final = ((260, 1000, 2200),)
"""Formants of a closed mouth, as of the nasals of Klatt (1980), rounded."""


def _melody(rng: np.random.Generator, low: int, high: int) -> list[tuple[float, float, float]]:
    """Onset s, duration s and MIDI pitch of notes of one scale that mostly moves in steps."""
    tonic, scale = int(rng.integers(12)), (MAJOR, MINOR)[int(rng.integers(2))]
    keys = [k for k in range(low, high) if (k - tonic) % 12 in scale]
    beat_s, at, now = rng.uniform(0.25, 0.9), rng.uniform(0.0, 0.8), int(rng.integers(len(keys)))
    notes = []
    while at < LENGTH_S:
        length_s = beat_s * float(rng.choice([0.5, 1.0, 1.0, 2.0, 3.0]))
        sounding = length_s * rng.uniform(0.75, 1.0)
        notes.append((at, sounding, float(keys[now])))
        at += length_s + (beat_s * float(rng.integers(1, 4)) if rng.random() < 0.1 else 0.0)
        now = int(np.clip(now + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]), 0, len(keys) - 1))
    return notes


def _pitch_and_level(
    notes: list[tuple[float, float, float]], rng: np.random.Generator
) -> tuple[Float64, Float64]:
    """MIDI pitch and amplitude at ``RATE_HZ``: glides, vibrato, a breath where the melody rests."""
    n = round(LENGTH_S * RATE_HZ)
    pitch, level = np.full(n, notes[0][2]), np.zeros(n)
    for at, length, key in notes:
        first, last = int(at * RATE_HZ), min(int((at + length) * RATE_HZ), n)
        pitch[first:] = key
        level[first:last] = rng.uniform(0.5, 1.0)
    glide, swell = (np.exp(-1.0 / (s * RATE_HZ)) for s in (rng.uniform(0.015, 0.06), rng.uniform(0.01, 0.06)))
    pitch = lfilter([1.0 - glide], [1.0, -glide], pitch - pitch[0]) + pitch[0]
    level = lfilter([1.0 - swell], [1.0, -swell], level)
    t = np.arange(n) / RATE_HZ
    drift = np.interp(t, np.arange(0.0, LENGTH_S + 1.0), rng.normal(0.0, 0.12, int(LENGTH_S) + 1))
    vibrato = rng.uniform(0.0, 0.5) * np.sin(2.0 * np.pi * rng.uniform(4.5, 6.5) * t)
    return pitch + drift + vibrato + rng.uniform(-0.5, 0.5), level


def resonate(x: Float64, formants_hz: tuple[float, ...], shift: float) -> Float64:
    """``x`` through the formants of a vowel, each ``shift`` times as high."""
    total = np.zeros_like(x)
    for k, f in enumerate(formants_hz):
        r = np.exp(-np.pi * (60.0 + 40.0 * k) / RATE_HZ)
        cosine = 2.0 * r * np.cos(2.0 * np.pi * f * shift / RATE_HZ)
        total += 0.6**k * (1.0 - r) * lfilter([1.0], [1.0, -cosine, r * r], x)
    return total


def voice(rng: np.random.Generator) -> Float64:
    """A person sings on changing vowels, or hums."""
    low = int(rng.integers(40, 62))
    pitch, level = _pitch_and_level(_melody(rng, low, low + 17), rng)
    phase = np.cumsum(440.0 * 2.0 ** ((pitch - 69.0) / 12.0)) / RATE_HZ
    # Pulses without aliases that matter: a raised cosine to a high power.
    source = (0.5 + 0.5 * np.cos(2.0 * np.pi * phase)) ** rng.integers(6, 30)
    source = np.diff(source, prepend=source[0]) + rng.uniform(0.0, 0.03) * rng.standard_normal(len(source))
    vowels = HUM_HZ if rng.random() < 0.4 else FORMANTS_HZ
    shift = rng.uniform(0.85, 1.2)
    total, at, n = np.zeros_like(source), 0, len(source)
    while at < n:
        # Overlapping windows of one vowel each.
        size = int(rng.uniform(0.4, 2.5) * RATE_HZ)
        fade = RATE_HZ // 20
        window = np.zeros(n)
        window[at : at + size] = 1.0
        window = np.convolve(window[max(at - fade, 0) : at + size + fade], np.ones(fade) / fade, "same")
        part = slice(max(at - fade, 0), min(at + size + fade, n))
        vowel = vowels[int(rng.integers(len(vowels)))]
        total[part] += resonate(source[part], vowel, shift) * window[: part.stop - part.start]
        at += size
    return total * level


def tone(rng: np.random.Generator) -> Float64:
    """One melody, whistled or on a plain tone."""
    low = int(rng.integers(45, 80))
    pitch, level = _pitch_and_level(_melody(rng, low, low + 15), rng)
    phase = np.cumsum(440.0 * 2.0 ** ((pitch - 69.0) / 12.0)) / RATE_HZ
    n_partials, slope = int(rng.choice([1, 1, 3, 8, 12])), rng.uniform(0.7, 2.0)
    total = np.zeros_like(phase)
    for k in range(1, n_partials + 1):
        below = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0) * k < RATE_HZ / 2
        total += below * np.sin(2.0 * np.pi * k * phase) / k**slope
    return total * level


def chords(rng: np.random.Generator) -> Float64:
    """Triads of one scale, struck or held, with few partials."""
    n = round(LENGTH_S * RATE_HZ)
    total = np.zeros(n)
    tonic, scale = int(rng.integers(48, 60)), (MAJOR, MINOR)[int(rng.integers(2))]
    length_s, decay_s = rng.uniform(0.4, 3.0), float(rng.choice([0.3, 0.8, 2.0, 9.0]))
    slope, n_partials = rng.uniform(0.8, 2.0), int(rng.integers(1, 9))
    at = rng.uniform(0.0, 0.5)
    while at < LENGTH_S - 0.1:
        degree = int(rng.integers(7))
        size = min(int(1.2 * length_s * RATE_HZ), n - int(at * RATE_HZ))
        t = np.arange(size) / RATE_HZ
        shape = np.exp(-t / decay_s) * np.minimum(1.0, (size - np.arange(size)) / (0.2 * length_s * RATE_HZ))
        for k in range(int(rng.integers(2, 5))):
            octave, step = divmod(degree + 2 * k, 7)
            f = 440.0 * 2.0 ** ((tonic + 12 * octave + scale[step] - 69.0) / 12.0)
            for h in range(1, n_partials + 1):
                if f * h < RATE_HZ / 2:
                    tone_ = np.sin(2.0 * np.pi * f * h * t + rng.uniform(0.0, 6.28))
                    total[int(at * RATE_HZ) :][:size] += shape * tone_ / h**slope
        at += length_s
    return total


def sound(i: int) -> Float32:
    """The ``i``-th of an endless row, half in a place with noise; peak .05 to .9."""
    rng = np.random.default_rng([i, 78])
    made = (voice, tone, voice, chords)[i % 4](rng)
    n = round(LENGTH_S * SAMPLE_RATE_HZ)
    size = SAMPLE_RATE_HZ // RATE_HZ
    # A short mean takes the steps out of the repetition.
    smooth = np.convolve(np.repeat(made, size)[:n], np.ones(size) / size, "same")
    audio: Float32 = (smooth / (np.abs(smooth).max() + 1e-9)).astype(np.float32)
    if rng.random() < 0.5:
        audio = place(audio, rng)
    else:
        audio = add_noise(audio, ambience(n, SAMPLE_RATE_HZ, rng), rng.uniform(25.0, 60.0))
    return audio * np.float32(rng.uniform(0.05, 0.9) / (np.abs(audio).max() + 1e-9))
