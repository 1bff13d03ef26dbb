"""Sustain pedal and pitch bend from the inputs to the instruments, and MPE members' channels kept free."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board.map import HAND_DTYPE, PANIC_DTYPE, SOUNDING_DTYPE, Board, memory_board
from firmware_py.devices.midi.watched import WatchedMidi, silence
from firmware_py.devices.offline import RecordingMidi, VirtualClock
from firmware_py.ports.midi import BEND_CENTRE, N_CHANNELS
from firmware_py.processes.midi import MidiStage
from firmware_py.processes.pass_on import PassOn, Zones
from kelly_edge.contract import KNOBS_DTYPE, NOTE_DTYPE

PEDAL = 64


class Rig:
    """Keyboards at one end, an instrument at the other."""

    def __init__(self, channel: int = 0) -> None:
        self.board: Board = memory_board()
        self.clock, self.out = VirtualClock(), RecordingMidi()
        self.channel = channel
        self.hand = PassOn(self.board.ends("control").cell_to_write("hand"), channel, self.clock)
        self.midi = MidiStage(self.board.ends("midi"), self.out, self.clock)

    def play(self, *message: int, port: str = "keys") -> None:
        """A message comes in, and is passed on."""
        self.clock.time_s += 0.01
        self.hand.hear(port, bytes(message))
        self.midi.step()

    def strike(self, pitch: int, duration_s: float = 0.5) -> None:
        """A note of the box's own."""
        note = np.zeros((), NOTE_DTYPE)
        note["due_s"] = note["onset_s"] = self.clock.time_s
        note["pitch"], note["velocity"], note["duration_s"] = pitch, 80, duration_s
        note["channel"] = self.channel
        self.board.rings["notes"].write(note)
        self.midi.step()

    def sent(self) -> list[tuple[int, int, int]]:
        """Messages since it was last asked."""
        messages = [message[1:] for message in self.out.messages]
        self.out.messages.clear()
        return messages

    def panic(self, is_on: bool) -> None:
        """The guardian sets it, or somebody resumes."""
        record = np.zeros((), PANIC_DTYPE)
        record["is_on"], record["n_beats"] = is_on, 1 + is_on
        self.board.cells["panic"].write(record)
        self.midi.step()


def mpe(n_members: int, master: int = 0) -> Iterator[tuple[int, int, int]]:
    """An MPE configuration message."""
    for number, value in ((101, 0), (100, 6), (6, n_members)):
        yield 0xB0 | master, number, value


@pytest.mark.parametrize("channel", [0, 9, 15])
def test_pedal_and_bend_reach_the_instrument_on_the_boxs_channel(channel: int) -> None:
    rig = Rig(channel)
    rig.play(0xB3, PEDAL, 127)
    rig.play(0xE3, 0x12, 0x34)
    rig.play(0xB3, PEDAL, 50)
    rig.play(0xB3, PEDAL, 0)
    rig.play(0xE3, 0x00, 0x40)
    assert rig.sent() == [
        (0xB0 | channel, PEDAL, 127),
        (0xE0 | channel, 0x12, 0x34),
        (0xB0 | channel, PEDAL, 50),
        (0xB0 | channel, PEDAL, 0),
        (0xE0 | channel, 0x00, 0x40),
    ]


@pytest.mark.parametrize(
    "message", [(0xB0, 1, 90), (0x90, 60, 80), (0xD0, 5), (0xB0, PEDAL), (0xB0, PEDAL, 200), (0xF8,), ()]
)
def test_nothing_else_is_passed_on(message: tuple[int, ...]) -> None:
    rig = Rig()
    rig.play(*message)
    assert rig.sent() == []


@pytest.mark.parametrize("how", ["panic", "mute", "release", "finish", "unplugged"])
def test_whatever_silences_lets_go_of_pedal_and_bend_first(how: str) -> None:
    rig = Rig()
    rig.play(0xB0, PEDAL, 127)
    rig.play(0xE0, 0, 0x7F)
    rig.strike(60)
    rig.sent()
    if how == "panic":
        rig.panic(True)
    elif how == "mute":
        knobs = np.zeros((), KNOBS_DTYPE)
        knobs["mute"] = 1
        rig.board.cells["knobs"].write(knobs)
        rig.midi.step()
    elif how == "release":
        rig.midi.release_all(rig.clock.now_s())
    elif how == "finish":
        rig.midi.finish()
    else:
        rig.hand.forget("keys")
        rig.midi.step()
    sent = rig.sent()
    assert sent[:2] == [(0xB0, PEDAL, 0), (0xE0, 0x00, 0x40)]
    if how != "unplugged":
        assert (0x80, 60, 0) in sent[2:]


