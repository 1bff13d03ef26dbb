"""Synthesised players whose beat is known: clicks, drums and struck strings in many tempi, metres and feels.

Pop songs alone would teach the ears one kind of music. ``draw`` makes a piece at random for ``fit``; the
parts serve tests as well, which need no data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ

Floats = NDArray[np.float64]
Float32 = NDArray[np.float32]
CADENCE: Final = (
    *((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
    *((9, 12, 16), (2, 5, 9), (7, 11, 14), (0, 4, 7)),
)
"""Semitones above the tonic."""


@dataclass(frozen=True)
class Practice:
    """Sound at 48 kHz, and its beats and downbeats in seconds."""

    sound: Float32
    beats_s: Floats
    downbeats_s: Floats


def struck(notes: Iterable[tuple[float, float, float, float]], seconds: float) -> Float32:
    """Struck strings of five harmonics; a note is begin (s), length (s), MIDI pitch, loudness (1 usual)."""
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ))
    for begin_s, length_s, pitch, gain in notes:
        t = np.arange(round(length_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        f0_hz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
        tone = sum(np.sin(2.0 * np.pi * n * f0_hz * t) * 0.5 ** (n - 1) for n in range(1, 6))
        fade = np.minimum(1.0, (length_s - t) / 0.02) * np.minimum(1.0, t / 0.003) * np.exp(-2.0 * t)
        _add(sound, begin_s, 0.05 * gain * tone * fade)
    return sound.astype(np.float32)


def hit(hits: Iterable[tuple[float, float, float]], seconds: float, rng: np.random.Generator) -> Float32:
    """Drums; a hit is begin (s), loudness, and pitch in Hz of its body (0: noise alone)."""
    sound = np.zeros(round(seconds * SAMPLE_RATE_HZ))
    t = np.arange(round(0.15 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    for begin_s, gain, body_hz in hits:
        drum = 0.3 * rng.standard_normal(t.size) * np.exp(-60.0 * t)
        if body_hz:
            drum = np.sin(2.0 * np.pi * body_hz * t) * np.exp(-40.0 * t)
        _add(sound, begin_s, 0.3 * gain * drum)
    return sound.astype(np.float32)


def _add(sound: Floats, begin_s: float, part: Floats) -> None:
    begin = round(begin_s * SAMPLE_RATE_HZ)
    part = part[: max(0, sound.size - begin)]
    sound[begin : begin + part.size] += part


def beat_times(tempi_bpm: Iterable[float], begin_s: float = 0.3) -> Floats:
    """Beats one after another, each as long as its tempo says."""
    return begin_s + np.concatenate([[0.0], np.cumsum([60.0 / bpm for bpm in tempi_bpm])])


def accompanied(
    beats_s: Floats, n_beats: int, parts: int = 2, swing: float = 0.5, tonic: int = 0, chord_bars: int = 1
) -> list[tuple[float, float, float, float]]:
    """Bass on the downbeat and a broken chord in ``parts`` per beat; with two, the second at ``swing``."""
    notes: list[tuple[float, float, float, float]] = []
    for i, (at_s, next_s) in enumerate(pairwise(beats_s)):
        chord = CADENCE[i // (n_beats * chord_bars) % len(CADENCE)]
        length_s = next_s - at_s
        if i % n_beats == 0:
            notes.append((at_s, 0.95 * n_beats * length_s, 36 + tonic + chord[0], 1.5))
        for k in range(parts):
            place = swing if parts == 2 and k else k / parts
            pitch = 60 + tonic + chord[(i * parts + k) % 3]
            notes.append((at_s + place * length_s, 0.9 * length_s / parts, pitch, 0.6 if k else 1.0))
    return notes


def draw(rng: np.random.Generator, seconds: float = 20.0) -> Practice:
    """A piece at random."""
    bpm, n_beats = float(np.exp(rng.uniform(np.log(50.0), np.log(170.0)))), int(rng.choice((3, 4, 4)))
    n = int(seconds * bpm / 60.0) + 1
    beats_s = beat_times(bpm * (1.0 + 0.01 * rng.standard_normal(n)), rng.uniform(0.1, 0.8))
    swing = float(rng.choice((0.5, 0.5, 0.6, 0.667)))
    kind, eighths = rng.integers(4), bool(rng.random() < 0.6)
    if kind == 0:
        gains = [1.0 if i % n_beats == 0 else 0.7 for i in range(len(beats_s))]
        hits = [(t, gain, rng.uniform(800.0, 900.0)) for t, gain in zip(beats_s, gains, strict=True)]
        sound = hit(hits, seconds, rng)
    elif kind == 1:
        hits = []
        for i, t in enumerate(beats_s[:-1]):
            is_down, length_s = i % n_beats == 0, beats_s[i + 1] - t
            hits.append((t, 1.0, 70.0 if is_down or (n_beats == 4 and i % 4 == 2) else 0.0))
            hits += [(t + swing * length_s, 0.4, 0.0)] if eighths else []
        sound = hit(hits, seconds, rng)
    else:
        parts, bars = (2 if eighths else 1), int(rng.choice((1, 1, 2)))
        notes = accompanied(beats_s, n_beats, parts, swing, int(rng.integers(12)), bars)
        sound = struck(notes, seconds)
        if kind == 3:
            sound += hit([(t, 0.3, 0.0) for t in beats_s], seconds, rng)
    sound += (10.0 ** rng.uniform(-4.0, -2.5) * rng.standard_normal(sound.size)).astype(np.float32)
    return Practice(sound, beats_s, beats_s[::n_beats])
