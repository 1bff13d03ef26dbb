"""Does the box follow itself? Its own notes through a loudspeaker in its microphone, and what comes of it.

``python -m models.ensemble.feedback --pop909 DIR [--songs 007,036,055] [--level-db -6] [--delay-ms 10]
[--seconds 60] [--answer] [--json]`` plays excerpts to the whole box four times: without and with its own
sound in the microphone, and with ``ears.own_notes`` ignored and discounted. Its sound is rendered note by
note as it sends them, through FluidR3's piano in a small room, at a level relative to the player's. The
player stops after two thirds of the time.

- ``beat_f``, ``in_chord``, ``notes_hz``: as ``evaluate`` has them, until the player stops.
- ``stops_s``: seconds from the player's end to the end of the box's last note.
- ``mood_off``: mean distance of valence and arousal heard from those of the run without its own sound.

With ``--answer`` the player alternates phrases with the box in that role, and the figures are those of
``turns``.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import mido
import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from firmware_py.devices.offline import RecordingMidi
from firmware_py.ports.midi import KIND, NOTE_ON
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, open_models
from kelly_edge.config import OWN_NOTES
from kelly_edge.contract import HEARD_DTYPE, HOP_SIZE, HOPS_PER_EMOTION_STEP, SAMPLE_RATE_HZ, Role
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.emotion.data import render
from models.ensemble import harmony, rhythm
from models.ensemble.evaluate import believed
from models.ensemble.measures import SETTLED_S, Party, settled, with_interval
from models.ensemble.songs import TICKS_PER_BEAT, Song, cache_folder, load_song, sound_of
from models.ensemble.turns import alternating, measure_turns, melody, phrases_of, sound_of_phrases

Sound = NDArray[np.float32]
LOWEST, HIGHEST = 28, 96
"""MIDI notes that the box plays, as ``envelope`` has them by default."""
VELOCITY: Final = 80
"""Of the notes rendered; others are louder or softer as General MIDI says. Chosen: a usual one."""
LASTS_S, APART_S = 3.5, 4.0
"""How long each is held, and from one to the next. Chosen: longer than the box's notes."""
RELEASE_S: Final = 0.1
"""Time constant of a note's end. Chosen: a piano's damper."""
ROOM_S: Final = 0.12
"""Until the room's reverberation has fallen by 60 dB. As issue 22 asks for it."""
ROOM_DB: Final = 0.0
"""Reverberation over direct sound. Chosen: a loudspeaker in the same small room."""
AUDIBLE: Final = 1e-4
"""Samples below it are silence. Chosen by hand: -80 dBFS."""
PLAYS: Final = 2.0 / 3.0
"""Share of the time after which the player stops. Chosen by hand."""


def room(rng: np.random.Generator) -> Sound:
    """An impulse response of direct sound and decaying noise, of energy 1."""
    n = round(1.5 * ROOM_S * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / (ROOM_S * SAMPLE_RATE_HZ))
    tail *= np.sqrt(10.0 ** (0.1 * ROOM_DB) / np.sum(tail**2))
    tail[0] += 1.0
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)


def tones(response: Sound) -> dict[int, Sound]:
    """Every note of the box, held, in the room."""
    track, pitches = mido.MidiTrack(), range(LOWEST, HIGHEST + 1)
    last = 0
    for k, pitch in enumerate(pitches):
        for at_s, velocity in ((APART_S * k, VELOCITY), (APART_S * k + LASTS_S, 0)):
            tick = round(at_s * 2 * TICKS_PER_BEAT)
            track.append(mido.Message("note_on", note=pitch, velocity=velocity, time=tick - last))
            last = tick
    midi = mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_BEAT)
    midi.tracks.append(track)
    with tempfile.TemporaryDirectory() as scratch:
        midi.save(Path(scratch) / "tones.mid")
        sound = render(Path(scratch) / "tones.mid", "fluid").astype(np.float32) / 32_768.0
    parts = [sound[round(APART_S * k * SAMPLE_RATE_HZ) :] for k in range(len(pitches))]
    n = round(LASTS_S * SAMPLE_RATE_HZ)
    return {
        pitch: fftconvolve(part[:n], response)[:n].astype(np.float32)
        for pitch, part in zip(pitches, parts, strict=True)
    }


