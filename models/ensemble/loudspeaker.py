"""A loudspeaker beside the microphone: the box's own notes, rendered and mixed in as it sends them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from firmware_py.devices.offline import RecordingMidi
from firmware_py.ports.midi import KIND, NOTE_ON
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from models.ensemble.songs import sound_of_notes

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
"""Until the room's reverberation has fallen by 60 dB. Chosen: a small room with curtains."""
ROOM_DB: Final = 0.0
"""Reverberation over direct sound. Chosen: a loudspeaker in the same small room."""
AUDIBLE: Final = 1e-4
"""Samples below it are silence. Chosen by hand: -80 dBFS."""


def room(rng: np.random.Generator) -> Sound:
    """An impulse response of direct sound and decaying noise, of energy 1."""
    n = round(1.5 * ROOM_S * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / (ROOM_S * SAMPLE_RATE_HZ))
    tail *= np.sqrt(10.0 ** (0.1 * ROOM_DB) / np.sum(tail**2))
    tail[0] += 1.0
    return (tail / np.sqrt(np.sum(tail**2))).astype(np.float32)


def tones(response: Sound) -> dict[int, Sound]:
    """Every note of the box, held, in the room."""
    pitches = range(LOWEST, HIGHEST + 1)
    sound = sound_of_notes(
        (APART_S * k + after_s, pitch, velocity)
        for k, pitch in enumerate(pitches)
        for after_s, velocity in ((0.0, VELOCITY), (LASTS_S, 0))
    )
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
