"""Songs of POP909 as a person to play with: notes, beats, downbeats and chords, and how they sound.

An excerpt is the first ``EXCERPT_S`` seconds. It is rendered by fluidsynth through one of ``CONDITIONS`` and
kept in a cache outside of the repository, so that only the first run renders.
"""

import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mido
import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from firmware_py.devices.files.midi_file import KeyboardPerformance
from firmware_py.ports.midi import NOTE_OFF, NOTE_ON
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DataError
from models.composer.data import Notes, read_midi
from models.emotion.acoustics import wet
from models.emotion.data import render

Floats = NDArray[np.float64]
LISTS: Final = Path(__file__).parent / "songs.yaml"
EXCERPT_S: Final = 90.0
"""Chosen: verse and chorus of most songs."""
CONDITIONS: Final = ("fluid", "timgm", "fluid-wet")
"""Two sound fonts, and one of them in a room whose reverberation outweighs the direct sound."""
TICKS_PER_BEAT: Final = 10_000
"""Of an excerpt's MIDI file, at 120 bpm: 50 µs per tick. Chosen: finer than the asynchronies measured."""


@dataclass(frozen=True)
class Chord:
    """A chord of the annotation, ``C:maj7/5`` or ``N`` for none."""

    begin_s: float
    end_s: float
    name: str


@dataclass(frozen=True)
class Song:
    """An excerpt; ``downbeats_s`` are among ``beats_s``."""

    name: str
    midi: Path
    notes: Notes
    beats_s: Floats
    downbeats_s: Floats
    chords: tuple[Chord, ...]


def song_list(purpose: str) -> list[str]:
    """Names of the songs for ``evaluation`` or ``development``."""
    return [str(name) for name in yaml.safe_load(LISTS.read_text(encoding="utf-8"))[purpose]]


def load_song(pop909: Path, name: str) -> Song:
    """The excerpt of a song. Raises DataError where one of its files is missing or no table."""
    folder = pop909 / "POP909" if (pop909 / "POP909").is_dir() else pop909
    midi = folder / name / f"{name}.mid"
    try:
        beats = np.loadtxt(folder / name / "beat_midi.txt", ndmin=2)
        lines = (folder / name / "chord_midi.txt").read_text(encoding="utf-8").splitlines()
        chords = [re.split(r"\s+", line.strip()) for line in lines if line.strip()]
        annotated = tuple(Chord(float(begin), float(end), name) for begin, end, name in chords)
    except (OSError, ValueError) as error:
        raise DataError(
            f"song {name} of {folder}: {error}; give the folder of POP909 and a song of it"
        ) from None
    notes = read_midi(midi)
    kept = notes.onset_s < EXCERPT_S
    excerpt = Notes(
        notes.onset_s[kept], np.minimum(notes.end_s[kept], EXCERPT_S), notes.pitch[kept], notes.velocity[kept]
    )
    beats = beats[beats[:, 0] < EXCERPT_S]
    return Song(name, midi, excerpt, beats[:, 0], beats[beats[:, -1] > 0, 0], annotated)


def sound_of_notes(events: Iterable[tuple[float, int, int]]) -> NDArray[np.float32]:
    """Notes through FluidR3's piano, float32 at 48 kHz.

    ``events``: seconds, pitch and velocity (0: the note ends), in the order of their times.
    """
    track, last = mido.MidiTrack(), 0
    for time_s, pitch, velocity in events:
        tick = round(time_s * 2 * TICKS_PER_BEAT)
        track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=tick - last))
        last = tick
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "notes.mid"
        _save(track, path)
        return render(path, "fluid").astype(np.float32) / 32_768.0


def _save(track: mido.MidiTrack, path: Path) -> None:
    midi = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT)
    midi.tracks.append(track)
    midi.save(path)


def _excerpt_midi(source: Path, target: Path) -> None:
    """The messages before ``EXCERPT_S``, timed in seconds, with every sounding note ended there."""
    track, time_s, last = mido.MidiTrack(), 0.0, 0
    sounding: set[tuple[int, int]] = set()
    for message in mido.MidiFile(source):
        time_s += message.time
        if time_s >= EXCERPT_S:
            break
        if message.is_meta:
            continue
        if message.type in ("note_on", "note_off"):
            change = sounding.add if message.type == "note_on" and message.velocity else sounding.discard
            change((message.channel, message.note))
        tick = round(time_s * 2 * TICKS_PER_BEAT)
        track.append(message.copy(time=tick - last))
        last = tick
    end = round(EXCERPT_S * 2 * TICKS_PER_BEAT)
    for channel, note in sorted(sounding):
        track.append(mido.Message("note_off", channel=channel, note=note, time=end - last))
        last = end
    _save(track, target)


def cache_folder() -> Path:
    """Where renderings are kept: ``XDG_CACHE_HOME`` or ``~/.cache``, folder kelly-edge-ensemble."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kelly-edge-ensemble"


def sound_of(song: Song, condition: str, cache: Path) -> NDArray[np.float32]:
    """The excerpt as heard: float32 at 48 kHz, exactly ``EXCERPT_S``, from the cache where it lies there.

    Raises
    ------
    DataError: fluidsynth or the sound font is missing, or no such condition.
    """
    if condition not in CONDITIONS:
        raise DataError(f"no condition {condition}; give one of {', '.join(CONDITIONS)}")
    path = cache / f"{song.name}-{condition}-{EXCERPT_S:.0f}s.flac"
    if path.is_file():
        return np.asarray(soundfile.read(path, dtype="float32")[0])
    font, _, room = condition.partition("-")
    with tempfile.TemporaryDirectory() as scratch:
        midi = Path(scratch) / "excerpt.mid"
        _excerpt_midi(song.midi, midi)
        rendered = render(midi, font).astype(np.float32) / 32_768.0
    sound = np.zeros(round(EXCERPT_S * SAMPLE_RATE_HZ), np.float32)
    n = min(sound.size, rendered.size)
    sound[:n] = rendered[:n]
    if room:
        number = int(song.name) if song.name.isdigit() else zlib.crc32(song.name.encode())
        sound = wet(sound, np.random.default_rng(number))
        sound /= max(1.0, float(np.abs(sound).max()))
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    soundfile.write(partial, sound, SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
    partial.replace(path)
    return sound


def keys_of(song: Song) -> KeyboardPerformance:
    """The excerpt as a keyboard plays it: its melody, bridge and piano on one channel."""
    notes = song.notes
    pitches, velocities = notes.pitch.tolist(), notes.velocity.tolist()
    messages = [(t, bytes((NOTE_OFF, p, 0))) for t, p in zip(notes.end_s.tolist(), pitches, strict=True)]
    for time_s, pitch, velocity in zip(notes.onset_s.tolist(), pitches, velocities, strict=True):
        messages.append((time_s, bytes((NOTE_ON, pitch, velocity))))
    # At one time what ends comes first: a key that is struck again sounds on.
    messages.sort(key=lambda m: (m[0], m[1][0] == NOTE_ON))
    return KeyboardPerformance(song.midi, tuple(messages), EXCERPT_S)


def load_songs(pop909: Path, names: Sequence[str]) -> list[Song]:
    """The excerpts of several songs."""
    return [load_song(pop909, name) for name in names]