@dataclass
class Loudspeaker:
    """The player's sound and, mixed in as they are sent, the box's notes: a ``Sound`` for ``Offline``."""

    player: Sound
    tones: dict[int, Sound]
    gain: float
    delay_s: float
    out: RecordingMidi | None = None
    own: Sound = field(init=False)

    def __post_init__(self) -> None:
        """Room for what the box will play."""
        self.own = np.zeros(len(self.player) + round((LASTS_S + 1.0) * SAMPLE_RATE_HZ), np.float32)
        self._held: dict[int, tuple[int, float]] = {}

    @property
    def n_samples(self) -> int:
        """Of the player's sound."""
        return len(self.player)

    def blocks(self) -> Iterator[Sound]:
        """A hop each."""
        n_read = 0
        for at in range(0, len(self.player), HOP_SIZE):
            messages = self.out.messages if self.out is not None else []
            for due_s, status, pitch, velocity in messages[n_read:]:
                self.play(due_s, pitch, velocity if status & KIND == NOTE_ON else 0)
            n_read = len(messages)
            part = slice(at, min(at + HOP_SIZE, len(self.player)))
            yield self.player[part] + self.gain * self.own[part]

    def play(self, due_s: float, pitch: int, velocity: int) -> None:
        """A note begins, or ends (velocity 0)."""
        at = round((due_s + self.delay_s) * SAMPLE_RATE_HZ)
        if pitch not in self.tones:
            return
        if velocity:
            loud = (velocity / VELOCITY) ** 2
            self._held[pitch] = at, loud
            self._add(at, loud * self.tones[pitch])
        elif pitch in self._held:
            begin, loud = self._held.pop(pitch)
            rest = self.tones[pitch][at - begin :]
            fading = np.exp(-np.arange(len(rest)) / (RELEASE_S * SAMPLE_RATE_HZ)) - 1.0
            self._add(at, (loud * rest * fading).astype(np.float32))

    def _add(self, at: int, sound: Sound) -> None:
        place = self.own[at : at + len(sound)]
        place += sound[: len(place)]


