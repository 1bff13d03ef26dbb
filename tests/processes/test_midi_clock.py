"""MIDI clock: 24 pulses per quarter note on the committed bars, started and stopped as receivers expect."""

import numpy as np
import pytest

from firmware_py.board.map import BAR_DTYPE, PANIC_DTYPE, memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.processes.midi import MidiStage
from firmware_py.processes.midi_clock import (
    START,
    START_AHEAD_S,
    STOP,
    STOP_AFTER_S,
    TIMING_CLOCK,
    ClockedMidi,
    MidiClock,
)
from kelly_edge.contract import NOTE_DTYPE

BEAT_S = 0.5


class Ticks:
    """The bytes sent, with their times."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.sent: list[tuple[float, int]] = []

    def send_realtime(self, status: int) -> None:
        self.sent.append((self._clock.time_s, status))

    def of(self, status: int) -> list[float]:
        return [time_s for time_s, sent in self.sent if sent == status]


class Rig:
    """A clock to run by hand, to the exact moment it asks for."""

    def __init__(self, latency_s: float = 0.0) -> None:
        self.board = memory_board()
        self.time = VirtualClock()
        self.ticks = Ticks(self.time)
        self.clock = MidiClock(self.board.rings["bars"], self.ticks, self.time, latency_s)
        self._n_bars = 0

    def bar(self, start_s: float, beat_s: float = BEAT_S) -> None:
        self._n_bars += 1
        for beat in range(4):
            record = (start_s + beat * beat_s, beat_s, 4, self._n_bars, beat, -1, -1)
            self.board.rings["bars"].write(np.array(record, BAR_DTYPE))

    def run_until(self, end_s: float) -> None:
        self.clock.step()
        while self.clock.next_due_s() <= end_s:
            self.time.time_s = max(self.time.time_s, self.clock.next_due_s())
            self.clock.step()
        self.time.time_s = end_s


def test_a_bar_is_start_and_then_a_pulse_every_24th_of_a_beat() -> None:
    rig = Rig()
    rig.bar(1.0)
    rig.run_until(2.999)
    assert rig.ticks.sent[0] == (1.0 - START_AHEAD_S, START)
    np.testing.assert_allclose(rig.ticks.of(TIMING_CLOCK), 1.0 + np.arange(96) * BEAT_S / 24, atol=1e-9)


def test_the_pulses_follow_a_changing_tempo_without_a_gap_and_without_drift() -> None:
    rig, start_s, wanted = Rig(), 1.0, []
    for n in range(200):
        beat_s = 60.0 / (60.0 + n % 90)
        rig.bar(start_s, beat_s)
        wanted += [start_s + k * beat_s / 24 for k in range(96)]
        rig.run_until(start_s)
        start_s += 4 * beat_s
    rig.run_until(start_s - 1e-6)
    np.testing.assert_allclose(rig.ticks.of(TIMING_CLOCK), wanted, atol=1e-7)
    assert len(rig.ticks.of(START)) == 1
    assert rig.ticks.of(STOP) == []


def test_it_is_sent_earlier_by_the_instrument_s_latency() -> None:
    rig = Rig(latency_s=0.03)
    rig.bar(1.0)
    rig.run_until(1.0)
    assert rig.ticks.of(TIMING_CLOCK)[0] == pytest.approx(0.97)


def test_it_stops_when_no_bar_follows_and_starts_with_the_next() -> None:
    rig = Rig()
    rig.bar(1.0)
    rig.run_until(5.0)
    (stopped_s,) = rig.ticks.of(STOP)
    assert 3.0 < stopped_s < 3.0 + STOP_AFTER_S
    rig.bar(6.0)
    rig.run_until(6.5)
    assert rig.ticks.of(START) == [1.0 - START_AHEAD_S, 6.0 - START_AHEAD_S]


def test_a_stall_is_no_burst_but_a_stop_and_a_start_at_the_bar_line() -> None:
    rig = Rig()
    rig.bar(1.0)
    rig.run_until(1.5)
    rig.bar(3.0)
    rig.time.time_s = 2.2
    n_before = len(rig.ticks.sent)
    rig.clock.step()
    assert [status for _, status in rig.ticks.sent[n_before:]] == [STOP]
    rig.run_until(3.0)
    assert rig.ticks.of(START)[-1] == pytest.approx(3.0 - START_AHEAD_S)
    assert rig.clock.n_skipped + rig.clock.n_pulses == 96 + 1


def test_old_bars_found_by_a_clock_that_was_started_again_are_passed_over() -> None:
    rig = Rig()
    rig.time.time_s = 10.0
    rig.bar(1.0)
    rig.bar(3.0)
    rig.bar(11.0)
    rig.run_until(11.0)
    assert [status for _, status in rig.ticks.sent] == [START, TIMING_CLOCK]


def test_stopping_is_said_once_and_only_where_it_ran() -> None:
    rig = Rig()
    rig.clock.stop()
    assert rig.ticks.sent == []
    rig.bar(1.0)
    rig.run_until(1.3)
    rig.clock.stop()
    rig.clock.stop()
    assert len(rig.ticks.of(STOP)) == 1
    assert rig.clock.next_due_s() == float("inf")


def test_notes_and_pulses_share_one_wait_and_one_end() -> None:
    rig = Rig()
    out = RecordingMidi()
    notes = MidiStage(rig.board.ends("midi"), out, rig.time)
    stage = ClockedMidi(notes, rig.clock)
    rig.bar(1.0)
    note = np.zeros((), NOTE_DTYPE)
    note["due_s"] = note["onset_s"] = 1.25
    note["duration_s"], note["pitch"], note["velocity"] = 5.0, 60, 80
    rig.board.rings["notes"].write(note)
    stage.step()
    while stage.next_due_s() <= 1.3:
        rig.time.time_s = stage.next_due_s()
        stage.step()
    assert [(due_s, status) for due_s, status, _, _ in out.messages] == [(1.25, 0x90)]
    assert len(rig.ticks.of(TIMING_CLOCK)) == 15 == notes.counters["n_pulses"]
    stage.release_all(1.3)
    assert out.messages[-2][1:3] == (0x80, 60)
    assert rig.ticks.sent[-1][1] == STOP


def test_a_panic_stops_the_receiver_and_after_it_a_whole_bar_starts_it_again() -> None:
    rig, out = Rig(), RecordingMidi()
    stage = ClockedMidi(MidiStage(rig.board.ends("midi"), out, rig.time), rig.clock)
    panic = np.zeros((), PANIC_DTYPE)
    for n in range(4):
        rig.bar(1.0 + 2.0 * n)

    def run_until(end_s: float) -> None:
        while rig.time.time_s < end_s:
            rig.time.time_s = min(end_s, rig.time.time_s + 0.001)
            stage.step()

    run_until(1.7)
    for is_on, until_s in ((True, 4.0), (False, 8.995)):
        panic["is_on"] = is_on
        rig.board.cells["panic"].write(panic)
        run_until(until_s)
    assert rig.ticks.of(STOP) == [pytest.approx(1.701)]
    assert rig.ticks.of(START) == [pytest.approx(at, abs=2 * START_AHEAD_S) for at in (1.0, 5.0)]
    pulses = np.array(rig.ticks.of(TIMING_CLOCK))
    assert not np.any((pulses > 1.701) & (pulses < 5.0 - START_AHEAD_S))
    assert np.sum(pulses > 4.0) == 2 * 96
    assert stage.counters["n_pulses_skipped"] == 0
