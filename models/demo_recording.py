"""Render the demo's recording: a public-domain melody that turns from sad to happy halfway.

First Greensleeves (English, 16th century; A minor, slow, low, soft), then the Ode to Joy (Beethoven,
1824; D major, quick, high, bright), both arranged here for piano and rendered through the MIT-licensed
FluidR3 General MIDI sound font, so that the result may be redistributed.

    python -m models.demo_recording --font /usr/share/sounds/sf2/FluidR3_GM.sf2
"""

import sys
from collections.abc import Sequence
from typing import Final

import mido

from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.output import refuse_to_overwrite
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.score import Event, midi_file, render, strike

Melody = Sequence[tuple[int, float]]
"""(MIDI note, or 0 for a rest; length in beats)."""

GREENSLEEVES: Final[Melody] = (
    (69, 1.0),
    (72, 2.0), (74, 1.0), (76, 1.5), (77, 0.5), (76, 1.0), (74, 2.0), (71, 1.0), (67, 1.5), (69, 0.5),
    (71, 1.0),
    (72, 2.0), (69, 1.0), (69, 1.5), (68, 0.5), (69, 1.0), (71, 2.0), (68, 1.0), (64, 2.0), (69, 1.0),
    (72, 2.0), (74, 1.0), (76, 1.5), (77, 0.5), (76, 1.0), (74, 2.0), (71, 1.0), (67, 1.5), (69, 0.5),
    (71, 1.0),
    (72, 1.5), (71, 0.5), (69, 1.0), (68, 1.5), (66, 0.5), (68, 1.0), (69, 3.0), (69, 3.0),
)  # fmt: skip
"""MIDI notes and beats: the tune as printed from 1652 on, in A minor."""
GREENSLEEVES_BASS: Final = (45, 45, 43, 43, 45, 45, 40, 40, 45, 45, 43, 43, 45, 40, 45, 45)
"""A root for each bar of three beats, after an upbeat of one. MIDI notes; chosen by hand."""
ODE_TO_JOY: Final[Melody] = (
    (78, 1), (78, 1), (79, 1), (81, 1), (81, 1), (79, 1), (78, 1), (76, 1),
    (74, 1), (74, 1), (76, 1), (78, 1), (78, 1.5), (76, 0.5), (76, 2),
    (78, 1), (78, 1), (79, 1), (81, 1), (81, 1), (79, 1), (78, 1), (76, 1),
    (74, 1), (74, 1), (76, 1), (78, 1), (76, 1.5), (74, 0.5), (74, 2),
    (76, 1), (76, 1), (78, 1), (74, 1), (76, 1), (78, 0.5), (79, 0.5), (78, 1), (74, 1),
    (76, 1), (78, 0.5), (79, 0.5), (78, 1), (76, 1), (74, 1), (76, 1), (69, 2),
    (78, 1), (78, 1), (79, 1), (81, 1), (81, 1), (79, 1), (78, 1), (76, 1),
    (74, 1), (74, 1), (76, 1), (78, 1), (76, 1.5), (74, 0.5), (74, 2),
)  # fmt: skip
"""MIDI notes and beats: Beethoven's Ninth Symphony, 1824, in D major."""
ODE_CHORDS: Final = "D A D A D Bm G A D A D A Bm Em A7 D"
"""A chord for each bar of four beats."""
CHORDS: Final = {
    "D": (50, 62, 66, 69),
    "A": (45, 61, 64, 69),
    "A7": (45, 61, 64, 67),
    "G": (43, 62, 67, 71),
    "Bm": (47, 62, 66, 71),
    "Em": (40, 64, 67, 71),
}
"""Bass, then the upper voices. MIDI notes; chosen by hand."""
# Chosen by hand: a slow and a fast tempo, and how often the second tune is played.
SAD_BPM, HAPPY_BPM = 80.0, 152.0
N_ODE_TIMES = 2


def _sad(events: list[Event], start_s: float) -> float:
    beat_s = 60.0 / SAD_BPM
    time_s = start_s
    for note, beats in GREENSLEEVES:
        strike(events, time_s, beats * beat_s, note - 12, 62)
        time_s += beats * beat_s
    for bar, root in enumerate(GREENSLEEVES_BASS):
        bar_s = start_s + (1 + 3 * bar) * beat_s
        strike(events, bar_s, 3 * beat_s, root - 12, 50)
        strike(events, bar_s + beat_s, 2 * beat_s, root, 46)
    return time_s


def _happy(events: list[Event], start_s: float) -> float:
    beat_s = 60.0 / HAPPY_BPM
    time_s = start_s
    chords = ODE_CHORDS.split()
    for _ in range(N_ODE_TIMES):
        begin_s = time_s
        for note, beats in ODE_TO_JOY:
            strike(events, time_s, beats * beat_s, note, 100)
            strike(events, time_s, beats * beat_s, note - 12, 86)
            time_s += beats * beat_s
        for bar, chord in enumerate(chords):
            bass, *upper = CHORDS[chord]
            for beat in range(4):
                at_s = begin_s + (4 * bar + beat) * beat_s
                strike(events, at_s, 0.5 * beat_s, bass - 12 * (beat % 2 == 0), 88)
                for note in upper:
                    strike(events, at_s + 0.5 * beat_s, 0.4 * beat_s, note - 12 * (note > 64), 80)
    return time_s


def arrangement() -> mido.MidiFile:
    """The two melodies with their accompaniments, one after the other."""
    events: list[Event] = []
    turn_s = _sad(events, 0.5)
    _happy(events, turn_s)
    return midi_file(events)


@command("models.demo_recording", KellyError)
def main() -> int:
    """Command line."""
    parser = Parser(description=__doc__)
    parser.add_argument("--font", type=path_argument, required=True)
    parser.add_argument("--out", type=path_argument, default=demo_recording())
    args = parser.parse_args()
    refuse_to_overwrite([args.out], [args.font])
    render(arrangement(), args.font, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
