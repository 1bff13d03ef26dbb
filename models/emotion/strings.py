"""A struck or plucked string instrument drawn at random: variety that sound fonts lack.

Fonts are few, and each has one piano. ``instrument`` draws a timbre (partials, decay, attack, hammer noise,
how velocity makes loud and bright); ``play`` renders a MIDI file with it, in a little room, through a random
equaliser. It is for training: no claim that any such instrument exists. Additive synthesis at the rate of the
analysis, which hears nothing above.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from numba import njit
from numpy.typing import NDArray

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from kelly_edge.signal.framing import ANALYSIS_RATE_HZ
from models.emotion.acoustics import equaliser, room
from models.emotion.symbolic import open_midi

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
# Chosen: as many as reach the top of the analysis band, which is 6 kHz, on low notes.
N_PARTIALS: Final = 32
TOP_HZ: Final = 5_700.0
SILENT: Final = math.log(1e-3)
"""A note ends 60 dB below its start."""
PEDAL: Final = 64
"""MIDI 1.0: controller of the damper pedal."""
TAIL_S: Final = 1.0
"""After the last note. Chosen by hand."""


@dataclass(frozen=True)
class Instrument:
    """A timbre. Levels in dB; ``partial_db`` [N_PARTIALS] is the fixed ripple of the partials."""

    cents: float  # tuning
    rolloff_db: float  # an octave of partial number
    partial_db: Float64
    even_db: float  # the even partials against the odd
    strike: float  # where on the string: partials near a node are weak
    strike_share: float  # how far that is heard
    bright_hz: float  # above it the spectrum falls faster, at C4 and velocity 64
    bright_velocity: float  # octaves of it from velocity 64 to 127
    bright_pitch: float  # octaves of it an octave of pitch
    inharmonicity: float  # at C4
    decay_s: float  # to -60 dB, first partial of C4
    decay_pitch: float  # octaves of it lost an octave of pitch
    decay_partial: float  # how much faster a partial at 1 kHz decays
    prompt_share: float  # of the amplitude, that dies five times as fast
    release_s: float  # to -60 dB after the key is up
    attack_s: float
    loudness: float  # amplitude is (velocity / 127) to this power
    pitch_db: float  # an octave
    hammer_db: float  # noise of the hammer, against the string
    hammer_s: float
    beat_hz: float  # of two strings per key
    beat_share: float


def instrument(rng: np.random.Generator) -> Instrument:
    """Draw one; the ranges hold pianos, electric pianos, harps, guitars and harpsichords."""

    def log(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))

    return Instrument(
        cents=rng.normal(0.0, 6.0),
        rolloff_db=rng.uniform(-14.0, -3.0),
        partial_db=rng.normal(0.0, rng.uniform(0.0, 5.0), N_PARTIALS),
        even_db=rng.uniform(-12.0, 4.0) if rng.random() < 0.4 else 0.0,
        strike=rng.uniform(0.05, 0.4),
        strike_share=rng.uniform(0.0, 1.0),
        bright_hz=log(500.0, 6_000.0),
        bright_velocity=rng.uniform(0.0, 2.0),
        bright_pitch=rng.uniform(0.1, 0.9),
        inharmonicity=log(2e-5, 1.5e-3),
        decay_s=log(1.0, 14.0),
        decay_pitch=rng.uniform(0.2, 1.0),
        decay_partial=rng.uniform(0.0, 1.0),
        prompt_share=rng.uniform(0.0, 0.8),
        release_s=log(0.06, 0.8),
        attack_s=log(5e-4, 2e-2),
        loudness=rng.uniform(0.2, 2.6),
        pitch_db=rng.normal(0.0, 1.5),
        hammer_db=rng.uniform(-50.0, -14.0),
        hammer_s=log(5e-3, 6e-2),
        beat_hz=log(0.1, 2.0),
        beat_share=rng.uniform(0.0, 0.6),
    )


def pressed(path: Path) -> Float64:
    """Rows (onset s, sounding s, pitch, velocity); what the pedal holds sounds until it is up. DataError."""
    time, pedal = 0.0, False
    down: dict[int, tuple[float, int]] = {}
    held: dict[int, tuple[float, int]] = {}
    rows: list[tuple[float, float, int, int]] = []

    def end(sounding: dict[int, tuple[float, int]], note: int) -> None:
        start, velocity = sounding.pop(note)
        rows.append((start, max(time - start, 0.02), note, velocity))

    for message in open_midi(path):
        time += message.time
        if message.type == "control_change" and message.control == PEDAL:
            pedal = message.value >= 64
            for note in [] if pedal else list(held):
                end(held, note)
        elif message.type in ("note_on", "note_off"):
            note = message.note
            if message.type == "note_on" and message.velocity > 0:
                for sounding in (down, held):
                    if note in sounding:
                        end(sounding, note)
                down[note] = time, message.velocity
            elif note in down and pedal:
                held[note] = down.pop(note)
            elif note in down:
                end(down, note)
    for sounding in (down, held):
        for note in list(sounding):
            end(sounding, note)
    if not rows:
        raise DataError(f"{path} holds no notes; leave it out of the split")
    return np.array(sorted(rows), np.float64)


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _ring(
    out: Float32,
    cosine: Float32,
    sine: Float32,
    x: Float32,
    y: Float32,
    attack: int,
    release: int,
    prompt: tuple[float, float],
    release_keep: float,
    beat: tuple[float, float],
) -> None:
    """Add one note: decaying partials (rotations ``cosine + i sine`` of ``x + i y``) under an envelope."""
    n_partials = x.shape[0]
    fast, fade = 1.0, 1.0
    prompt_share, prompt_keep = prompt
    step, share = beat
    for i in range(out.shape[0]):
        total = np.float32(0.0)
        for k in range(n_partials):
            total += y[k]
            a = cosine[k] * x[k] - sine[k] * y[k]
            y[k] = sine[k] * x[k] + cosine[k] * y[k]
            x[k] = a
        fast *= prompt_keep
        if i >= release:
            fade *= release_keep
        gain = (
            fade
            * (1.0 - prompt_share + prompt_share * fast)
            * (1.0 - share * (0.5 - 0.5 * math.cos(step * i)))
        )
        if i < attack:
            gain *= 0.5 - 0.5 * math.cos(math.pi * i / attack)
        out[i] += gain * total


def play(path: Path, rng: np.random.Generator) -> NDArray[np.int16]:
    """The MIDI file at 48 kHz, mono, by an instrument of ``rng``'s choice. Raises DataError."""
    voice, notes = instrument(rng), pressed(path)
    end_s = float((notes[:, 0] + notes[:, 1]).max()) + TAIL_S
    out = np.zeros(int(end_s * ANALYSIS_RATE_HZ), np.float32)
    for onset, sounding, pitch, velocity in notes:
        _strike(out[int(onset * ANALYSIS_RATE_HZ) :], voice, sounding, pitch, velocity, rng)
    wet = equaliser(room(out, ANALYSIS_RATE_HZ, (0.1, 0.8), (-30.0, -3.0), rng), ANALYSIS_RATE_HZ, 6.0, rng)
    wet *= 0.05 / max(float(np.sqrt(np.mean(wet**2))), 1e-9)
    wet *= min(1.0, 0.95 / float(np.abs(wet).max()))
    samples = soxr.resample(wet, ANALYSIS_RATE_HZ, SAMPLE_RATE_HZ)
    return np.asarray(np.clip(samples, -1.0, 1.0) * 32_767.0, np.int16)


