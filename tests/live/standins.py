"""The live processes with small stages for ``dsp`` and ``composer``: a copy, and a steady melody.

``standins.py PROCESS RUN_DIR MIDI_OUTPUTS [--set=SETTING ...]`` runs one. With ``KELLY_TEST_HOPS=FILE`` all
are the shipped ones, and ``dsp`` leaves in FILE what it heard. With ``KELLY_TEST_HEARD=1`` the composer is
the shipped one, and ``dsp`` always hears the same sad player.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from firmware_py.board.map import ALIVE_DTYPE, Ends
from firmware_py.board.telemetry import new_counters
from firmware_py.devices.files.clock import StreamClock
from firmware_py.devices.files.config_file import load_settings
from firmware_py.settings import Settings
from firmware_py.wiring import realtime
from firmware_py.wiring.live import BUILDERS, Builder, Part, run_process
from firmware_py.wiring.pacing import every, nothing, wait_for
from kelly_edge.contract import GROUP_S, HEARD_DTYPE, NOTE_DTYPE, Mode

NOTE_EVERY_S = 0.1
NOTE_S = 0.35
STALL_S = 0.05
AHEAD_S = 0.5
"""Longer notes than steps: several sound at any moment."""


class EchoStage:
    """Answers each period with itself."""

    def __init__(self, ends: Ends, period: int) -> None:
        self._capture, self._playback = ends.ring_to_read("capture"), ends.ring_to_write("playback")
        self._telemetry, self._ends = ends.cell_to_write("telemetry_dsp"), ends
        self._block = np.zeros(period, np.float32)
        self._counters = new_counters("dsp")

    def step(self) -> None:
        while self._capture.read(self._block):
            self._counters["n_hops"] += 1
            self._playback.write(self._block)
        self._ends.count_drops(self._counters)
        self._telemetry.write(self._counters)


class HearingStage:
    """An ``EchoStage`` that hears a sad player in A minor, a hop group each ``GROUP_S``."""

    def __init__(self, ends: Ends, period: int, clock: StreamClock) -> None:
        self._echo, self._clock = EchoStage(ends, period), clock
        self._ring, self._cell = ends.ring_to_write("heard"), ends.cell_to_write("heard")
        self._heard = np.zeros((), HEARD_DTYPE)
        for name, value in SAD.items():
            self._heard[name] = value
        self._heard["chroma"][[9, 0, 4]] = 1.0 / 3.0
        self._n_next = int(clock.now_s() / GROUP_S) + 1

    def step(self) -> None:
        self._echo.step()
        while self._n_next * GROUP_S < self._clock.now_s():
            self._heard["group"], self._heard["time_s"] = self._n_next, self._n_next * GROUP_S
            self._ring.write(self._heard)
            self._cell.write(self._heard)
            self._n_next += 1


SAD = {
    "valence": -0.6,
    "arousal": -0.5,
    "confidence": 1.0,
    "presence": 1.0,
    "level_db": -20.0,
    "tonic": 9,
    "mode": Mode.MINOR,
}


class MelodyStage:
    """A note every ``NOTE_EVERY_S`` from the pitches in turn, ``AHEAD_S`` ahead."""

    def __init__(self, ends: Ends, clock: StreamClock) -> None:
        self._alive_cell, self._notes = ends.cell_to_write("alive"), ends.ring_to_write("notes")
        self._clock = clock
        self._note = np.zeros((), NOTE_DTYPE)
        self._alive = np.zeros((), ALIVE_DTYPE)
        self._alive["born_s"] = clock.now_s()
        self._n_next = int((clock.now_s() + AHEAD_S) / NOTE_EVERY_S)

    def step(self) -> None:
        note = self._note
        self._alive["time_s"] = self._clock.now_s()
        self._alive_cell.write(self._alive)
        while self._n_next * NOTE_EVERY_S < self._clock.now_s() + AHEAD_S:
            note["onset_s"] = note["due_s"] = self._n_next * NOTE_EVERY_S
            note["duration_s"] = NOTE_S
            note["pitch"], note["velocity"] = 48 + self._n_next % 24, 80
            self._notes.write(note)
            self._n_next += 1


def build_echo(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    period = settings.audio.period
    return Part(EchoStage(ends, period), wait_for(ends.ring_to_read("capture"), 0.1), 0.005, nothing)


def build_melody(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    return Part(MelodyStage(ends, clock), every(0.02), 0.02, nothing)


def build_hearing(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    stage = HearingStage(ends, settings.audio.period, clock)
    return Part(stage, wait_for(ends.ring_to_read("capture"), 0.1), 0.005, nothing)


def build_taped_dsp(settings: Settings, ends: Ends, clock: StreamClock) -> Part:
    """The shipped one; at its end the hops it took and when it had heard each hop group are saved."""
    from firmware_py.processes import dsp

    hops: list[np.ndarray] = []
    group_s: list[float] = []

    class TapedDsp(dsp.DspStage):
        def _answer_hop(self) -> None:
            hops.append(self._hop.copy())
            super()._answer_hop()

        def _answer_group(self) -> None:
            super()._answer_group()
            group_s.append(float(self.heard["time_s"]))

    dsp.DspStage = TapedDsp  # type: ignore[misc]
    part = BUILDERS["dsp"](settings, ends, clock)
    # What it warmed up with.
    hops.clear()
    group_s.clear()
    return replace(part, close=lambda: np.savez(os.environ["KELLY_TEST_HOPS"], hops=hops, group_s=group_s))


TAPED: dict[str, Builder] = {**BUILDERS, "dsp": build_taped_dsp}
STANDINS: dict[str, Builder] = {**BUILDERS, "dsp": build_echo, "composer": build_melody}


HEARING: dict[str, Builder] = {**BUILDERS, "dsp": build_hearing}


def builders() -> dict[str, Builder]:
    """As the environment says."""
    if os.environ.get("KELLY_TEST_HOPS"):
        return TAPED
    return HEARING if os.environ.get("KELLY_TEST_HEARD") else STANDINS


def settings_for(run_dir: str, midi_output: str, *overrides: str) -> Settings:
    given = load_settings(None, [text.removeprefix("--set=") for text in overrides])
    return replace(
        given,
        audio=replace(given.audio, card="kelly"),
        midi=replace(
            given.midi,
            outputs=tuple(midi_output.split(",")),
            inputs=tuple(os.environ.get("KELLY_TEST_INPUTS", "*").split(",")),
            follow_clock="KELLY_TEST_CLOCK" in os.environ,
        ),
        runtime=replace(given.runtime, run_dir=run_dir),
        # Nobody is heard here who would begin one.
        session=replace(given.session, begin=os.environ.get("KELLY_TEST_BEGIN", "start")),
    )


def command(midi_output: str, *overrides: str) -> Callable[[str, str], list[str]]:
    return lambda process, run_dir: [sys.executable, __file__, process, run_dir, midi_output, *overrides]


def stall(*_: object) -> None:
    """On SIGUSR1: the main thread stands still, as behind a long page fault; JACK's own thread goes on."""
    time.sleep(STALL_S)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, stall)
    if os.environ.get("KELLY_TEST_ORDINARY"):
        realtime.POLICIES = dict.fromkeys(realtime.POLICIES, realtime.Policy())
    if sys.argv[1] == "run":
        from firmware_py.commands.run import Supervisor

        os._exit(Supervisor(settings_for(*sys.argv[2:]), command(*sys.argv[3:])).run())
    os._exit(run_process(sys.argv[1], settings_for(*sys.argv[2:]), builders()))
