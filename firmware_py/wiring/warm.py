"""What each process runs once before it plays, as compiled functions are loaded at their first call.

``kelly-edge compile`` runs the same, so that a box finds them compiled. A function that is left out here is
compiled at its first call, in the midst of the music: for ten seconds and more on a small board.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from firmware_py.board.map import SOUNDING_DTYPE, memory_board
from firmware_py.devices.files.clock import StreamClock
from firmware_py.settings import Settings
from kelly_edge.contract import (
    EVERY_KEY,
    HEARD_DTYPE,
    HOP_SIZE,
    HOPS_PER_EMOTION_STEP,
    KEY_DTYPE,
    NOTE_DTYPE,
    SAMPLE_RATE_HZ,
    Listen,
)

if TYPE_CHECKING:
    from kelly_edge.emotion.network import EmotionNetwork
    from kelly_edge.timbre.voice import Decoder

N_WARM_NOTES: Final = 16
"""Chosen: as ``live.N_WARM_PERIODS``, so that caches are warm."""
HALF_WET: Final = 0.5
"""By definition: between 0, the microphone alone, and 1, the voice alone, so that they are mixed."""


def compile_functions(settings: Settings) -> None:
    """Run once everything that has compiled functions."""
    from firmware_py.wiring.dsp_models import open_decoders, open_emotion

    warm_dsp(settings, open_emotion(settings), open_decoders(settings), StreamClock(time.monotonic()))
    warm_composer()


def warm_dsp(
    settings: Settings, emotion: "EmotionNetwork", decoders: "Sequence[Decoder]", clock: StreamClock
) -> None:
    """A tone, so that every voice speaks, and is mixed with the microphone; and a keyboard's keys."""
    from firmware_py.processes.control import initial_knobs
    from firmware_py.processes.dsp import DspStage
    from firmware_py.wiring.dsp_models import new_voice

    warm, period = memory_board(), settings.audio.period
    voice = new_voice(settings, decoders)
    stage = DspStage(warm.ends("dsp"), emotion, voice, period, clock, listen=Listen.BOTH, own_delay_s=0.0)
    for pitch, velocity in ((60, 64), (60, 0), (EVERY_KEY, 0)):
        for ring in ("keys", "own"):
            warm.rings[ring].write(np.array((clock.now_s(), pitch, velocity), KEY_DTYPE))
    n_samples = 2 * HOPS_PER_EMOTION_STEP * HOP_SIZE
    tone = 0.3 * np.sin(2.0 * np.pi * 440.0 / SAMPLE_RATE_HZ * np.arange(n_samples))
    knobs = initial_knobs(settings)
    knobs["dry_wet"] = HALF_WET
    for number in range(len(decoders)):
        knobs["voice"] = number
        warm.cells["knobs"].write(knobs)
        for block in tone.astype(np.float32).reshape(-1, period):
            warm.rings["capture"].write(block)
            stage.step()


def warm_composer() -> None:
    """Hear a chord for some beats and ask what comes next; the network needs no warming."""
    from kelly_edge.music.accompanying import Accompanying

    accompanying, heard = Accompanying(), np.zeros((), HEARD_DTYPE)
    heard["chord_belief"] = 1.0 / heard["chord_belief"].size
    heard["beat_s"] = 0.5
    for beat in range(3):
        accompanying.hear(heard, float(beat))
    accompanying.harmonies(start_s=3.0, beat_s=0.5)


def warm_midi() -> None:
    """Play a few notes to nobody."""
    from firmware_py.devices.midi.watched import WatchedMidi
    from firmware_py.devices.offline import RecordingMidi, VirtualClock
    from firmware_py.processes.midi import MidiStage

    board, clock, note = memory_board(), VirtualClock(), np.zeros((), NOTE_DTYPE)
    ends = board.ends("midi")
    sounding = ends.cell_to_write("sounding")
    out = WatchedMidi(RecordingMidi(), sounding, clock, np.zeros((), SOUNDING_DTYPE))
    stage = MidiStage(ends, out, clock)
    for n in range(N_WARM_NOTES):
        note["due_s"], note["duration_s"], note["pitch"], note["velocity"] = 0.1 * n, 0.05, 60 + n, 64
        board.rings["notes"].write(note)
        clock.time_s = 0.1 * n
        stage.step()
        out.settle()
    stage.release_all(clock.time_s)
