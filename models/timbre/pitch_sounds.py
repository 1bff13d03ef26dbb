"""Sounds whose pitch is known exactly, to judge pitch trackers on: synthesised, and lines of instruments.

Synthesised: notes, glides and vibrato over the tracker's range, string-like. Lines: legato phrases and rests
of four General MIDI instruments. The samples of a sound font have a tuning and a vibrato of their own (here
8 cents off the score in the median), so a line is analysed and played again by its harmonics, at a pitch that
is then known (Salamon et al., ISMIR 2017): the font's attacks, spectra and vibrato, with f0 by construction.
"""

import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mido
import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from kelly_edge.contract import F0_MAX_HZ, F0_MIN_HZ, SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from kelly_edge.units import midi_to_hz
from models.timbre.data import FONT, read_48

Float64 = NDArray[np.float64]
TICKS_PER_S: Final = 960
"""Of the MIDI files, at 120 beats per minute; chosen."""
RELEASE_S: Final = 0.4
"""After a phrase a font's note dies away: neither voiced nor silent, so not judged. Chosen by hand."""
# Partials of a drawn tone, where they end, and the samples over which a glide is smoothed. Chosen by hand.
N_PARTIALS: Final = 25
PARTIALS_TO_HZ: Final = 10_000.0
GLIDE: Final = SAMPLE_RATE_HZ // 50


@dataclass(frozen=True)
class KnownSound:
    """``sound`` [n] at 48 kHz; ``f0_hz`` [n], 0 where nothing sounds, nan where nothing is judged."""

    kind: str
    sound: Float64
    f0_hz: Float64


def harmonic_sound(f0_hz: Float64, seed: int = 0) -> Float64:
    """A string-like sound along ``f0_hz`` [n samples]: harmonics to 8 kHz falling by 1/k, random phases."""
    rng = np.random.default_rng(seed)
    phase = 2.0 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    n = max(1, min(20, int(8_000.0 / f0_hz.max())))
    partials = (np.sin(k * phase + rng.uniform(0.0, 2.0 * np.pi)) / k for k in range(1, n + 1))
    return 0.2 * np.asarray(sum(partials))


def noisy(sound: Float64, seed: int) -> Float64:
    """White noise of the same power: 0 dB."""
    return sound + np.random.default_rng(seed).normal(size=len(sound)) * sound.std()


def notes() -> list[Float64]:
    """A note every 2.8 semitones, so that no ratio to the sampling rate is favoured."""
    n = round(0.4 * SAMPLE_RATE_HZ)
    return [np.full(n, f0_hz) for f0_hz in np.geomspace(F0_MIN_HZ, F0_MAX_HZ, 24)]


def glides() -> list[Float64]:
    """Half an octave in half a second, up and down."""
    edges, n = np.geomspace(F0_MIN_HZ, F0_MAX_HZ, 12), SAMPLE_RATE_HZ // 2
    return [np.geomspace(*pair, n) for a, b in itertools.pairwise(edges) for pair in ((a, b), (b, a))]


def vibratos() -> list[Float64]:
    """5.5 Hz, 30 cents to either side, as of a violin."""
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    wave = 2.0 ** (30.0 / 1_200.0 * np.sin(2.0 * np.pi * 5.5 * t))
    return [f0_hz * wave for f0_hz in np.geomspace(42.0, 2_055.0, 12)]


CURVES: Final = {"notes": notes, "glides": glides, "vibrato": vibratos}


@dataclass(frozen=True)
class Player:
    """A General MIDI program (from 0) and its written range, MIDI notes."""

    program: int
    low: int
    high: int


PLAYERS: Final = {
    "flute": Player(73, 60, 96),
    "violin": Player(40, 55, 91),
    "cello": Player(42, 36, 72),
    "saxophone": Player(65, 49, 80),
}


def line(
    player: Player, seed: int, seconds: float
) -> tuple[list[mido.Message], list[tuple[float, float, int]]]:
    """A random legato line in phrases: its messages, and (start, end, note) of each, in seconds."""
    rng = np.random.default_rng(seed)
    messages = [mido.Message("program_change", program=player.program)]
    messages += [mido.Message("control_change", control=c, value=0) for c in (91, 93)]  # no reverb, no chorus
    written: list[tuple[float, float, int]] = []
    now_s, note, rest = 0.0, int(rng.integers(player.low + 5, player.high - 5)), 0
    while now_s < seconds:
        for _ in range(int(rng.integers(3, 7))):
            note = int(np.clip(note + rng.integers(-7, 8), player.low, player.high))
            ticks = round(TICKS_PER_S * float(rng.choice([0.3, 0.5, 0.8])))
            messages.append(
                mido.Message("note_on", note=note, velocity=int(rng.integers(60, 115)), time=rest)
            )
            messages.append(mido.Message("note_off", note=note, time=ticks))
            start_s = now_s + rest / TICKS_PER_S
            now_s, rest = start_s + ticks / TICKS_PER_S, 0
            written.append((start_s, now_s, note))
        rest = TICKS_PER_S
    return messages, written


