"""MIDI controllers: learned ones turn their knobs, and what the box sends is never taken for a hand."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_py.board.map import memory_board
from firmware_py.commands.learn import Chooser, listen
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.ports.learned import SWITCH, Learned
from firmware_py.ports.midi import SCAN_EVERY_S
from firmware_py.processes.control import ControlStage
from firmware_py.processes.controllers import CONTROLS, ControllerStage, turned
from firmware_py.processes.feedback import LOOP_S, WINDOW_S, FeedbackGuard
from firmware_py.settings import Settings
from kelly_edge.contract import KNOBS_DTYPE, PROGRAMMES, SessionState
from kelly_edge.errors import DeviceError, OutputError

PORT = "alsa:nanoKONTROL2"
N_VOICES = 5


def cc(number: int, value: int, channel: int = 0) -> bytes:
    return bytes((0xB0 | channel, number, value))


class Hand:
    """Inputs that hold what a test turns."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, bytes]] = []
        self.n_scans = 0

    def turn(self, *messages: bytes, port: str = PORT) -> None:
        self.waiting += [(port, message) for message in messages]

    def receive(self) -> Iterator[tuple[str, bytes]]:
        waiting, self.waiting = self.waiting, []
        yield from waiting

    def scan(self) -> None:
        self.n_scans += 1


class Rig:
    """The knobs of a control process and a hand at a controller."""

    def __init__(self, *learned: Learned) -> None:
        self.board, self.hand, self.time = memory_board(), Hand(), VirtualClock(1.0)
        self.guard = FeedbackGuard()
        self.journal = ListJournal()
        self.control = ControlStage(self.board.ends("control"), Settings(), self.journal, self.guard.played)
        self.map: tuple[Learned, ...] | None = learned
        self.warnings: list[str] = []
        self.stage = ControllerStage(
            self.control, self.hand, self.changed, self.guard, N_VOICES, self.warnings.append, self.time
        )

    def changed(self) -> tuple[Learned, ...] | None:
        learned, self.map = self.map, None
        return learned

    def knob(self, name: str) -> float:
        knobs = np.zeros((), KNOBS_DTYPE)
        assert self.board.cells["knobs"].read(knobs)
        return float(knobs[name])

    def step(self, seconds: float = 0.1) -> None:
        self.time.time_s += seconds
        self.stage.step()


def test_every_control_is_a_knob_of_the_box() -> None:
    # A place is forgotten by command alone: nobody shall do it with a button by accident.
    assert {control.knob for control in CONTROLS.values()} == set(KNOBS_DTYPE.names or ()) - {"n_places"}


@pytest.mark.parametrize("name", [name for name, control in CONTROLS.items() if control.kind != "button"])
def test_a_turn_from_end_to_end_reaches_both_limits_and_rises(name: str) -> None:
    control = CONTROLS[name]
    values = [turned(control, value, N_VOICES) for value in range(128)]
    high = N_VOICES - 1.0 if name == "voice" else control.high
    assert (values[0], values[-1]) == (control.low, high)
    assert values == sorted(values)
    if control.kind == "choice":
        assert set(values) == set(np.arange(control.low, high + 1))


@pytest.mark.parametrize("name", ["valence", "arousal", "density", "brightness"])
def test_the_middle_of_a_controller_is_exactly_the_middle_of_a_bipolar_knob(name: str) -> None:
    assert turned(CONTROLS[name], 64, N_VOICES) == 0.0


def test_a_learned_controller_turns_its_knob_and_another_one_nothing() -> None:
    rig = Rig(Learned("valence", PORT, 0, 21), Learned("voice", PORT, 3, 22))
    rig.hand.turn(cc(21, 0), cc(21, 127), cc(99, 5), cc(21, 3, channel=1))
    rig.hand.turn(cc(21, 0), port="alsa:another")
    rig.step()
    assert rig.knob("valence") == 1.0
    rig.hand.turn(cc(22, 127, channel=3))
    rig.step()
    assert rig.knob("voice") == N_VOICES - 1
    assert rig.stage.n_taken == 3
    # Of one look only where it ended is logged.
    assert len([e for e in rig.journal.entries if e["kind"] == "knobs"]) == 3


