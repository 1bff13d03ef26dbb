"""A MIDI keyboard's messages become what sounds: pedals, releases, and keyboards that go."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board.map import KEYBOARD_DTYPE, memory_board
from firmware_py.commands.learn import Chooser
from firmware_py.devices.midi.inputs import ChannelMessages
from firmware_py.devices.offline import VirtualClock
from firmware_py.ports.learned import Learned
from firmware_py.processes.feedback import RETURNED, FeedbackGuard
from firmware_py.processes.keyboard import LATEST_S, Keyboard
from firmware_py.processes.panic import PanicController
from kelly_edge.contract import EVERY_KEY, KEY_DTYPE

SUSTAIN, SOSTENUTO, ALL_SOUND_OFF, RESET, ALL_NOTES_OFF, MONO = 64, 66, 120, 121, 123, 126


class Rig:
    """A keyboard, and who reads what sounds."""

    def __init__(self) -> None:
        self.board, self.clock = memory_board(), VirtualClock(1.0)
        self.keyboard = Keyboard(self.board.ends("control"), self.clock)
        self.keys = self.board.ends("dsp").ring_to_read("keys")
        self.sounding: set[int] = set()
        self.read()

    def play(self, *message: int, port: str = "piano", age_s: float = 0.0) -> None:
        self.clock.time_s += 0.01
        self.keyboard.hear(port, bytes(message), age_s)

    def read(self) -> list[tuple[float, int, int]]:
        """The records since the last call: time, pitch, velocity."""
        key, rows = np.zeros((), KEY_DTYPE), []
        while self.keys.read(key):
            rows.append((float(key["time_s"]), int(key["pitch"]), int(key["velocity"])))
            if int(key["pitch"]) == EVERY_KEY:
                self.sounding.clear()
            elif key["velocity"]:
                self.sounding.add(int(key["pitch"]))
            else:
                self.sounding.discard(int(key["pitch"]))
        return rows

    def heard(self) -> list[tuple[int, int]]:
        return [row[1:] for row in self.read()]


def test_a_note_on_of_velocity_0_and_running_status_end_a_note() -> None:
    rig, parser = Rig(), ChannelMessages()
    for message in parser.feed(bytes((0x90, 60, 80, 64, 70, 60, 0, 64, 0))):
        rig.play(*message)
    assert rig.heard() == [(60, 80), (64, 70), (60, 0), (64, 0)]


def test_a_message_is_dated_when_it_came_and_never_absurdly() -> None:
    rig = Rig()
    rig.play(0x90, 60, 80, age_s=0.05)
    rig.play(0x90, 62, 80, age_s=-1.0)
    rig.play(0x90, 64, 80, age_s=1e9)
    assert [row[0] for row in rig.read()] == pytest.approx([0.96, 1.02, 1.03 - LATEST_S])


def test_the_pedal_holds_what_is_released_until_it_is_lifted() -> None:
    rig = Rig()
    rig.play(0x90, 60, 80)
    rig.play(0xB0, SUSTAIN, 127)
    rig.play(0x90, 64, 80)
    rig.play(0x80, 60, 0)
    rig.play(0x80, 64, 0)
    rig.play(0x90, 67, 80)
    assert rig.heard() == [(60, 80), (64, 80), (67, 80)]
    rig.play(0xB0, SUSTAIN, 63)
    # The one still pressed sounds on.
    assert rig.heard() == [(60, 0), (64, 0)]
    rig.play(0x80, 67, 0)
    assert rig.heard() == [(67, 0)]


def test_sostenuto_holds_only_what_was_pressed_when_it_went_down() -> None:
    rig = Rig()
    rig.play(0x90, 48, 80)
    rig.play(0xB0, SOSTENUTO, 127)
    rig.play(0x90, 60, 80)
    for pitch in (48, 60):
        rig.play(0x80, pitch, 0)
    assert rig.heard() == [(48, 80), (60, 80), (60, 0)]
    rig.play(0xB0, SOSTENUTO, 0)
    assert rig.heard() == [(48, 0)]


@pytest.mark.parametrize(
    ("number", "ends"), [(ALL_NOTES_OFF, set()), (MONO, set()), (ALL_SOUND_OFF, {60, 64}), (RESET, {64})]
)
def test_pedals_outlast_all_notes_off_but_not_all_sound_off(number: int, ends: set[int]) -> None:
    rig = Rig()
    rig.play(0xB0, SUSTAIN, 127)
    rig.play(0x90, 64, 80)
    rig.play(0x80, 64, 0)
    rig.play(0x90, 60, 80)
    rig.play(0xB0, number, 0)
    assert {pitch for pitch, velocity in rig.heard() if not velocity} == ends
    rig.play(0xB0, SUSTAIN, 0)
    rig.play(0xB0, ALL_NOTES_OFF, 0)
    rig.read()
    assert rig.sounding == set()


def test_a_keyboard_that_goes_takes_its_keys_and_pedals_but_nobody_else_s() -> None:
    rig, record = Rig(), np.zeros((), KEYBOARD_DTYPE)
    rig.play(0xB0, SUSTAIN, 127)
    for port, pitch in (("piano", 60), ("piano", 64), ("organ", 64)):
        rig.play(0x90, pitch, 80, port=port)
    rig.play(0x80, 60, 0)
    cell = rig.board.cells["keyboard"]
    assert cell.read(record) and record["name"].item() == b"organ" and record["n_notes"] == 3
    rig.read()
    rig.keyboard.forget("piano")
    assert rig.heard() == [(60, 0)]
    assert cell.read(record) and record["name"].item() == b"organ"
    rig.keyboard.forget("organ")
    assert rig.heard() == [(64, 0)]
    assert cell.read(record) and record["name"].item() == b""
    # Its pedal is forgotten too.
    rig.play(0x90, 60, 80)
    rig.play(0x80, 60, 0)
    assert rig.heard() == [(60, 80), (60, 0)]


def test_drums_and_what_is_no_note_are_passed_over() -> None:
    rig = Rig()
    for message in (
        (0x99, 36, 100),
        (0xE0, 0, 64),
        (0xC0, 5),
        (0x90, 200, 1),
        (0x90, 60),
        (0xF8,),
        (0xA0, 60, 9),
    ):
        rig.play(*message)
    assert rig.heard() == []


def test_keys_of_a_control_process_before_are_released() -> None:
    board = memory_board()
    Keyboard(board.ends("control"), VirtualClock())
    key = np.zeros((), KEY_DTYPE)
    assert board.rings["keys"].read(key)
    assert (int(key["pitch"]), int(key["velocity"])) == (EVERY_KEY, 0)


MESSAGES = st.one_of(
    st.tuples(st.sampled_from((0x80, 0x90, 0x91)), st.integers(58, 62), st.sampled_from((0, 90))),
    st.tuples(
        st.sampled_from((0xB0, 0xB1)),
        st.sampled_from((SUSTAIN, SOSTENUTO, ALL_SOUND_OFF, RESET, ALL_NOTES_OFF)),
        st.sampled_from((0, 127)),
    ),
)


@given(st.lists(st.tuples(st.sampled_from(("a", "b")), MESSAGES), max_size=60))
def test_nothing_sounds_on_when_pedals_are_up_and_keys_released(
    played: list[tuple[str, tuple[int, ...]]],
) -> None:
    rig = Rig()
    for port, message in played:
        rig.play(*message, port=port)
    for port in ("a", "b"):
        for channel in (0, 1):
            rig.play(0xB0 | channel, RESET, 0, port=port)
            rig.play(0xB0 | channel, ALL_NOTES_OFF, 0, port=port)
    rig.read()
    assert rig.sounding == set()


def test_a_port_that_returns_what_the_box_plays_is_not_heard_there_and_said_once() -> None:
    guard, told = FeedbackGuard(hears_keyboard=True), list[str]()
    rig = Rig()
    rig.keyboard = Keyboard(rig.board.ends("control"), rig.clock, guard.returns, told.append)
    rig.read()
    for number in range(20):
        guard.played(0, 60 + number, rig.clock.time_s)
        # The player's own notes are on another channel; now and then they strike the box's key on its own.
        for message in ((0x90, 60 + number, 80), (0x91, 60 + number, 80)):
            rig.play(*message)
            guard.admits("piano", bytes(message), rig.clock.time_s)
        if number % 3 == 0:
            guard.admits("organ", bytes((0x90, 60 + number, 90)), rig.clock.time_s)
    assert sum(1 for row in rig.heard()) == 20 + RETURNED
    assert len(told) == 1 and "thru" in told[0] and "channel 1 " in told[0]
    assert not guard.returns("organ", 0)
    # Switched off, it is heard again soon.
    for number in range(3):
        guard.played(0, 90 + number, rig.clock.time_s)
    rig.play(0x90, 40, 80)
    assert rig.heard() == [(40, 80)]


def test_pedals_turn_no_knob_while_a_keyboard_is_listened_to() -> None:
    guard, before = FeedbackGuard(hears_keyboard=True), FeedbackGuard()
    for number in (64, 66, 67):
        assert not guard.admits("piano", bytes((0xB0, number, 127)), 0.0)
        assert before.admits("piano", bytes((0xB0, number, 127)), 0.0)
    assert guard.admits("piano", bytes((0xB0, 21, 127)), 0.0)


@pytest.mark.parametrize("hears_keyboard", [False, True])
def test_a_pedal_is_learned_only_where_no_keyboard_is_listened_to(hears_keyboard: bool) -> None:
    chooser = Chooser("panic", hears_keyboard)
    for time_s, value in ((0.0, 127), (0.3, 0), (0.6, 127), (0.9, 0)):
        chooser.hear("piano", bytes((0xB0, SUSTAIN, value)), time_s)
    assert (chooser.chosen(5.0, is_over=True) is None) is hears_keyboard
    music = [line for line in chooser.objections(5.0, is_over=True) if "music" in line]
    assert len(music) == hears_keyboard


def test_the_sustain_pedal_of_a_keyboard_is_no_panic() -> None:
    heard = [("piano", bytes((0xB0, SUSTAIN, 127)))]
    learned = [Learned("panic", "piano", 0, SUSTAIN)]

    class Inputs:
        def scan(self) -> None:
            pass

        def receive(self) -> list[tuple[str, bytes]]:
            return list(heard)

    for hears_keyboard, n_asked in ((False, 1), (True, 0)):
        controller = PanicController(Inputs(), lambda: learned, lambda: 1.0, hears_keyboard)  # type: ignore[arg-type]
        assert controller.n_asked() == n_asked