def synthesised(messages: list[mido.Message], room: bool = False) -> Float64:
    """Messages in ``TICKS_PER_S``, played through FluidR3 at 48 kHz: [n], ``room`` with fluidsynth's reverb.

    Raises DataError without fluidsynth and its font.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "line.mid", Path(folder) / "line.wav"
        mido.MidiFile(ticks_per_beat=TICKS_PER_S // 2, tracks=[mido.MidiTrack(messages)]).save(midi)
        command = ["fluidsynth", "-ni", "-q", "-R", str(int(room)), "-C", "0", "-r", str(SAMPLE_RATE_HZ)]
        command += ["-g", "0.8", "-F", str(wav), str(FONT), str(midi)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            raise DataError(f"cannot render with {FONT}; install fluidsynth and fluid-soundfont-gm") from None
        return read_48(wav).astype(np.float64)


def rendered(player: Player, seed: int, seconds: float = 12.0) -> tuple[Float64, Float64]:
    """A line's sound and f0, as of ``KnownSound``. Raises DataError without fluidsynth and its font."""
    messages, written = line(player, seed, seconds)
    sound = synthesised(messages)
    f0_hz = np.zeros(len(sound))
    for start_s, end_s, note in written:
        start, end, over = (round(SAMPLE_RATE_HZ * t) for t in (start_s, end_s, end_s + RELEASE_S))
        f0_hz[start:end] = midi_to_hz(note)
        f0_hz[end:over] = np.nan
    return sound, f0_hz


def _smoothed(x: NDArray[Any], seconds: float) -> NDArray[Any]:
    window = np.hanning(round(seconds * SAMPLE_RATE_HZ) | 1)
    return np.asarray(fftconvolve(x, window / window.sum(), mode="same"))


def played_again(sound: Float64, score_hz: Float64) -> tuple[Float64, Float64]:
    """The harmonics of a line at the pitch it was measured to have, and that pitch: [n] each.

    The pitch is the score's, gliding from note to note in 20 ms, moved by up to 3 % as the phase of the first
    harmonic tells; whatever it is, it is exactly what is played.
    """
    known = np.flatnonzero(score_hz > 0.0)
    held = score_hz[known[np.maximum(np.searchsorted(known, np.arange(len(sound)), "right") - 1, 0)]]
    held = np.exp2(_smoothed(np.pad(np.log2(held), GLIDE, mode="edge"), 0.02)[GLIDE:-GLIDE])
    first = _smoothed(sound * np.exp(-2j * np.pi * np.cumsum(held) / SAMPLE_RATE_HZ), 0.04)
    turning = np.angle(_smoothed(first[1:] * first[:-1].conj(), 0.04)) * SAMPLE_RATE_HZ / (2.0 * np.pi)
    f0_hz = held + np.clip(np.append(turning, 0.0), -0.03 * held, 0.03 * held)
    phase = 2.0 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ
    again = np.zeros(len(sound))
    for k in range(1, 1 + min(N_PARTIALS, int(PARTIALS_TO_HZ / f0_hz.min()))):
        level = 2.0 * np.abs(_smoothed(sound * np.exp(-1j * k * phase), 0.03))
        again += np.where(k * f0_hz < PARTIALS_TO_HZ, level, 0.0) * np.sin(k * phase + k * k)
    return again, np.where(score_hz > 0.0, f0_hz, score_hz)


def known_sounds(kinds: frozenset[str] | None = None) -> Iterator[KnownSound]:
    """Every sound of the kinds asked for (all), always the same."""
    for kind, curves in CURVES.items():
        if kinds is None or kind in kinds:
            for seed, f0_hz in enumerate(curves()):
                yield KnownSound(kind, harmonic_sound(f0_hz, seed), f0_hz)
    for seed, (kind, player) in enumerate(PLAYERS.items()):
        if kinds is None or kind in kinds:
            yield KnownSound(kind, *played_again(*rendered(player, seed)))
