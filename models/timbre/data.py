"""Recordings of an instrument → what its voice learns from: f0, loudness and the sound they belong to.

The analysis is the box's own (``kelly_edge.signal``), streamed, so that the decoder learns from the very
numbers it will read. Sources are the instrument recordings of the project's data folder, or any folder of
recordings; the pad is rendered through the MIT-licensed FluidR3 sound font.
"""

import os
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mido
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.voice import DELAY
from models.timbre.network import HOP, RATE_HZ

Float32 = NDArray[np.float32]
FONT: Final = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SUFFIXES: Final = {".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"}
VOICED: Final = 0.5
"""Confidence from which a hop's f0 is taken; below, the last one is held, as the voice does. Chosen: the
default of the voice's gate."""
HELD_OUT_SHARE: Final = 0.1
"""Chosen: a tenth of the recordings, as is usual."""
# Seconds of silence between recordings. Chosen: a release is heard.
PAUSE_S: Final = 0.15
PIECE_S: Final = 30.0
"""A recording of more than two such pieces is cut into them. Chosen: one of them can be held out."""


@dataclass(frozen=True)
class VoiceSource:
    """Where a voice's recordings are: folders and file patterns, or a General MIDI program to render."""

    patterns: tuple[str, ...] = ()
    program: int = -1
    licence: str = ""


SOURCES: Final = {
    "flute": VoiceSource(
        ("flute_ixox/*", "flute_phil/*"), licence="CC BY 4.0 (Ixox), CC BY-SA 3.0 samples (Philharmonia)"
    ),
    "saxophone": VoiceSource(("sax_mtg/alt_*", "sax_mtg/ten_*"), licence="CC BY 4.0 (MTG)"),
    "cello": VoiceSource(("cello_phil/*",), licence="CC BY-SA 3.0 samples (Philharmonia)"),
    "soft_piano": VoiceSource(
        ("piano_upright_kw/*vL*", "piano_splendid/PP_*", "piano_splendid/Mp_*"), licence="CC0 / public domain"
    ),
    "pad": VoiceSource(program=89, licence="MIT (FluidR3 GM, program 90 Warm Pad)"),
}


@dataclass(frozen=True)
class Take:
    """One analysed recording: rows of a hop [n], sound [n * 128] at 24 kHz, late by the voice's delay."""

    f0_hz: Float32
    loudness_db: Float32
    confidence: Float32
    sound: Float32


def data_folder() -> Path:
    """The project's data folder (environment KELLY_DATA, or beside the checkout)."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("KELLY_DATA", default))


def recordings(voice: str, audio: Path | None) -> list[Path]:
    """The recordings of a voice: of the folder given, or of its source."""
    if audio is not None:
        files = sorted(p for p in audio.rglob("*") if p.suffix.lower() in SUFFIXES) if audio.is_dir() else []
        if not files:
            raise DataError(f"no recordings in {audio}; give a folder of WAV, FLAC, OGG or MP3 files")
        return files
    if voice not in SOURCES:
        raise DataError(f"{voice} is none of {', '.join(SOURCES)}; give its recordings with --audio")
    folder = data_folder() / "instruments"
    files = sorted(p for pattern in SOURCES[voice].patterns for p in folder.glob(pattern))
    if not files:
        raise DataError(
            f"no recordings of {voice} in {folder}; set KELLY_DATA to the data folder or give --audio DIR"
        )
    return files


def is_held_out(name: str) -> bool:
    """Whether a recording is kept for evaluation: decided by its name alone."""
    return zlib.crc32(name.encode()) % 1_000 < 1_000 * HELD_OUT_SHARE


def analyse(sound_48: Float32) -> Take:
    """Stream a recording (float32 at 48 kHz) through the box's analysis."""
    n_hops = -(-(len(sound_48) + DELAY) // HOP_SIZE)
    padded = np.zeros(n_hops * HOP_SIZE, np.float32)
    padded[: len(sound_48)] = sound_48
    tracker, meter = PitchTracker(), LoudnessMeter()
    rows = np.zeros((3, n_hops), np.float32)
    f0_hz = 0.0
    for i, hop in enumerate(padded.reshape(-1, HOP_SIZE)):
        tracker.push(hop)
        meter.push(hop)
        if tracker.confidence >= VOICED:
            f0_hz = tracker.f0_hz
        rows[:, i] = f0_hz, meter.loudness_db, tracker.confidence
    # Before the first voiced hop the first f0 stands: the voice is gated there.
    voiced = np.flatnonzero(rows[0] > 0.0)
    rows[0, : voiced[0] if len(voiced) else n_hops] = rows[0, voiced[0]] if len(voiced) else 440.0
    late = np.zeros(len(padded), np.float32)
    late[DELAY:] = padded[: len(padded) - DELAY]
    sound = soxr.resample(late, SAMPLE_RATE_HZ, RATE_HZ).astype(np.float32)[: n_hops * HOP]
    return Take(rows[0], rows[1], rows[2], np.pad(sound, (0, n_hops * HOP - len(sound))))


def read_48(path: Path) -> Float32:
    """A recording as mono float32 at 48 kHz, a pause after it."""
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"cannot read {path} ({error}); remove or replace it") from None
    mono = soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
    return np.concatenate([mono, np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), np.float32)])