def _strike(
    out: Float32,
    voice: Instrument,
    sounding_s: float,
    pitch: float,
    velocity: float,
    rng: np.random.Generator,
) -> None:
    """Add one note to ``out``, which begins at its onset."""
    octaves, force = (pitch - 60.0) / 12.0, (velocity - 64.0) / 63.0
    k = np.arange(1, N_PARTIALS + 1)
    first_hz = 440.0 * 2.0 ** ((pitch - 69.0) / 12.0 + voice.cents / 1_200.0)
    stiffness = voice.inharmonicity * 2.0 ** (1.5 * octaves)
    hz = first_hz * k * np.sqrt(1.0 + stiffness * k * k)
    k, hz = k[hz < TOP_HZ], hz[hz < TOP_HZ]
    if not len(k) or not len(out):
        return
    knee = voice.bright_hz * 2.0 ** (voice.bright_velocity * force + voice.bright_pitch * octaves)
    db = voice.rolloff_db * np.log2(k) + voice.partial_db[: len(k)] + voice.even_db * (k % 2 == 0)
    db = db - 10.0 * np.log10(1.0 + (hz / knee) ** 4) + voice.pitch_db * octaves
    node = 1.0 - voice.strike_share * (1.0 - np.abs(np.sin(np.pi * k * voice.strike)))
    loud = (velocity / 127.0) ** voice.loudness
    amplitude = loud * 10.0 ** (db / 20.0) * node
    decay_s = (
        voice.decay_s * 2.0 ** (-voice.decay_pitch * octaves) / (1.0 + voice.decay_partial * hz / 1_000.0)
    )
    keep = np.exp(SILENT / (decay_s * ANALYSIS_RATE_HZ))
    n = min(int((min(sounding_s, decay_s.max()) + voice.release_s) * ANALYSIS_RATE_HZ), len(out))
    angle = 2.0 * np.pi * hz / ANALYSIS_RATE_HZ
    phase = rng.uniform(0.0, 2.0 * np.pi, len(k))
    _ring(
        out[:n],
        (keep * np.cos(angle)).astype(np.float32),
        (keep * np.sin(angle)).astype(np.float32),
        (amplitude * np.cos(phase)).astype(np.float32),
        (amplitude * np.sin(phase)).astype(np.float32),
        max(int(voice.attack_s * ANALYSIS_RATE_HZ), 1),
        int(sounding_s * ANALYSIS_RATE_HZ),
        (voice.prompt_share, float(np.exp(5.0 * SILENT / (decay_s[0] * ANALYSIS_RATE_HZ)))),
        float(np.exp(SILENT / (voice.release_s * ANALYSIS_RATE_HZ))),
        (2.0 * np.pi * voice.beat_hz * 2.0 ** (0.5 * octaves) / ANALYSIS_RATE_HZ, voice.beat_share),
    )
    n = min(int(voice.hammer_s * ANALYSIS_RATE_HZ), len(out))
    knock = rng.standard_normal(n) * np.exp(0.5 * SILENT * np.arange(n) / max(n, 1))
    level = loud * np.linalg.norm(10.0 ** (db / 20.0) * node) * 10.0 ** (voice.hammer_db / 20.0)
    out[:n] += (level * knock).astype(np.float32)
