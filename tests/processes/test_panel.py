"""Hands on the panel: what reaches the knobs cell and the session log."""

import itertools
from typing import Any

import numpy as np
import pytest

from firmware_py.board.map import PANIC_DTYPE, memory_board
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.offline import VirtualClock
from firmware_py.panel_lines import EncoderLine, Page, PotLine, read_encoder, read_pot
from firmware_py.ports import Edge
from firmware_py.processes.control import ControlStage
from firmware_py.processes.controllers import CONTROLS
from firmware_py.processes.panel import N_JUMPS, PanelStage, panel_pins
from firmware_py.settings import PanelSettings, Settings
from kelly_edge.contract import KNOB_RANGES, KNOBS_DTYPE, PROGRAMMES, SessionState
from kelly_edge.errors import ConfigError

VALENCE, AROUSAL, VOICE = (17, 27, 22), (5, 6, 13), (12, 16, 26)


class Entries(list[dict[str, Any]]):
    def record(self, entry: dict[str, Any]) -> None:
        self.append(entry)


class Hands:
    """Contacts and pots that a test moves, on a clock that a test advances."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.edges: list[Edge] = []
        self.pots = dict.fromkeys(range(8), 0.5)

    def now_s(self) -> float:
        return self.clock.time_s

    def take(self) -> list[Edge]:
        edges, self.edges = self.edges, []
        return edges

    def read(self, channel: int) -> float:
        return self.pots[channel]

    def turn(self, knob: tuple[int, int, int], detents: int) -> None:
        first, second = knob[:2] if detents > 0 else knob[1::-1]
        for _ in range(abs(detents)):
            self.edges += [Edge(self.now_s(), pin, high) for high in (False, True) for pin in (first, second)]

    def press(self, pin: int) -> None:
        self.edges.append(Edge(self.now_s(), pin, False))

    def release(self, pin: int) -> None:
        self.edges.append(Edge(self.now_s(), pin, True))


class Rig:
    def __init__(self, *overrides: str, offered: tuple[int, ...] = (0, 1)) -> None:
        self.settings = load_settings(None, overrides)
        self.clock, self.board, self.log = VirtualClock(), memory_board(), Entries()
        self.hands = Hands(self.clock)
        names = (*PROGRAMMES, "own-1", "own-2", "own-3")
        self.control = ControlStage(self.board.ends("control"), self.settings, self.log, programmes=names)
        self.told: list[str] = []
        self.n_pages = 0
        self.stage = PanelStage(
            self.settings.panel,
            self.hands,
            self.hands,
            self.control,
            len(self.settings.voice.names),
            self.told.append,
            self.clock,
            self.turned_page,
            offered,
        )

    def turned_page(self) -> None:
        self.n_pages += 1

    def step(self, n: int = 10) -> None:
        for _ in range(n):
            self.clock.time_s += 0.1
            self.stage.step()

    def knob(self, name: str) -> float:
        knobs = np.zeros((), KNOBS_DTYPE)
        assert self.board.cells["knobs"].read(knobs)
        return float(knobs[name])

    def tap(self, pin: int) -> None:
        self.hands.press(pin)
        self.step(1)
        self.hands.release(pin)
        self.step(2)


def test_a_turn_moves_its_knob_by_the_stated_step_a_detent() -> None:
    rig = Rig()
    rig.hands.turn(VALENCE, 5)
    rig.hands.turn(AROUSAL, -3)
    rig.step()
    assert rig.knob("valence") == pytest.approx(0.20) and rig.knob("arousal") == pytest.approx(-0.12)
    assert rig.log[-1]["kind"] == "knobs" and rig.log[-1]["valence"] == 0.2


def test_a_knob_follows_smoothly_and_then_rests() -> None:
    rig = Rig("panel.encoders=[density 0.5 on 5 6 13]")
    rig.hands.turn(AROUSAL, 2)
    seen = []
    for _ in range(200):
        rig.clock.time_s += 0.01
        rig.stage.step()
        seen.append(rig.knob("density"))
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert max(b - a for a, b in itertools.pairwise(seen)) < 0.2
    n_entries = len(rig.log)
    rig.step(100)
    assert len(rig.log) == n_entries


def test_a_knob_ends_at_its_limit_and_comes_back_at_once() -> None:
    rig = Rig()
    rig.hands.turn(VALENCE, 200)
    rig.step()
    assert rig.knob("valence") == 1.0
    rig.hands.turn(VALENCE, -1)
    rig.step()
    assert rig.knob("valence") == pytest.approx(0.96)


def test_200_detents_forth_and_back_end_at_exactly_zero() -> None:
    rig = Rig("panel.encoders=[valence 0.005 on 17 27 22]")
    for direction in (1, -1):
        for _ in range(200):
            rig.hands.turn(VALENCE, direction)
            rig.step(1)
        rig.step()
        assert rig.knob("valence") == (1.0 if direction > 0 else 0.0)
    for detents in (200, -200):
        rig.hands.turn(VALENCE, detents)
        rig.step()
    assert rig.knob("valence") == 0.0


def test_a_push_turns_to_the_next_page_and_says_so() -> None:
    rig = Rig()
    rig.hands.turn(VOICE, 2)
    rig.step()
    assert rig.knob("voice") == 2.0
    rig.tap(VOICE[2])
    assert rig.n_pages == 1
    rig.hands.turn(VOICE, -4)
    rig.step()
    assert rig.knob("dry_wet") == pytest.approx(0.8) and rig.knob("voice") == 2.0
    rig.tap(VOICE[2])
    rig.hands.turn(VOICE, 99)
    rig.step()
    assert rig.knob("voice") == len(rig.settings.voice.names) - 1


def test_a_push_of_a_knob_with_one_page_puts_it_back_to_its_start() -> None:
    rig = Rig()
    rig.hands.turn(VALENCE, 9)
    rig.step()
    rig.tap(VALENCE[2])
    rig.step()
    assert rig.knob("valence") == 0.0


def test_after_a_panic_a_tap_of_hold_resumes_and_holds_nothing() -> None:
    rig = Rig("emotion.programme=iso")
    record = np.zeros((), PANIC_DTYPE)
    record["is_on"] = True
    rig.board.cells["panic"].write(record)
    rig.tap(rig.settings.panel.hold_pin)
    assert rig.knob("n_resumes") == 1 and PROGRAMMES[int(rig.knob("programme"))] == "iso"
    rig.board.cells["panic"].write(np.zeros((), PANIC_DTYPE))
    rig.tap(rig.settings.panel.hold_pin)
    assert rig.knob("n_resumes") == 1 and PROGRAMMES[int(rig.knob("programme"))] == "hold"


@pytest.mark.parametrize("programme", ["mirror", "iso", "hold"])
def test_hold_for_three_seconds_begins_a_session_of_the_programme_there_was(programme: str) -> None:
    rig = Rig(f"emotion.programme={programme}")
    rig.control.turn(0.0, session=SessionState.WAITING)
    pin = rig.settings.panel.hold_pin
    rig.hands.press(pin)
    rig.step(29)
    assert rig.knob("n_sessions") == 0 and PROGRAMMES[int(rig.knob("programme"))] != programme
    rig.step(5)
    assert rig.knob("n_sessions") == 1 and PROGRAMMES[int(rig.knob("programme"))] == programme
    assert rig.n_pages == 1
    rig.step(50)
    rig.hands.release(pin)
    rig.step()
    assert rig.knob("n_sessions") == 1 and PROGRAMMES[int(rig.knob("programme"))] == programme


def test_hold_for_three_seconds_ends_the_session_that_is_on() -> None:
    rig = Rig("emotion.programme=iso")
    pin = rig.settings.panel.hold_pin
    for state in (SessionState.ENDED, SessionState.ON, SessionState.ENDED):
        rig.hands.press(pin)
        rig.step(34)
        rig.hands.release(pin)
        rig.step()
        assert rig.knob("session") == state and PROGRAMMES[int(rig.knob("programme"))] == "iso"
    assert rig.knob("n_sessions") == 1 and rig.n_pages == 3


def test_long_pushes_go_through_the_programmes_offered() -> None:
    rig = Rig("emotion.programme=hold", offered=(3, 1, 5))
    chosen = []
    for _ in range(4):
        rig.hands.press(rig.settings.panel.hold_pin)
        rig.step(12)
        rig.hands.release(rig.settings.panel.hold_pin)
        rig.step()
        chosen.append(int(rig.knob("programme")))
    assert chosen == [1, 5, 3, 1]


def test_a_tap_holds_and_lets_go_and_a_long_push_changes_the_programme() -> None:
    rig = Rig("emotion.programme=iso")
    pin = rig.settings.panel.hold_pin
    rig.tap(pin)
    assert PROGRAMMES[int(rig.knob("programme"))] == "hold"
    rig.tap(pin)
    assert PROGRAMMES[int(rig.knob("programme"))] == "iso"
    rig.hands.press(pin)
    rig.step(12)
    assert PROGRAMMES[int(rig.knob("programme"))] == "mirror"
    rig.hands.release(pin)
    rig.step()
    assert PROGRAMMES[int(rig.knob("programme"))] == "mirror"


def test_a_box_that_starts_with_hold_lets_go_to_mirror() -> None:
    rig = Rig("emotion.programme=hold")
    rig.tap(rig.settings.panel.hold_pin)
    assert PROGRAMMES[int(rig.knob("programme"))] == "mirror"


def test_a_knob_that_a_controller_turned_goes_on_from_there() -> None:
    rig = Rig()
    rig.hands.turn(VALENCE, 5)
    rig.step()
    rig.control.turn(rig.clock.time_s, valence=-0.8)
    rig.step()
    assert rig.knob("valence") == pytest.approx(-0.8)
    rig.hands.turn(VALENCE, 1)
    rig.step()
    assert rig.knob("valence") == pytest.approx(-0.76)


def test_a_pot_sets_its_knob_from_end_to_end_and_its_noise_nothing() -> None:
    rig = Rig(
        "panel.pots=[valence -1..1 on 3, dry_wet 1..0 on 0]",
        "panel.red_pin=-1",
        "panel.green_pin=-1",
        "panel.blue_pin=-1",
    )
    rig.step()
    assert rig.knob("valence") == pytest.approx(0.0) and rig.knob("dry_wet") == pytest.approx(0.5)
    rig.hands.pots |= {3: 1.0, 0: 1.0}
    rig.step()
    assert rig.knob("valence") == 1.0 and rig.knob("dry_wet") == 0.0
    n_entries = len(rig.log)
    for n in range(100):
        rig.hands.pots[3] = 1.0 - (n % 3) / 1_023
        rig.step(1)
    assert len(rig.log) == n_entries and rig.told == []


def test_an_open_pot_is_told_of_once_and_heard_again_when_steady() -> None:
    rig = Rig(
        "panel.pots=[valence -1..1 on 3]", "panel.red_pin=-1", "panel.green_pin=-1", "panel.blue_pin=-1"
    )
    for n in range(500):
        rig.hands.pots[3] = float(n % 2)
        rig.step(1)
        if n == N_JUMPS:
            n_entries = len(rig.log)
    assert rig.told == ["pot 3 (valence) jumps about: check its wires; it is not heard until it is steady"]
    assert len(rig.log) <= n_entries + 10
    rig.hands.pots[3] = 0.25
    rig.step(2)
    rig.hands.pots[3] = 0.75
    rig.step()
    assert rig.knob("valence") == pytest.approx(0.5)


# --- the table in the settings ----------------------------------------------------------


def test_the_lines_of_the_settings_are_read_as_they_are_written() -> None:
    assert read_encoder("voice 1 / dry_wet 0.05 on 12 16 26") == EncoderLine(
        (Page("voice", 1.0), Page("dry_wet", 0.05)), 12, 16, 26
    )
    assert read_pot("brightness -1..0.5 on 3") == PotLine("brightness", -1.0, 0.5, 3)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("valence 0.04 on 17 27", "three pins"),
        ("valence 0.04 on 17 27 28", "three pins"),
        ("valence 0.04 on 17 27 ²", "three pins"),
        ("valence on 17 27 22", "NAME STEP"),
        ("valense 0.04 on 17 27 22", "not one of valence"),
        ("valence 3 on 17 27 22", "at most 2"),
        ("valence 0 on 17 27 22", "at most 2"),
        ("valence nan on 17 27 22", "not a number"),
        ("voice 0.5 on 17 27 22", "whole number"),
    ],
)
def test_an_encoders_line_with_a_fault_says_which(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_encoder(line)


@pytest.mark.parametrize("line", ["valence on 3", "valence -1..2 on 3", "valence -1..1 on 8", "x 0..1 on 1"])
def test_a_pots_line_with_a_fault_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"'|not within"):
        read_pot(line)


def test_a_pin_used_twice_is_one_line_with_both_users() -> None:
    with pytest.raises(ConfigError, match="pin 17 is both the encoder of valence and") as caught:
        load_settings(None, ["panel.encoders=[valence 0.04 on 17 27 22, arousal 0.1 on 17 5 6]"])
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="pots' converter"):
        load_settings(None, ["panel.pots=[valence -1..1 on 3]"])


def test_the_default_panel_leaves_the_codecs_and_consoles_pins_free() -> None:
    panel = PanelSettings()
    used = {*panel_pins(panel), panel.red_pin, panel.green_pin, panel.blue_pin}
    i2c, uart, i2s = {2, 3}, {14, 15}, {18, 19, 20, 21}
    assert len(used) == 17 and not used & (i2c | uart | i2s)


def test_knobs_and_midi_controllers_agree_on_every_range() -> None:
    for name, (low, high) in KNOB_RANGES.items():
        control = CONTROLS[name]
        assert control.low == low and (control.high == high or name == "voice")
    assert set(KNOB_RANGES) == {c.knob for c in CONTROLS.values()} - {
        "programme",
        "n_panics",
        "n_resumes",
        "n_sessions",
        "session",
        "n_marks",
        "n_places",
    }


def test_settings_without_a_panel_are_good() -> None:
    assert load_settings(None, ["panel.chip=none", "panel.encoders=[]"]).panel.encoders == ()
    assert Settings().panel.conflict() == ""