def rendered_line(program: int, seed: int, seconds: float = 20.0) -> Float32:
    """A random legato line of one General MIDI program, rendered with fluidsynth: float32 at 48 kHz."""
    if not FONT.is_file():
        raise DataError(f"no sound font {FONT}; install the packages fluidsynth and fluid-soundfont-gm")
    rng = np.random.default_rng(seed)
    track = mido.MidiTrack([mido.Message("program_change", program=program)])
    track += [mido.Message("control_change", control=c, value=0) for c in (91, 93)]  # no reverb, no chorus
    time_s, note = 0.0, int(rng.integers(45, 75))
    while time_s < seconds:
        length_s = float(rng.choice([0.25, 0.5, 1.0, 2.0]))
        note = int(np.clip(note + rng.integers(-7, 8), 36, 88))
        ticks = round(length_s * 960)
        track.append(mido.Message("note_on", note=note, velocity=int(rng.integers(30, 115))))
        track.append(mido.Message("note_off", note=note, time=ticks))
        time_s += length_s
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "line.mid", Path(folder) / "line.wav"
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(midi)
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-r", str(SAMPLE_RATE_HZ), "-g", "0.8"]
        subprocess.run([*command, "-F", str(wav), str(FONT), str(midi)], check=True, capture_output=True)
        return read_48(wav)


N_LINES: Final = 18
"""Of the pad, rendered; the last two are held out. Chosen: some ten minutes."""


def _pieces(path: Path) -> dict[str, Float32]:
    """A recording by name; a long one in pieces, so that some of it can be held out."""
    sound, n = read_48(path), round(PIECE_S * SAMPLE_RATE_HZ)
    if len(sound) <= 2 * n:
        return {path.name: sound}
    return {f"{path.name}#{k}": sound[start : start + n] for k, start in enumerate(range(0, len(sound), n))}


def sounds(voice: str, audio: Path | None, held_out: bool) -> list[Float32]:
    """The recordings of a voice for training, or those held out: float32 at 48 kHz each. Raises DataError."""
    if audio is None and voice in SOURCES and SOURCES[voice].program >= 0:
        seeds: Sequence[int] = range(N_LINES - 2, N_LINES) if held_out else range(N_LINES - 2)
        return [rendered_line(SOURCES[voice].program, seed) for seed in seeds]
    pieces: dict[str, Float32] = {}
    for path in recordings(voice, audio):
        pieces |= _pieces(path)
    if len(pieces) < 2:
        raise DataError(
            f"one short recording is too little for {voice}; record a minute at least, better ten"
        )
    kept = {name for name in pieces if is_held_out(name)} or {max(pieces)}
    return [sound for name, sound in pieces.items() if (name in kept) == held_out]


def takes(voice: str, audio: Path | None, held_out: bool) -> list[Take]:
    """The analysed recordings of a voice for training, or those held out."""
    return [analyse(sound) for sound in sounds(voice, audio, held_out)]


def joined(some: Sequence[Take]) -> Take:
    """Takes one after the other."""
    return Take(*(np.concatenate([getattr(t, name) for t in some]) for name in Take.__dataclass_fields__))
