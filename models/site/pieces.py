"""Four melodies in the public domain, arranged here: what is heard before, in the site's examples.

Rendered through the MIT-licensed FluidR3 General MIDI sound font they may be redistributed, as the demo may.
"""

from collections.abc import Callable, Sequence
from typing import Final

import mido

from models.score import Event, midi_file, strike

Melody = Sequence[tuple[int, float]]
"""(MIDI note, or 0 for a rest; length in beats)."""

PRELUDE: Final = (
    (60, 64, 67, 72, 76), (60, 62, 69, 74, 77), (59, 62, 67, 74, 77), (60, 64, 67, 72, 76),
    (60, 64, 69, 76, 81), (60, 62, 66, 69, 74), (59, 62, 67, 74, 79), (59, 60, 64, 67, 72),
    (57, 60, 64, 67, 72), (50, 57, 62, 66, 72), (55, 59, 62, 67, 71), (55, 58, 64, 67, 73),
    (53, 57, 62, 69, 74), (53, 56, 62, 65, 71), (52, 55, 60, 67, 72), (52, 53, 57, 60, 65),
    (50, 53, 57, 60, 65), (43, 50, 55, 59, 65), (48, 52, 55, 60, 64),
)  # fmt: skip
"""MIDI notes of each bar's figure: Bach, The Well-Tempered Clavier I, Prelude in C, 1722, bars 1 to 19."""
FIGURE: Final = (0, 1, 2, 3, 4, 2, 3, 4)
"""Which note of the bar each sixteenth of a half bar is: the figure of Bach 1722, in all bars."""

NEW_BRITAIN: Final[Melody] = (
    (62, 1),
    (67, 2), (71, 0.5), (67, 0.5), (71, 2), (69, 1), (67, 2), (64, 1), (62, 2), (62, 1),
    (67, 2), (71, 0.5), (67, 0.5), (71, 2), (69, 1), (74, 5), (71, 1),
    (74, 1.5), (71, 0.5), (74, 0.5), (71, 0.5), (67, 2), (62, 1), (64, 1.5), (67, 0.5), (67, 0.5), (64, 0.5),
    (62, 2), (62, 1), (67, 2), (71, 0.5), (67, 0.5), (71, 2), (69, 1), (67, 5),
)  # fmt: skip
"""MIDI notes and beats: the tune of Amazing Grace as printed from 1829 on, in G major."""

MOUNTAIN_KING: Final[Melody] = (
    (59, 0.5), (61, 0.5), (62, 0.5), (64, 0.5), (66, 0.5), (62, 0.5), (66, 1),
    (65, 0.5), (61, 0.5), (65, 1), (64, 0.5), (60, 0.5), (64, 1),
    (59, 0.5), (61, 0.5), (62, 0.5), (64, 0.5), (66, 0.5), (62, 0.5), (66, 0.5), (71, 0.5),
    (69, 0.5), (66, 0.5), (62, 0.5), (66, 0.5), (69, 2),
)  # fmt: skip
"""MIDI notes and beats: Grieg, In the Hall of the Mountain King, 1875, its four bars in B minor."""
MOUNTAIN_BASS: Final = (47, 47, 47, 47, 47, 48, 47, 50)
"""A root for each half bar. MIDI notes; chosen by hand after Grieg's."""

LULLABY: Final[Melody] = (
    (64, 0.5), (64, 0.5),
    (67, 2), (64, 0.5), (64, 0.5), (67, 2), (64, 0.5), (67, 0.5), (72, 1), (71, 1.5), (69, 0.5),
    (69, 1), (67, 1), (62, 0.5), (64, 0.5), (65, 2), (62, 0.5), (64, 0.5), (65, 2), (62, 0.5), (65, 0.5),
    (71, 0.5), (69, 0.5), (67, 1), (71, 1), (72, 2), (60, 0.5), (60, 0.5),
    (72, 2), (69, 0.5), (65, 0.5), (67, 2), (64, 0.5), (60, 0.5), (65, 1), (67, 1), (69, 1),
    (67, 2), (60, 0.5), (60, 0.5), (72, 2), (69, 0.5), (65, 0.5), (67, 2), (64, 0.5), (60, 0.5),
    (65, 1), (64, 1), (62, 1), (60, 2),
)  # fmt: skip
"""MIDI notes and beats: Brahms, Wiegenlied op. 49 no. 4, 1868, in C major."""
LULLABY_CHORDS: Final = "C C C G G G G C F C G C F C G C"
"""A chord for each bar of three beats, after an upbeat of one. Chosen by hand after Brahms's."""
GUITAR: Final = {"C": (48, 55, 60, 64), "F": (41, 57, 60, 65), "G": (43, 55, 59, 65)}
"""Bass, then the upper strings. MIDI notes; chosen by hand."""
# General MIDI 1: programs of an acoustic guitar with nylon strings, pizzicato strings and a flute.
NYLON_GUITAR, PIZZICATO, FLUTE = 24, 45, 73