def run(
    models: Models, speaker: Loudspeaker, own_notes: str, role: str = ""
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """What the box played (notes, bars) and heard (HEARD_DTYPE [n])."""
    settings = Settings()
    settings = replace(settings, ears=replace(settings.ears, own_notes=own_notes))
    if role:
        settings = replace(settings, composer=replace(settings.composer, role=role))
    offline, records = Offline(settings, models, speaker), []
    speaker.out = offline.midi_out if speaker.gain else None

    def keep(n_hops: int) -> None:
        if n_hops % HOPS_PER_EMOTION_STEP == 0:
            records.append(offline.dsp.heard.copy())

    played = offline.run(after_hop=keep)
    return played.notes, played.bars, np.array(records, HEARD_DTYPE)


def figures(song: Song, notes: Any, bars: Any, heard: Any, until_s: float) -> dict[str, float]:
    """Those of the module's text but for the mood."""
    theirs = heard[heard["time_s"] < until_s]
    with_them = notes[notes["onset_s"] < until_s]
    beats_s, downbeats_s = believed(theirs)
    onset_s = with_them["onset_s"].astype(float)
    party = Party(
        onset_s,
        onset_s + with_them["duration_s"],
        with_them["pitch"].astype(np.int64),
        bars["start_s"].astype(float),
        beats_s,
        downbeats_s,
        theirs,
    )
    found = rhythm.measure(song, party) | harmony.measure(song, party)
    end_s = notes["onset_s"] + notes["duration_s"].astype(float)
    stops_s = float(end_s.max(initial=0.0)) - until_s
    notes_hz = settled(onset_s).size / (until_s - SETTLED_S)
    return {name: found[name] for name in ("beat_f", "in_chord")} | {"notes_hz": notes_hz, "stops_s": stops_s}


def cut(song: Song, until_s: float) -> Song:
    """The song as far as it is played."""
    return replace(
        song,
        beats_s=song.beats_s[song.beats_s < until_s],
        downbeats_s=song.downbeats_s[song.downbeats_s < until_s],
        chords=tuple(chord for chord in song.chords if chord.end_s < until_s),
    )


def measure_answers(
    pop909: Path,
    name: str,
    seconds: float,
    models: Models,
    tones_: dict[int, Sound],
    level_db: float,
    delay_s: float,
) -> dict[str, dict[str, float]]:
    """Figures of ``turns`` of the four runs, by name."""
    song = load_song(pop909, name)
    phrases = alternating(phrases_of(melody(song.midi), song.beats_s), seconds)
    player = sound_of_phrases(phrases, seconds)
    rows: dict[str, dict[str, float]] = {}
    gain = 0.0
    for where in ("without", "with"):
        for own_notes in reversed(OWN_NOTES):
            notes, _, _ = run(
                models, Loudspeaker(player, tones_, gain, delay_s), own_notes, Role.ANSWER.value
            )
            onset_s = notes["onset_s"].astype(float)
            row = measure_turns(phrases, onset_s, onset_s + notes["duration_s"])
            rows[f"{where} {own_notes}"] = {
                k: row[k] for k in ("phrases", "overlap", "within_beat", "length")
            }
            if not gain:
                level = loudness(notes, tones_, player, is_together=False)
        gain = 10.0 ** (0.05 * level_db) / level
    return rows


def measure(
    song: Song, sound: Sound, models: Models, tones_: dict[int, Sound], level_db: float, delay_s: float
) -> dict[str, dict[str, float]]:
    """Figures of the four runs, by name."""
    until_s = PLAYS * len(sound) / SAMPLE_RATE_HZ
    player = sound.copy()
    player[round(until_s * SAMPLE_RATE_HZ) :] = 0.0
    played = cut(song, until_s)
    rows: dict[str, dict[str, float]] = {}
    gain, alone = 0.0, None
    for name in ("without", "with"):
        for own_notes in reversed(OWN_NOTES):
            speaker = Loudspeaker(player, tones_, gain, delay_s)
            notes, bars, heard = run(models, speaker, own_notes)
            row = figures(played, notes, bars, heard, until_s)
            theirs = heard["time_s"] < until_s
            if alone is None:
                alone = heard
            off = [np.abs(heard[what] - alone[what])[theirs].mean() for what in ("valence", "arousal")]
            rows[f"{name} {own_notes}"] = row | {"mood_off": float(np.mean(off))}
            if not gain:
                level = loudness(notes, tones_, player)
        gain = 10.0 ** (0.05 * level_db) / level
    return rows


def loudness(notes: Any, tones_: dict[int, Sound], player: Sound, is_together: bool = True) -> float:
    """How loud the box's notes are at gain 1, as a share of the player; each while it sounds, or together."""
    speaker = Loudspeaker(player, tones_, 1.0, 0.0)
    events = [
        event
        for note in notes
        for event in (
            (float(note["onset_s"]), int(note["pitch"]), int(note["velocity"])),
            (float(note["onset_s"] + note["duration_s"]), int(note["pitch"]), 0),
        )
    ]
    for event in sorted(events, key=lambda event: (event[0], event[2])):
        speaker.play(*event)
    own, sounds = speaker.own[: len(player)], np.abs(player) > AUDIBLE
    sounds_own = sounds if is_together else np.abs(own) > AUDIBLE
    return float(np.sqrt(np.mean(own[sounds_own] ** 2) / np.mean(player[sounds] ** 2)))


@command("models.ensemble.feedback", KellyError)
def main() -> None:
    """Read the command line, play, measure, print."""
    parser = Parser(prog="models.ensemble.feedback", description=__doc__)
    parser.add_argument("--pop909", type=path_argument, required=True, help="folder of POP909")
    parser.add_argument("--songs", default="007,036,055", help="names with commas between")
    parser.add_argument("--level-db", type=float, default=-6.0, help="of the box, against the player")
    parser.add_argument("--delay-ms", type=float, default=10.0, help="from loudspeaker to microphone")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each is played")
    parser.add_argument("--answer", action="store_true", help="in the role answer, to phrases")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    arguments = parser.parse_args()
    models, tones_ = open_models(Settings()), tones(room(np.random.default_rng(22)))
    rows = []
    for name in arguments.songs.split(","):
        song = load_song(arguments.pop909, name)
        level_db, delay_s = arguments.level_db, 1e-3 * arguments.delay_ms
        if arguments.answer:
            rows.append(
                measure_answers(arguments.pop909, name, arguments.seconds, models, tones_, level_db, delay_s)
            )
        else:
            sound = sound_of(song, "fluid", cache_folder())[: round(arguments.seconds * SAMPLE_RATE_HZ)]
            rows.append(measure(song, sound, models, tones_, level_db, delay_s))
        for run_name, row in rows[-1].items():
            print(name, run_name, {k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)
    result = {
        run_name: {name: with_interval([row[run_name][name] for row in rows]) for name in rows[0][run_name]}
        for run_name in rows[0]
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for run_name, values in result.items():
        told = "  ".join(f"{name} {value['mean']:.3f}" for name, value in values.items())
        print(f"{run_name:18}{told}")


if __name__ == "__main__":
    sys.exit(main())
