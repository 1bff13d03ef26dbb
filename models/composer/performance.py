"""The composer stage of the box playing on a virtual clock, and measures of long play.

Unlike ``generate``, which asks the generator for bars, this is the whole path to the MIDI port: steering,
plan, look-ahead and safety envelope. The emotion is set by hand (the programme ``hold`` and the knobs).
"""

import math
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.composer import ComposerStage
from firmware_py.runtimes.onnx import OnnxComposer
from firmware_py.settings import Settings
from firmware_py.wiring.composer_models import new_generator
from kelly_edge.config import EmotionSettings, EnvelopeSettings
from kelly_edge.contract import EMOTION_RATE_HZ, HEARD_DTYPE, KNOBS_DTYPE, NOTE_DTYPE, BuiltIn
from kelly_edge.music.envelope import DENSITY_WINDOW_S
from kelly_edge.music.generator import Generator

Change = tuple[float, float, float]
"""From this time (s) on, this valence and arousal."""
TOGETHER_S = 0.035
"""Far above the unevenness of a chord that is not spread (``music.sounding``), below half the shortest step.
Chosen by hand."""
LOOP_BARS = 8
"""Loops are looked for up to this length. Chosen by hand."""


def perform(
    network: OnnxComposer, settings: Settings, seconds: float, changes: Sequence[Change]
) -> NDArray[Any]:
    """Notes (NOTE_DTYPE [n], by onset) of ``seconds`` of play to somebody who plays on and on in C."""
    return perform_with(new_generator(settings, network), settings, seconds, changes)


def perform_with(
    generator: Generator,
    settings: Settings,
    seconds: float,
    changes: Sequence[Change],
    ends_s: float = math.inf,
) -> NDArray[Any]:
    """The same with a ``generator`` made before; the music comes to its end by ``ends_s``."""
    board, clock = memory_board(), VirtualClock()
    stage = ComposerStage(board.ends("composer"), settings, generator, clock)
    stage.ends_s = ends_s
    heard, knobs, note = (np.zeros((), dtype) for dtype in (HEARD_DTYPE, KNOBS_DTYPE, NOTE_DTYPE))
    heard["presence"] = heard["confidence"] = 1.0
    heard["tonic"], heard["mode"] = 0, -1
    knobs["programme"] = BuiltIn.HOLD
    held, ahead = EmotionSettings(), deque(sorted(changes))
    notes = []
    for group in range(round(seconds * EMOTION_RATE_HZ)):
        clock.time_s = group / EMOTION_RATE_HZ
        while ahead and ahead[0][0] <= clock.time_s:
            _, valence, arousal = ahead.popleft()
            knobs["valence"], knobs["arousal"] = valence - held.hold_valence, arousal - held.hold_arousal
        heard["time_s"], heard["group"] = clock.time_s, group
        board.rings["heard"].write(heard)
        board.cells["knobs"].write(knobs)
        stage.step()
        while board.rings["notes"].read(note):
            notes.append(note.copy())
    return np.array(notes, NOTE_DTYPE)


def chords_of(onset_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Numbers of the chords that notes (by onset, s) belong to: one ends where none follows at once."""
    return np.cumsum(np.diff(onset_s, prepend=onset_s[:1]) > TOGETHER_S).astype(np.int64)


def bars_of(notes: NDArray[Any]) -> list[Hashable]:
    """What is struck in every bar that has notes: the pitches of its chords, one after another."""
    bars: list[Hashable] = []
    for number in np.unique(notes["bar"]):
        bar = notes[notes["bar"] == number]
        chords = chords_of(bar["onset_s"])
        bars.append(tuple(frozenset(bar["pitch"][chords == i].tolist()) for i in range(chords[-1] + 1)))
    return bars


def repeated_share(bars: Sequence[Hashable]) -> float:
    """Share of bars that equal one of the ``LOOP_BARS`` bars before."""
    repeated = [bar in bars[max(0, i - LOOP_BARS) : i] for i, bar in enumerate(bars)]
    return float(np.mean(repeated[1:])) if len(bars) > 1 else 0.0


def longest_loop(bars: Sequence[Hashable]) -> int:
    """Most bars in a row that each equal the bar one loop (of 1 to ``LOOP_BARS`` bars) before."""
    longest = 0
    for lag in range(1, LOOP_BARS + 1):
        run = 0
        for before, bar in zip(bars, bars[lag:], strict=False):
            run = run + 1 if before == bar else 0
            longest = max(longest, run)
    return longest


def outside_envelope(notes: NDArray[Any], limits: EnvelopeSettings) -> int:
    """Notes beyond the envelope's pitch, velocity, density or polyphony; 0 is the promise."""
    pitch, onset_s = notes["pitch"].astype(int), notes["onset_s"]
    end_s = onset_s + notes["duration_s"]
    for key in np.unique(pitch):  # a pitch struck again is released first
        places = np.flatnonzero(pitch == key)
        end_s[places[:-1]] = np.minimum(end_s[places[:-1]], onset_s[places[1:]])
    wrong = (
        (pitch < limits.pitch_min) | (pitch > limits.pitch_max) | (notes["velocity"] > limits.velocity_max)
    )
    for i, now_s in enumerate(onset_s):
        before = slice(max(0, i - 100), i + 1)
        recent = np.count_nonzero(onset_s[before] > now_s - DENSITY_WINDOW_S + 1e-9)
        sounding = len(set(pitch[before][end_s[before] > now_s + 1e-6]))
        wrong[i] |= recent > limits.density_max_hz * DENSITY_WINDOW_S or sounding > limits.polyphony_max
    return int(np.count_nonzero(wrong))
