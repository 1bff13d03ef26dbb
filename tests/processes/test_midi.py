"""midi: due order, no hanging note, stale notes dropped, panic."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board.map import ALIVE_DTYPE, PANIC_DTYPE, Board, memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.ports.midi import STALE_S
from firmware_py.processes.midi import COMPOSER_STALLED_S, MidiStage
from firmware_py.processes.panic_watch import GUARDIAN_STALLED_S
from kelly_edge.contract import EVERY_KEY, KEY_DTYPE, NOTE_DTYPE


def note(due_s: float, pitch: int = 60, duration_s: float = 0.5, velocity: int = 80) -> np.ndarray:
    record = np.zeros((), NOTE_DTYPE)
    record["onset_s"] = record["due_s"] = due_s
    record["duration_s"], record["pitch"], record["velocity"] = duration_s, pitch, velocity
    return record


def rig() -> tuple[Board, RecordingMidi, VirtualClock, MidiStage]:
    board, out, clock = memory_board(), RecordingMidi(), VirtualClock()
    return board, out, clock, MidiStage(board.ends("midi"), out, clock)


def run(stage: MidiStage, clock: VirtualClock, until_s: float) -> None:
    while clock.time_s < until_s:
        clock.time_s += 0.005
        stage.step()


times = st.integers(0, 4_000).map(lambda ms: ms / 1_000)
some_notes = st.lists(st.builds(note, times, st.integers(58, 62), st.floats(0.03, 2.0)), max_size=60)


@given(some_notes, times)
def test_every_note_on_has_its_note_off_whenever_it_ends(some: list[np.ndarray], end_s: float) -> None:
    board, out, clock, stage = rig()
    for record in some:
        board.rings["notes"].write(record)
    run(stage, clock, end_s)
    stage.release_all(clock.now_s())
    balance: Counter[int] = Counter()
    for _, status, pitch, _ in out.messages:
        if status & 0xF0 in (0x80, 0x90):
            balance[pitch] += 1 if status & 0xF0 == 0x90 else -1
            assert balance[pitch] in (0, 1)
    assert not any(balance.values())


@given(some_notes)
def test_messages_leave_in_order_of_their_times(some: list[np.ndarray]) -> None:
    board, out, clock, stage = rig()
    for record in some:
        board.rings["notes"].write(record)
    run(stage, clock, 7.0)
    due = [m[0] for m in out.messages]
    assert due == sorted(due)


def test_a_stale_note_is_dropped_and_counted() -> None:
    board, out, clock, stage = rig()
    clock.time_s = 1.0
    board.rings["notes"].write(note(1.0 - STALE_S - 0.01))
    board.rings["notes"].write(note(1.0 - STALE_S / 2, pitch=61))
    stage.step()
    assert [m[2] for m in out.messages] == [61]
    assert stage.counters["n_stale"] == 1


def test_a_pitch_struck_again_is_released_first() -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1, duration_s=5.0))
    board.rings["notes"].write(note(0.5, duration_s=1.0))
    run(stage, clock, 3.0)
    assert [m[1] for m in out.messages] == [0x90, 0x80, 0x90, 0x80]


def test_panic_releases_what_sounds_and_forgets_what_was_to_come() -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1, duration_s=5.0))
    board.rings["notes"].write(note(1.0))
    run(stage, clock, 0.5)
    panic(board)
    run(stage, clock, 3.0)
    silence = [(0xB0 | channel, number) for number in (123, 120) for channel in range(16)]
    assert [(m[1], m[2]) for m in out.messages] == [(0x90, 60), (0x80, 60), *silence]
    assert stage.counters["n_panics"] == 1


def test_panic_reaches_instruments_that_hold_what_nobody_here_knows_of() -> None:
    board, out, clock, stage = rig()
    run(stage, clock, 0.1)
    panic(board)
    run(stage, clock, 0.2)
    assert [(m[1], m[2]) for m in out.messages] == [
        (0xB0 | channel, number) for number in (123, 120) for channel in range(16)
    ]


def test_a_midi_process_that_stood_still_or_is_new_begins_no_note_during_a_panic() -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1))
    board.rings["notes"].write(note(0.95))
    run(stage, clock, 0.05)
    panic(board)
    clock.time_s = 1.0
    stage.step()
    assert not [m for m in out.messages if m[1] & 0xF0 == 0x90]
    board.rings["notes"].write(note(1.1))
    run(MidiStage(board.ends("midi"), out, clock), clock, 2.0)
    assert not [m for m in out.messages if m[1] & 0xF0 == 0x90]
    panic(board, is_on=False)
    board.rings["notes"].write(note(2.5))
    run(stage, clock, 3.0)
    assert [m[0] for m in out.messages if m[1] & 0xF0 == 0x90] == [2.5]


@pytest.mark.parametrize("stalled_s", [GUARDIAN_STALLED_S - 0.05, GUARDIAN_STALLED_S + 0.05])
def test_without_a_guardian_to_hear_of_a_panic_nothing_sounds(stalled_s: float) -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1, duration_s=5.0))
    for n in range(40):
        beat(board, n + 1)
        run(stage, clock, 0.01 * (n + 1))
    run(stage, clock, clock.time_s + stalled_s)
    is_silent = stalled_s > GUARDIAN_STALLED_S
    assert [m[1] for m in out.messages] == ([0x90, 0x80, 0xB0] if is_silent else [0x90])
    beat(board, 41)
    board.rings["notes"].write(note(clock.time_s + 0.01))
    run(stage, clock, clock.time_s + 0.05)
    assert out.messages[-1][1] == 0x90
    assert stage.counters["n_guardian_stalls"] == is_silent and stage.counters["n_panics"] == 0


def panic(board: Board, is_on: bool = True) -> None:
    record = np.zeros((), PANIC_DTYPE)
    record["is_on"] = is_on
    board.cells["panic"].write(record)


def beat(board: Board, n_beats: int) -> None:
    record = np.zeros((), PANIC_DTYPE)
    record["n_beats"] = n_beats
    board.cells["panic"].write(record)


def sign_of_life(board: Board, time_s: float, born_s: float = 0.0) -> None:
    alive = np.zeros((), ALIVE_DTYPE)
    alive["time_s"], alive["born_s"] = time_s, born_s
    board.cells["alive"].write(alive)


def test_a_composer_that_stands_still_is_silence_within_250_ms_until_it_is_back() -> None:
    board, out, clock, stage = rig()
    for n in range(10):
        board.rings["notes"].write(note(0.1 + 0.2 * n, pitch=60 + n, duration_s=5.0))
    sign_of_life(board, 0.0)
    run(stage, clock, 0.24)
    assert [m[1] for m in out.messages] == [0x90, 0x80, 0xB0]
    assert out.messages[1][0] <= COMPOSER_STALLED_S + 0.05
    run(stage, clock, 1.0)
    assert len(out.messages) == 3
    sign_of_life(board, 1.0)
    run(stage, clock, 1.19)
    assert [(m[1], m[2]) for m in out.messages[3:]] == [(0x90, 65)]
    assert stage.counters["n_composer_stalls"] == 1
    assert stage.counters["n_muted"] == 4


def test_a_composer_started_again_finds_none_of_the_notes_of_the_one_before() -> None:
    board, out, clock, stage = rig()
    sign_of_life(board, 0.0)
    board.rings["notes"].write(note(1.0))
    board.rings["notes"].write(note(1.1))
    stage.step()
    sign_of_life(board, 0.1, born_s=0.1)
    run(stage, clock, 0.12)
    board.rings["notes"].write(note(0.2, pitch=72))
    run(stage, clock, 0.3)
    assert [m[2] for m in out.messages if m[1] == 0x90] == [72]
    assert stage.counters["n_forgotten"] == 2


@given(st.integers(0, 40))
def test_as_many_notes_are_counted_stale_as_were(n_stale: int) -> None:
    board, _, clock, stage = rig()
    clock.time_s = 9.0
    for n in range(n_stale):
        board.rings["notes"].write(note(9.0 - STALE_S - 0.1, pitch=n))
    for n in range(5):
        board.rings["notes"].write(note(8.99, pitch=60 + n))
    stage.step()
    assert (stage.counters["n_stale"], stage.counters["n_note_ons"]) == (n_stale, 5)


def test_played_notes_that_control_does_not_take_are_counted() -> None:
    board, _, clock, stage = rig()
    n_held, n_more = 1_024, 37
    for n in range(n_held):
        board.rings["notes"].write(note(0.001 * n, duration_s=0.0005))
    clock.time_s = 0.0
    run(stage, clock, 2.0)
    for n in range(n_more):
        board.rings["notes"].write(note(2.001 + 0.001 * n, duration_s=0.0005))
    run(stage, clock, 3.0)
    assert stage.counters["n_played_dropped"] == n_more


def test_notes_taken_back_end_at_once_and_those_that_wait_never_begin() -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1, duration_s=5.0))
    board.rings["notes"].write(note(0.6, pitch=61))
    run(stage, clock, 0.5)
    back = note(0.5, pitch=EVERY_KEY, velocity=0)
    board.rings["notes"].write(back)
    board.rings["notes"].write(note(0.7, pitch=62, duration_s=0.1))
    run(stage, clock, 2.0)
    assert [(m[1], m[2]) for m in out.messages] == [(0x90, 60), (0x80, 60), (0x90, 62), (0x80, 62)]
    assert out.messages[1][0] < 0.52
    assert stage.counters["n_taken_back"] == 1


def test_the_ears_are_told_of_every_note_that_sounds_and_of_its_end() -> None:
    board, out, clock, stage = rig()
    board.rings["notes"].write(note(0.1, duration_s=0.2))
    board.rings["notes"].write(note(0.2, pitch=61, duration_s=5.0))
    run(stage, clock, 0.5)
    stage.release_all(clock.now_s())
    told, key = [], np.zeros((), KEY_DTYPE)
    while board.rings["own"].read(key):
        told.append((round(float(key["time_s"]), 3), int(key["pitch"]), int(key["velocity"])))
    sent = [(round(m[0], 3), m[2], m[3]) for m in out.messages if m[1] in (0x80, 0x90)]
    assert told == sent and len(told) == 4