def test_after_a_panic_the_foot_that_is_still_down_counts_again() -> None:
    rig = Rig()
    rig.play(0xB0, PEDAL, 127)
    rig.panic(True)
    rig.sent()
    rig.play(0xB0, PEDAL, 126)
    assert rig.sent() == []
    rig.panic(False)
    assert rig.sent() == [(0xB0, PEDAL, 126)]


def test_what_an_instrument_returns_is_not_passed_on_again() -> None:
    rig = Rig()
    for step in range(200):
        rig.play(0xE0, step % 128, 0x40 + step % 7)
        returned = [message for message in rig.sent() if message[0] == 0xE0]
        for message in returned:
            rig.play(*message, port="loop")
    rig.play(0xE0, 0, 0x40)
    assert rig.sent()[-1] == (0xE0, 0, 0x40)
    for value in (7, 0x40):
        rig.play(0xE0, 0, value, port="loop")
    assert rig.sent() == []
    rig.clock.time_s += 1.0
    rig.play(0xE0, 0, 0x41, port="another hand")
    assert rig.sent() == [(0xE0, 0, 0x41)]


# --- MPE ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("n_members", "master", "channel", "expected"),
    [
        (15, 0, 3, 0), (14, 0, 3, 15), (5, 0, 0, 0), (5, 0, 5, 6), (5, 0, 6, 6),
        (5, 15, 12, 0), (15, 15, 2, 15), (0, 0, 3, 3), (16, 0, 3, 3),
    ],
)  # fmt: skip
def test_the_boxs_notes_leave_members_alone(n_members: int, master: int, channel: int, expected: int) -> None:
    rig = Rig(channel)
    for message in mpe(n_members, master):
        rig.play(*message)
    rig.strike(60)
    assert rig.sent() == [(0x90 | expected, 60, 80)]


def test_a_note_ends_on_the_channel_it_began_on() -> None:
    rig = Rig(3)
    rig.strike(60)
    for message in mpe(15):
        rig.play(*message)
    rig.clock.time_s += 1.0
    rig.midi.step()
    assert rig.sent() == [(0x93, 60, 80), (0x83, 60, 0)]


def test_a_bend_of_one_note_is_not_everybodys() -> None:
    rig = Rig()
    for message in mpe(4):
        rig.play(*message)
    rig.play(0xE2, 0, 0x60)
    rig.play(0xB2, PEDAL, 127)
    assert rig.sent() == []
    # The master's are the whole zone's; above the zone is an instrument as any other.
    rig.play(0xB0, PEDAL, 127)
    rig.play(0xE5, 0, 0x60)
    assert rig.sent() == [(0xB0, PEDAL, 127), (0xE0, 0, 0x60)]
    rig.hand.forget("keys")
    rig.midi.step()
    rig.clock.time_s += 1.0
    rig.play(0xE2, 0, 0x61)
    assert rig.sent()[-1] == (0xE0, 0, 0x61)


@given(st.lists(st.tuples(st.sampled_from([0, 15]), st.integers(0, 20)), max_size=8))
def test_zones_never_overlap(messages: list[tuple[int, int]]) -> None:
    zones = Zones()
    for master, n_members in messages:
        zones.configure(master, n_members)
    lower, upper = zones._n_members[0], zones._n_members[15]
    assert lower + upper <= 14 or 0 in (lower, upper)
    assert len(zones.members) == lower + upper <= N_CHANNELS - 1
    assert zones.masters.isdisjoint(zones.members)


# --- the guardian, should midi die --------------------------------------------------------
@pytest.mark.parametrize("message", [(0xB3, PEDAL, 127), (0xE3, 1, 0x50)])
def test_what_midi_held_when_it_died_is_let_go(message: tuple[int, int, int]) -> None:
    board = memory_board()
    wire = RecordingMidi()
    wire.is_behind = False  # type: ignore[attr-defined]
    out = WatchedMidi(
        wire,  # type: ignore[arg-type]
        board.ends("midi").cell_to_write("sounding"),
        VirtualClock(),
        np.zeros((), SOUNDING_DTYPE),
    )
    out.send(0.0, *message)
    left, after = np.zeros((), SOUNDING_DTYPE), RecordingMidi()
    assert board.ends("guardian").cell_to_read("sounding").read(left)
    assert silence(after, left) == 0
    assert [m[1:] for m in after.messages] == [(0xB3, PEDAL, 0), (0xE3, 0, BEND_CENTRE >> 7)]


def test_without_the_setting_the_board_says_nothing_and_nothing_is_sent() -> None:
    board, out = memory_board(), RecordingMidi()
    assert not board.ends("midi").cell_to_read("hand").read(np.zeros((), HAND_DTYPE))
    MidiStage(board.ends("midi"), out, VirtualClock()).step()
    assert out.messages == []