def _sing(
    events: list[Event], start_s: float, beat_s: float, melody: Melody, velocity: int, up: int = 0
) -> float:
    """Add a melody, ``up`` semitones higher; when it is over."""
    for note, beats in melody:
        if note:
            strike(events, start_s, beats * beat_s, note + up, velocity)
        start_s += beats * beat_s
    return start_s


def prelude() -> mido.MidiFile:
    """Bach's first prelude on a piano: calm, bright, even."""
    events: list[Event] = []
    sixteenth_s, start_s = 60.0 / 72.0 / 4.0, 0.5
    for bar in PRELUDE:
        for half in range(2):
            for step, which in enumerate(FIGURE):
                at_s = start_s + (8 * half + step) * sixteenth_s
                # The two lowest are held through the half bar.
                length = (8.0, 7.0, 1.2)[min(step, 2)]
                strike(events, at_s, length * sixteenth_s, bar[which], 64 if step == 0 else 54)
        start_s += 16 * sixteenth_s
    for note in (36, 48, 52, 55, 60):
        strike(events, start_s, 4.0, note, 58)
    return midi_file(events)


def new_britain() -> mido.MidiFile:
    """Amazing Grace twice through on a flute alone."""
    events: list[Event] = []
    start_s = 0.5
    for _ in range(2):
        start_s = _sing(events, start_s, 60.0 / 80.0, NEW_BRITAIN, 76, up=5)
    return midi_file(events, {0: FLUTE})


def mountain_king() -> mido.MidiFile:
    """Grieg's march of the trolls, low and plucked; quicker and louder each time."""
    events: list[Event] = []
    start_s = 0.5
    for bpm, velocity, up in ((112, 62, -12), (124, 72, -5), (136, 82, -12), (150, 94, -5), (164, 108, 0)):
        beat_s = 60.0 / bpm
        for half, root in enumerate(MOUNTAIN_BASS):
            for beat in range(2):
                at_s = start_s + (2 * half + beat) * beat_s
                strike(events, at_s, 0.4 * beat_s, root + up - 12 * (beat == 0 and up > -12), velocity)
                strike(events, at_s + 0.5 * beat_s, 0.3 * beat_s, root + up + 7, velocity - 10)
        start_s = _sing(events, start_s, beat_s, MOUNTAIN_KING, velocity, up)
    strike(events, start_s, 1.0, 47, 110)
    strike(events, start_s, 1.0, 35, 110)
    return midi_file(events, {0: PIZZICATO})


def lullaby() -> mido.MidiFile:
    """Brahms's lullaby on a guitar, slow and soft."""
    events: list[Event] = []
    beat_s, start_s = 60.0 / 76.0, 0.5
    for bar, name in enumerate(LULLABY_CHORDS.split()):
        bass, *upper = GUITAR[name]
        at_s = start_s + (1 + 3 * bar) * beat_s
        strike(events, at_s, 2.5 * beat_s, bass, 52)
        for beat, note in enumerate(upper[:2], 1):
            strike(events, at_s + beat * beat_s, (3 - beat) * beat_s, note, 42)
    _sing(events, start_s, beat_s, LULLABY, 66)
    return midi_file(events, {0: NYLON_GUITAR})


PIECES: Final[dict[str, Callable[[], mido.MidiFile]]] = {
    "prelude": prelude,
    "amazing-grace": new_britain,
    "mountain-king": mountain_king,
    "lullaby": lullaby,
}
