"""Panic: who asks for it, who ends it, and that it outlives a guardian."""

from collections.abc import Iterator

import numpy as np
import pytest

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, PANIC_DTYPE, PRESS_DTYPE, Board, memory_board
from firmware_py.devices.offline import ListJournal, RecordingCard, VirtualClock
from firmware_py.ports.learned import Learned
from firmware_py.processes.audio import AudioStage
from firmware_py.processes.commands import CommandStage
from firmware_py.processes.control import ControlStage
from firmware_py.processes.lamp import COLOURS, LampStage
from firmware_py.processes.panic import SECOND_PUSH_S, PanicController, PanicStage
from firmware_py.settings import Settings
from kelly_edge.contract import HOP_SIZE, KNOBS_DTYPE, SAMPLE_RATE_HZ
from kelly_edge.signal.fade import FADE_S, Fade
from kelly_edge.signal.limiter import Limiter

PORT = "alsa:pad"


class Button:
    """Asked for as often as a test says."""

    def __init__(self) -> None:
        self.n = 0

    def n_asked(self) -> int:
        n, self.n = self.n, 0
        return n


class Rig:
    def __init__(self) -> None:
        self.board, self.clock, self.button, self.pad = memory_board(), VirtualClock(), Button(), Button()
        self.control = ControlStage(self.board.ends("control"), Settings(), ListJournal())
        self.begin()

    def begin(self) -> None:
        """A guardian, perhaps after another one."""
        self.stage = PanicStage(self.board.ends("guardian"), self.clock, self.button, self.pad)

    def step(self, seconds: float = 0.01) -> bool:
        """What the cell says after a step."""
        self.clock.time_s += seconds
        self.stage.step()
        record = np.zeros((), PANIC_DTYPE)
        assert self.board.cells["panic"].read(record)
        return bool(record["is_on"])

    def say(self, what: int) -> None:
        record = np.zeros((), PRESS_DTYPE)
        record["what"] = what
        self.board.rings["panic"].write(record)


def test_a_second_push_resumes_and_a_hand_that_hits_twice_in_alarm_does_not() -> None:
    rig = Rig()
    assert not rig.step()
    rig.button.n = 1
    assert rig.step()
    for after_s in (0.05, 0.2, SECOND_PUSH_S - 0.3):
        rig.button.n = 1
        assert rig.step(after_s)
    assert rig.step(10.0)
    rig.button.n = 1
    assert not rig.step()
    rig.button.n = 1
    assert rig.step()


def test_a_midi_button_never_resumes() -> None:
    rig = Rig()
    for _ in range(5):
        rig.pad.n = 1
        assert rig.step(1.0)
    assert rig.stage.n_panics == 1


def test_the_command_line_silences_and_resumes_and_other_words_do_nothing() -> None:
    rig = Rig()
    rig.say(COMMANDS.index("panic"))
    assert rig.step()
    for what in (COMMANDS.index("session"), 3, 2**32 - 1):
        rig.say(what)
        assert rig.step()
    rig.say(COMMANDS.index("resume"))
    assert not rig.step()


def test_what_control_counts_is_obeyed_and_of_both_at_once_the_panic() -> None:
    rig = Rig()
    rig.control.press_panic(0.0)
    assert rig.step() and rig.control.is_panic
    rig.control.resume(0.0)
    assert not rig.step()
    rig.control.resume(0.0)
    rig.control.press_panic(0.0)
    assert rig.step()


def test_it_outlives_the_guardian_and_control_and_what_was_asked_meanwhile_is_obeyed() -> None:
    rig = Rig()
    rig.control.press_panic(0.0)
    assert rig.step()
    rig.begin()
    assert rig.step()
    rig.control = ControlStage(rig.board.ends("control"), Settings(), ListJournal())
    assert rig.step()
    rig.control.resume(0.0)
    rig.begin()
    assert not rig.step()
    rig.control.press_panic(0.0)
    rig.begin()
    assert rig.step()