def test_a_panic_is_asked_for_by_either_edge_of_a_button_that_may_latch() -> None:
    rig = Rig(Learned("panic", PORT, 0, 50))
    rig.hand.turn(cc(50, 127), cc(50, 127), cc(50, 100))
    rig.step()
    assert rig.knob("n_panics") == 1
    rig.hand.turn(cc(50, 0))
    rig.step()
    assert rig.knob("n_panics") == 2
    rig.hand.turn(cc(50, 0), cc(50, 127))
    rig.step()
    assert rig.knob("n_panics") == 3 and rig.knob("n_resumes") == 0


def test_a_button_that_was_down_already_asks_for_a_panic_as_it_comes_up() -> None:
    rig = Rig(Learned("panic", PORT, 0, 50))
    rig.hand.turn(cc(50, 0))
    rig.step()
    assert rig.knob("n_panics") == 1


@pytest.mark.parametrize(
    ("name", "knob"), [("resume", "n_resumes"), ("session", "n_sessions"), ("mark", "n_marks")]
)
def test_a_press_counts_once_however_long_it_is_held_and_its_release_never(name: str, knob: str) -> None:
    rig = Rig(Learned(name, PORT, 0, 50))
    rig.hand.turn(cc(50, 0), cc(50, 127), cc(50, 127), cc(50, 100))
    rig.step()
    assert rig.knob(knob) == 1
    rig.hand.turn(cc(50, 0), cc(50, 127))
    rig.step()
    assert rig.knob(knob) == 2


def test_a_press_of_stop_ends_the_session() -> None:
    rig = Rig(Learned("stop", PORT, 0, 51), Learned("session", PORT, 0, 50))
    for number, state in ((51, SessionState.ENDED), (50, SessionState.ON), (51, SessionState.ENDED)):
        rig.hand.turn(cc(number, 0), cc(number, 127))
        rig.step()
        assert rig.knob("session") == state


def test_a_controller_chooses_among_all_programmes_of_the_box() -> None:
    names = (*PROGRAMMES, "own-1", "own-2")
    rig = Rig(Learned("programme", PORT, 0, 21))
    control = ControlStage(rig.board.ends("control"), Settings(), rig.journal, programmes=names)
    stage = ControllerStage(control, rig.hand, rig.changed, rig.guard, N_VOICES, print, rig.time, len(names))
    chosen = set()
    for value in range(128):
        rig.hand.turn(cc(21, value))
        rig.time.time_s += 0.1
        stage.step()
        chosen.add(int(rig.knob("programme")))
    assert chosen == set(range(len(names)))


def test_a_control_process_started_again_is_no_panic() -> None:
    rig = Rig()
    rig.control.press_panic(1.0)
    rig.control.begin_session(1.0)
    rig.control.turn(1.0, valence=0.5, programme=1)
    again = ControlStage(rig.board.ends("control"), Settings(), ListJournal())
    assert again.knobs == rig.control.knobs
    assert (again.knobs["n_panics"], again.knobs["n_sessions"], again.knobs["programme"]) == (1, 1, 1)


def test_a_map_learned_while_it_plays_counts_within_a_scan() -> None:
    rig = Rig()
    rig.step()
    rig.hand.turn(cc(21, 127))
    rig.step()
    assert rig.knob("valence") == 0.0
    rig.map = (Learned("valence", PORT, 0, 21),)
    rig.step(SCAN_EVERY_S)
    rig.hand.turn(cc(21, 127))
    rig.step()
    assert rig.knob("valence") == 1.0


def test_a_map_that_cannot_be_read_is_said_and_the_old_one_stands() -> None:
    rig = Rig(Learned("valence", PORT, 0, 21))
    rig.step()

    def broken() -> None:
        raise OutputError("cannot read controls.json; remove it")

    rig.stage._changed = broken
    rig.step(SCAN_EVERY_S)
    rig.hand.turn(cc(21, 127))
    rig.step()
    assert rig.warnings == ["cannot read controls.json; remove it"]
    assert rig.knob("valence") == 1.0


# --- feedback ----------------------------------------------------------------------------


