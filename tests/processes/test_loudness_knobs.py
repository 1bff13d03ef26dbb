"""The therapist's loudness: mute is silence at once, volume turns notes and voice down without a click."""

from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.processes.dsp import GAIN_STEP, DspStage
from firmware_py.processes.midi import MidiStage
from kelly_edge.contract import (
    HOP_SIZE,
    HOPS_PER_EMOTION_STEP,
    KNOBS_DTYPE,
    N_EMOTION,
    NOTE_DTYPE,
)

LEVEL = 0.5
PERIOD = 128


def test_mute_releases_what_sounds_and_lets_nothing_begin_until_it_is_off() -> None:
    board, out, clock = memory_board(), RecordingMidi(), VirtualClock()
    stage = MidiStage(board.ends("midi"), out, clock)
    knobs, note = np.zeros((), KNOBS_DTYPE), np.zeros((), NOTE_DTYPE)
    for n in range(40):
        note["due_s"], note["duration_s"], note["pitch"] = 0.1 * n + 0.02, 1.0, 40 + n
        note["velocity"] = 80
        board.rings["notes"].write(note)

    def run(until_s: float) -> list[tuple[float, int, int, int]]:
        n_before = len(out.messages)
        while clock.time_s < until_s - 1e-9:
            clock.time_s += 0.005
            stage.step()
        return out.messages[n_before:]

    assert sum(status & 0xF0 == 0x90 for _, status, *_ in run(1.0)) == 10
    knobs["mute"] = 1
    board.cells["knobs"].write(knobs)
    muted = run(1.01)
    assert sum(status & 0xF0 == 0x80 for _, status, *_ in muted) == 10
    assert not any(status & 0xF0 == 0x90 for _, status, *_ in run(2.0))
    assert stage.counters["n_muted"] == 10
    knobs["mute"] = 0
    board.cells["knobs"].write(knobs)
    assert sum(status & 0xF0 == 0x90 for _, status, *_ in run(2.5)) == 5


class Steady:
    """A voice that says the same all the time."""

    def process(self, hop: Any, out: np.ndarray, *heard: float) -> None:
        out[:] = LEVEL


class Indifferent:
    """An emotion network that feels nothing."""

    def reset(self) -> None:
        """Nothing felt before."""

    def step(self, features: Any) -> np.ndarray:
        return np.zeros(N_EMOTION, np.float32)


@pytest.mark.parametrize(
    ("knob", "value", "level"),
    [("volume_db", -20.0, 0.1 * LEVEL), ("mute", 1, 0.0), ("volume_db", 0.0, LEVEL)],
)
def test_the_voice_goes_to_its_volume_in_steps_and_stays_there(knob: str, value: float, level: float) -> None:
    board, clock = memory_board(), VirtualClock()
    network, voice = Indifferent(), Steady()
    stage = DspStage(board.ends("dsp"), network, voice, PERIOD, clock)  # type: ignore[arg-type]
    knobs, block = np.zeros((), KNOBS_DTYPE), np.zeros(PERIOD, np.float32)
    knobs[knob] = value
    board.cells["knobs"].write(knobs)
    said = []
    for _ in range(3 * HOPS_PER_EMOTION_STEP * HOP_SIZE // PERIOD):
        board.rings["capture"].write(np.zeros(PERIOD, np.float32))
        stage.step()
        while board.rings["playback"].read(block):
            said.append(block.copy())
    samples = np.concatenate(said)
    assert np.abs(np.diff(samples)).max() <= GAIN_STEP * LEVEL / HOP_SIZE + 1e-6
    assert samples[-HOP_SIZE:] == pytest.approx(np.full(HOP_SIZE, level), abs=1e-6)