class Pad:
    """A MIDI input."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, bytes]] = []

    def receive(self) -> Iterator[tuple[str, bytes]]:
        waiting, self.waiting = self.waiting, []
        yield from waiting

    def scan(self) -> None:
        pass


@pytest.mark.parametrize("values", [(127, 0), (0, 127)])
def test_each_edge_of_a_button_that_latches_asks_once_and_another_button_never(
    values: tuple[int, int],
) -> None:
    pad, clock = Pad(), VirtualClock()
    learned = (Learned("panic", PORT, 2, 50), Learned("valence", PORT, 2, 51))
    controller = PanicController(pad, lambda: learned, clock.now_s)
    for value in values:
        pad.waiting = [(PORT, bytes((0xB2, 50, value))), (PORT, bytes((0xB2, 50, value)))]
        assert controller.n_asked() == 1
    for port, *message in (
        (PORT, 0xB2, 51, 127),
        (PORT, 0xB1, 50, 0),
        ("alsa:other", 0xB2, 50, 0),
        (PORT, 0xC2, 50),
    ):
        pad.waiting = [(port, bytes(message))]
        assert controller.n_asked() == 0


def test_a_session_is_begun_by_command_and_by_no_other_word() -> None:
    rig = Rig()
    stage = CommandStage(rig.board.ends("control"), rig.control, rig.clock)
    record = np.zeros((), COMMAND_DTYPE)
    for what in (COMMANDS.index("session"), COMMANDS.index("panic"), 99):
        record["what"] = what
        rig.board.rings["commands"].write(record)
    stage.step()
    knobs = np.zeros((), KNOBS_DTYPE)
    assert rig.board.cells["knobs"].read(knobs)
    assert (knobs["n_sessions"], knobs["n_panics"]) == (1, 0)


def test_the_session_log_tells_when_it_began_and_ended() -> None:
    board, journal, clock = memory_board(), ListJournal(), VirtualClock(1.0)
    control, stage = (
        ControlStage(board.ends("control"), Settings(), journal),
        PanicStage(board.ends("guardian"), clock),
    )
    for time_s, act in ((2.0, control.press_panic), (5.0, control.resume)):
        act(time_s)
        clock.time_s = time_s
        stage.step()
        control.step()
        control.step()
    told = [e for e in journal.entries if e["kind"] == "panic"]
    assert [(e["time_s"], e["is_on"]) for e in told] == [(2.0, True), (5.0, False)]


def test_the_lamp_shows_it_before_anything_else() -> None:
    rig, shown = Rig(), list[tuple[bool, ...]]()
    lamp = LampStage(rig.board.ends("control"), lambda *colour: shown.append(colour), rig.clock)
    lamp.step()
    rig.control.press_panic(0.0)
    rig.step()
    lamp.step()
    assert lamp.state == "panic" and shown[-1] == COLOURS["panic"] == (True, False, True)
    assert list(COLOURS.values()).count(COLOURS["panic"]) == 1
    rig.control.resume(0.0)
    rig.step()
    lamp.step()
    assert lamp.state == "starting"


# --- the voice ---------------------------------------------------------------------------


def panic(board: Board, is_on: bool) -> None:
    record = np.zeros((), PANIC_DTYPE)
    record["is_on"] = is_on
    board.cells["panic"].write(record)


def speak(period: int, n_s: float, board: Board) -> tuple[RecordingCard, AudioStage]:
    """A card and a voice that answers a constant."""
    n_periods = int(n_s * SAMPLE_RATE_HZ / period)
    card = RecordingCard(np.full(n_periods * period, 0.5, np.float32), n_periods, period)
    return card, AudioStage(board.ends("audio"), card, Limiter(-1.0, 100.0), period)


@pytest.mark.parametrize("period", [64, 128, 256])
def test_the_voice_is_silent_within_250_ms_without_a_click_and_comes_back(period: int) -> None:
    board, block = memory_board(), np.zeros(period, np.float32)
    card, stage = speak(period, 2.0, board)
    n_periods = int(2.0 * SAMPLE_RATE_HZ / period)
    for n in range(n_periods):
        if n == n_periods // 4:
            panic(board, True)
        if n == n_periods // 2:
            panic(board, False)
        stage.step()
        while board.rings["capture"].read(block):
            board.rings["playback"].write(block)
    begin, end = n_periods // 4 * period, n_periods // 2 * period
    assert np.all(card.played[begin // 2 : begin] == np.float32(0.5))
    assert not card.played[begin + round(FADE_S * SAMPLE_RATE_HZ) + period : end].any()
    assert FADE_S + period / SAMPLE_RATE_HZ < 0.25
    assert np.abs(np.diff(card.played[HOP_SIZE * 4 :])).max() <= 0.5 / (FADE_S * SAMPLE_RATE_HZ) + 1e-6
    assert np.all(card.played[-period:] == np.float32(0.5))


def test_an_audio_process_started_again_during_a_panic_lets_nothing_out() -> None:
    board, block = memory_board(), np.zeros(128, np.float32)
    panic(board, True)
    card, stage = speak(128, 0.5, board)
    for _ in range(int(0.5 * SAMPLE_RATE_HZ / 128)):
        stage.step()
        while board.rings["capture"].read(block):
            board.rings["playback"].write(block)
    assert not card.played.any()


def test_an_open_fade_changes_no_bit() -> None:
    fade = Fade()
    block = np.array([1.0, -0.0, 1e-30, np.float32(1 / 3)] * 32, np.float32)
    before = block.tobytes()
    fade.process(block, False)
    assert block.tobytes() == before
