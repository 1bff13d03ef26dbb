"""midi: due order, no hanging note, stale notes dropped, panic."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board import Board, memory_board
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.processes.midi import STALE_S, MidiStage
from kelly_edge.contract import KNOBS_DTYPE, NOTE_DTYPE


def note(due_s: float, pitch: int = 60, duration_s: float = 0.5, velocity: int = 80) -> np.ndarray:
    record = np.zeros((), NOTE_DTYPE)
    record["onset_s"] = record["due_s"] = due_s
    record["duration_s"], record["pitch"], record["velocity"] = duration_s, pitch, velocity
    return record


def rig() -> tuple[Board, RecordingMidi, VirtualClock, MidiStage]:
    board, out, clock = memory_board(), RecordingMidi(), VirtualClock()
    return board, out, clock, MidiStage(board, out, clock)


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
    knobs = np.zeros((), KNOBS_DTYPE)
    knobs["n_panics"] = 1
    board.cells["knobs"].write(knobs)
    run(stage, clock, 3.0)
    assert [(m[1], m[2]) for m in out.messages] == [(0x90, 60), (0x80, 60), (0xB0, 123)]
    assert stage.counters["n_panics"] == 1