def test_mode_messages_never_count() -> None:
    rig = Rig(*(Learned("valence", PORT, 0, number) for number in range(120, 128)))
    rig.hand.turn(*(cc(number, 127) for number in range(120, 128)))
    rig.step()
    assert rig.knob("valence") == 0.0
    assert rig.stage.n_refused == 8


def test_a_port_that_returns_what_is_played_turns_no_knob_until_it_is_quiet_again() -> None:
    rig = Rig(Learned("valence", PORT, 0, 21))
    rig.step()
    rig.guard.played(0, 60, rig.time.time_s)
    rig.hand.turn(bytes((0x90, 60, 80)), cc(21, 127))
    rig.step()
    assert rig.knob("valence") == 0.0
    assert "returns what the box plays" in rig.warnings[0]
    rig.hand.turn(cc(21, 127), port="alsa:other")
    rig.step(LOOP_S + 0.1)
    rig.hand.turn(cc(21, 127))
    rig.step()
    assert rig.knob("valence") == 1.0
    assert len(rig.warnings) == 1


def test_somebody_who_plays_other_notes_is_no_echo() -> None:
    guard = FeedbackGuard()
    guard.played(0, 60, 1.0)
    guard.admits(PORT, bytes((0x90, 61, 80)), 1.1)
    guard.admits(PORT, bytes((0x91, 60, 80)), 1.1)
    guard.admits(PORT, bytes((0x90, 60, 80)), 1.0 + WINDOW_S + 0.01)
    guard.admits(PORT, bytes((0x80, 60, 0)), 1.1)
    assert not guard.is_looping(PORT, 1.2)
    assert guard.admits(PORT, cc(1, 2), 1.2)


BYTES = st.one_of(
    st.binary(max_size=6),
    st.tuples(st.just(0xB0), st.integers(0, len(CONTROLS)), st.integers(0, 255)).map(bytes),
)


@given(st.lists(st.tuples(st.sampled_from([PORT, "b"]), BYTES), max_size=60))
def test_no_bytes_make_it_fail_or_a_knob_leave_its_limits(
    messages: list[tuple[str, bytes]],
) -> None:
    rig = Rig(*(Learned(name, PORT, 0, n) for n, name in enumerate(CONTROLS)))
    for port, message in messages:
        rig.hand.turn(message, port=port)
        rig.step()
    for control in CONTROLS.values():
        if control.kind != "button":
            high = N_VOICES - 1 if control.high == float("inf") else control.high
            assert control.low <= rig.knob(control.knob) <= high


# --- learning ----------------------------------------------------------------------------


def test_the_controller_turned_is_learned_and_one_that_trembles_is_not() -> None:
    chooser = Chooser("valence")
    for n in range(50):
        chooser.hear(PORT, cc(7, 64 + n % 3), 0.0)
    chosen = []
    for value in range(40, 60):
        chooser.hear(PORT, cc(21, value, channel=2), 0.0)
        chosen.append(chooser.chosen(0.0))
    assert chosen[11] is None
    assert chosen[12] == Learned("valence", PORT, 2, 21)


def test_a_button_is_learned_from_one_press() -> None:
    chooser = Chooser("panic")
    chooser.hear(PORT, cc(50, 127), 0.0)
    assert chooser.chosen(0.1) is None  # It may be the first message of a knob.
    assert chooser.chosen(1.0) == Learned("panic", PORT, 0, 50, coding=SWITCH)


def test_nothing_turned_is_one_line() -> None:
    time, hand = VirtualClock(), Hand()

    def sleep(seconds: float) -> None:
        time.time_s += seconds

    with pytest.raises(DeviceError, match="no controller was turned within 3 s"):
        listen("valence", hand, 3.0, time.now_s, sleep)
    assert hand.n_scans > 3


def test_listening_ends_with_the_turn() -> None:
    time, hand = VirtualClock(), Hand()

    def sleep(seconds: float) -> None:
        time.time_s += seconds
        hand.turn(cc(21, round(time.time_s * 50)))

    assert listen("valence", hand, 3.0, time.now_s, sleep).number == 21
    assert time.time_s < 1.0
