"""Notes in seconds to a MIDI file, and that through a sound font to sound: the pieces that come with us."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import mido
import soundfile
import soxr

from kelly_edge.errors import DataError

TICKS_PER_BEAT: Final = 480
"""Chosen: what sequencers write in a Standard MIDI File."""
FILE_RATE_HZ: Final = 24_000
"""Enough for a piano, and half the size. Chosen for that reason."""


class Event(NamedTuple):
    """A note-on, or with velocity 0 its note-off."""

    time_s: float
    note: int
    velocity: int
    is_on: bool
    channel: int = 0


def strike(
    events: list[Event], start_s: float, length_s: float, note: int, velocity: int, channel: int = 0
) -> None:
    """Add a note that is let go a moment before its length is over."""
    events.append(Event(start_s, note, velocity, True, channel))
    events.append(Event(start_s + 0.95 * length_s, note, 0, False, channel))


def midi_file(events: Sequence[Event], programs: Mapping[int, int] | None = None) -> mido.MidiFile:
    """The events in one track; ``programs``: the General MIDI instrument of a channel, else a piano."""
    file = mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT)
    track = mido.MidiTrack()
    file.tracks.append(track)
    for channel, program in (programs or {}).items():
        track.append(mido.Message("program_change", channel=channel, program=program))
    tempo = mido.bpm2tempo(120)
    before_s = 0.0
    for event in sorted(events, key=lambda e: (e.time_s, e.is_on)):
        ticks = round(mido.second2tick(event.time_s - before_s, TICKS_PER_BEAT, tempo))
        about = {"note": event.note, "velocity": event.velocity, "channel": event.channel}
        track.append(mido.Message("note_on", time=ticks, **about))
        before_s += mido.tick2second(ticks, TICKS_PER_BEAT, tempo)
    return file


def render(file: mido.MidiFile, font: Path, out: Path) -> None:
    """Render ``file`` through ``font`` with fluidsynth into the mono FLAC file ``out``.

    Raises
    ------
    DataError: the font or fluidsynth is missing, or fluidsynth fails.
    """
    if not font.is_file():
        raise DataError(f"no sound font {font}; install the package fluid-soundfont-gm")
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "score.mid", Path(folder) / "score.wav"
        file.save(midi)
        words = ["fluidsynth", "-ni", "-q", "-r", "48000", "-g", "1.0", "-F", str(wav), str(font), str(midi)]
        try:
            subprocess.run(words, check=True, capture_output=True)
        except FileNotFoundError:
            raise DataError("fluidsynth is missing; install the package fluidsynth") from None
        except subprocess.CalledProcessError as error:
            raise DataError(f"fluidsynth failed with {font} (status {error.returncode})") from None
        samples, rate = soundfile.read(wav, dtype="float32")
    out.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(out, soxr.resample(samples.mean(axis=1), rate, FILE_RATE_HZ), FILE_RATE_HZ, "PCM_16")
