"""The panel on pins: the same claims on gpiozero's mock, and on the kernel's gpio-sim where it is loaded.

gpio-sim: a bank of 28 lines whose label is one of ``HEADERS``; this user may write its ``pull`` files.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import gpiozero
import lgpio
import numpy as np
import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPin, MockSPIDevice

from firmware_py.board.map import Board, memory_board
from firmware_py.board.telemetry import TIMES_DTYPE, new_counters
from firmware_py.commands.safe import SafeStage
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.gpio import pins as gpio
from firmware_py.devices.gpio.pins import HOLD_BACK_S, Pins, Pots, find_chip, line_users, open_factory
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.processes.control import ControlStage
from firmware_py.processes.lamp import COLOURS, WATCHED, XRUN_S
from firmware_py.processes.panel import control_pins
from firmware_py.settings import Settings
from firmware_py.wiring.panel import PanelParts, claim_pins, lamp_on, new_panel, open_panel
from firmware_py.wiring.panic import PanicButton
from kelly_edge.contract import KNOBS_DTYPE, PROGRAMMES
from kelly_edge.errors import DeviceError

SIM_LINES = "devices/platform/gpio-sim.*/gpiochip*/sim_gpio{}"
SYS = Path("/sys")
VALENCE, AROUSAL, DENSITY, VOICE = (17, 27, 22), (5, 6, 13), (23, 24, 25), (12, 16, 26)


class Wires(Protocol):
    """The other end of the pins."""

    factory: object
    settle_s: float
    """So long an edge may take to be there."""

    def pull(self, pin: int, is_high: bool) -> None:
        """Move a contact."""

    def is_on(self, pin: int) -> bool:
        """What an output drives."""


class MockWires:
    settle_s = 2.5 * HOLD_BACK_S

    def __init__(self) -> None:
        self.factory = MockFactory()
        self._lines: dict[int, MockPin] = {}

    def line(self, pin: int) -> MockPin:
        return self._lines.setdefault(pin, self.factory.pin(pin))

    def pull(self, pin: int, is_high: bool) -> None:
        self.line(pin).drive_high() if is_high else self.line(pin).drive_low()

    def is_on(self, pin: int) -> bool:
        return bool(self.line(pin).state)


class SimWires:
    # Emulated and busy, a thread waits for its turn.
    settle_s = 0.3

    def __init__(self, run_dir: Path) -> None:
        self.factory = open_factory("auto", run_dir)
        assert self.factory is not None, "gpio-sim is there, but its label is not the header's"
        self._lines = {n: next(SYS.glob(SIM_LINES.format(n))) for n in range(28)}

    def pull(self, pin: int, is_high: bool) -> None:
        (self._lines[pin] / "pull").write_text("pull-up" if is_high else "pull-down")

    def is_on(self, pin: int) -> bool:
        return (self._lines[pin] / "value").read_text().strip() == "1"


class Rig:
    """The panel as ``control`` has it, on ``wires``."""

    def __init__(self, wires: Wires, *overrides: str) -> None:
        self.wires = wires
        self.settings: Settings = load_settings(None, overrides)
        self.clock, self.board, self.journal = VirtualClock(), memory_board(), ListJournal()
        self.told: list[str] = []
        self.control = ControlStage(self.board.ends("control"), self.settings, self.journal)
        self.parts: PanelParts = new_panel(
            self.settings,
            wires.factory,
            self.board.ends("control"),
            self.control,
            self.told.append,
            self.clock,
        )

    def step(self, n: int = 10) -> None:
        time.sleep(self.wires.settle_s)
        for _ in range(n):
            self.clock.time_s += 0.1
            self.parts.step()

    def turn(self, knob: tuple[int, int, int], detents: int, quarter_s: float = 0.0) -> None:
        first, second = knob[:2] if detents > 0 else knob[1::-1]
        for _ in range(abs(detents)):
            for is_high in (False, True):
                for pin in (first, second):
                    self.wires.pull(pin, is_high)
                    time.sleep(quarter_s)

    def push(self, pin: int, for_s: float = 0.04) -> None:
        self.wires.pull(pin, False)
        time.sleep(for_s)
        self.step(1)
        self.wires.pull(pin, True)
        time.sleep(0.03)
        # The first sees the release, the second that it is steady.
        self.step(1)
        time.sleep(0.03)
        self.step(1)

    def knob(self, name: str) -> float:
        knobs = np.zeros((), KNOBS_DTYPE)
        assert self.board.cells["knobs"].read(knobs)
        return round(float(knobs[name]), 6)

    def lamp(self) -> tuple[bool, bool, bool]:
        panel = self.settings.panel
        red, green, blue = (self.wires.is_on(p) for p in (panel.red_pin, panel.green_pin, panel.blue_pin))
        return red, green, blue


def begin(board: Board, n_steps: int) -> None:
    """Every process has stepped ``n_steps`` times."""
    times = np.zeros((), TIMES_DTYPE)
    times["n_times"] = n_steps
    for process in WATCHED:
        board.cells[f"times_{process}"].write(times)


class PanelContract:
    """What holds on any pins; ``wires`` is a fixture of each kind."""

    @pytest.fixture
    def rig(self, wires: Wires) -> Iterator[Rig]:
        rig = Rig(wires)
        yield rig
        rig.parts.close()

    @pytest.mark.parametrize(
        ("knob", "name"), [(VALENCE, "valence"), (AROUSAL, "arousal"), (DENSITY, "density")]
    )
    def test_each_encoder_moves_what_the_settings_say(
        self, rig: Rig, knob: tuple[int, int, int], name: str
    ) -> None:
        rig.turn(knob, 6)
        rig.step()
        assert rig.knob(name) == pytest.approx(0.24)
        rig.turn(knob, -16)
        rig.step()
        assert rig.knob(name) == pytest.approx(-0.40)
        assert rig.journal.entries[-1][name] == pytest.approx(-0.40)
        assert rig.told == []

    def test_the_voice_knob_has_two_pages(self, rig: Rig) -> None:
        rig.turn(VOICE, 3)
        rig.step()
        rig.push(VOICE[2])
        rig.turn(VOICE, -10)
        rig.step()
        assert (rig.knob("voice"), rig.knob("dry_wet")) == (3.0, 0.5)

    def test_200_detents_forth_and_back_end_at_zero(self, rig: Rig) -> None:
        for _ in range(10):
            for detents in (20, -20):
                rig.turn(VALENCE, detents)
                rig.step()
                assert rig.knob("valence") == (0.8 if detents > 0 else 0.0)

    def test_no_detent_is_lost_at_twenty_a_second(self, rig: Rig) -> None:
        rig.turn(AROUSAL, 20, quarter_s=1.0 / 80.0)
        rig.step()
        assert rig.knob("arousal") == 0.8
        assert rig.parts.pins.n_mended == 0

    def test_panic_is_guardians_own_and_counted_once_a_push(self, rig: Rig) -> None:
        button = PanicButton(rig.wires.factory, rig.settings.panel.panic_pin, rig.told.append)
        for _ in range(3):
            rig.push(rig.settings.panel.panic_pin)
            assert button.n_asked() == 1
            assert button.n_asked() == 0
        assert rig.knob("n_panics") == 0

    def test_a_moved_contact_wakes_who_waits(self, rig: Rig) -> None:
        rig.parts.pins.woken.clear()
        rig.wires.pull(rig.settings.panel.hold_pin, False)
        assert rig.parts.pins.woken.wait(60.0)

    def test_the_hold_button_taps_and_is_held(self, rig: Rig) -> None:
        pin = rig.settings.panel.hold_pin
        rig.push(pin)
        assert PROGRAMMES[int(rig.knob("programme"))] == "hold"
        rig.push(pin)
        assert PROGRAMMES[int(rig.knob("programme"))] == "mirror"
        rig.push(pin, for_s=1.1)
        assert PROGRAMMES[int(rig.knob("programme"))] == "iso"

    def test_the_lamp_shows_how_the_box_is(self, rig: Rig) -> None:
        rig.step(1)
        assert rig.lamp() == COLOURS["starting"]
        begin(rig.board, 1)
        rig.step(1)
        assert rig.lamp() == COLOURS["listening"]
        notes = new_counters("midi")
        notes["n_note_ons"] = 1
        rig.board.cells["telemetry_midi"].write(notes)
        rig.step(1)
        assert rig.lamp() == COLOURS["composing"]
        xruns = new_counters("audio")
        xruns["n_playback_xruns"] = 1
        rig.board.cells["telemetry_audio"].write(xruns)
        rig.step(1)
        assert rig.lamp() == COLOURS["xrun"]
        begin(rig.board, 2)
        rig.step(int(10 * XRUN_S) + 12)
        assert rig.lamp() == COLOURS["listening"]
        rig.step(60)
        assert rig.lamp() == COLOURS["fault"]

    def test_the_lamp_is_dark_after_the_end_and_the_end_may_come_twice(self, rig: Rig) -> None:
        begin(rig.board, 1)
        rig.step(1)
        assert rig.lamp() == COLOURS["listening"]
        rig.parts.close()
        assert rig.lamp() == (False, False, False)
        rig.parts.close()

    @pytest.mark.parametrize("rest_s", [0.0, 1e9])
    def test_safe_mode_is_silent_and_red_and_ends_by_a_second_on_the_hold_button_after_its_rest(
        self, wires: Wires, rest_s: float
    ) -> None:
        panel = Settings().panel
        pins, card = claim_pins(wires.factory, panel, print), SilentCard()
        stage = SafeStage(card, 128, (pins, lamp_on(pins, panel)), panel.hold_pin, rest_s)
        stage.step()
        assert wires.is_on(panel.red_pin) and not wires.is_on(panel.green_pin)
        wires.pull(panel.hold_pin, False)
        time.sleep(wires.settle_s)
        stage.step()
        assert not wires.is_on(panel.green_pin)
        time.sleep(1.1)
        stage.step()
        assert wires.is_on(panel.green_pin) and card.peak == 0.0
        assert stage.is_over == (rest_s == 0.0)
        pins.close()


class SilentCard:
    is_there = True
    n_capture_xruns = n_playback_xruns = 0
    peak = 0.0

    def read(self, out: np.ndarray) -> None:
        out[:] = 1.0

    def write(self, block: np.ndarray) -> None:
        self.peak = max(self.peak, float(np.abs(block).max()))


class TestOnMockPins(PanelContract):
    @pytest.fixture
    def wires(self) -> Wires:
        return MockWires()


@pytest.mark.skipif(not list(SYS.glob(SIM_LINES.format(0))), reason="no gpio-sim in this kernel")
class TestOnGpioSim(PanelContract):
    @pytest.fixture
    def wires(self, tmp_path: Path) -> Wires:
        return SimWires(tmp_path)


# --- what only a mock can show ----------------------------------------------------------


def pins_of(wires: MockWires, *inputs: int) -> Pins:
    return Pins(wires.factory, inputs, ())


def settled(pins: Pins) -> list[tuple[int, bool]]:
    time.sleep(2 * HOLD_BACK_S)
    return [(edge.pin, edge.is_high) for edge in pins.take()]


def test_edges_come_in_the_order_of_the_kernels_stamps_not_of_their_arrival() -> None:
    wires = MockWires()
    pins = pins_of(wires, 17, 27)
    for stamp, pin, state in ((2.0, 27, 0), (1.0, 17, 0), (4.0, 27, 1), (3.0, 17, 1)):
        wires.factory.pin(pin).when_changed(stamp, state)
        wires.factory.pin(pin)._state = bool(state)
    assert settled(pins) == [(17, False), (27, False), (17, True), (27, True)]


def test_a_young_edge_waits_for_older_ones_of_other_lines() -> None:
    wires = MockWires()
    pins = pins_of(wires, 17)
    wires.pull(17, False)
    assert pins.take() == []
    assert settled(pins) == [(17, False)]


def test_a_lost_edge_is_put_right_at_the_second_look() -> None:
    wires = MockWires()
    pins = pins_of(wires, 17)
    wires.factory.pin(17)._state = False
    assert settled(pins) == []
    assert settled(pins) == [(17, False)]
    assert pins.n_mended == 1
    assert settled(pins) == []


def test_a_contact_closed_at_start_is_known() -> None:
    class HeldDown(MockWires):
        def __init__(self) -> None:
            super().__init__()
            self.factory.pin(4)._set_pull = lambda value: None  # something holds it at ground

    wires = HeldDown()
    wires.factory.pin(4)._state = False
    assert settled(pins_of(wires, 4)) == [(4, False)]


def test_a_common_anode_lamp_lights_where_its_pins_are_low() -> None:
    wires = MockWires()
    rig = Rig(wires, "panel.common_anode=true")
    begin(rig.board, 1)
    rig.step(1)
    assert rig.lamp() == tuple(not on for on in COLOURS["listening"])
    rig.parts.close()


class Refusing(MockFactory):
    """A factory whose ``held`` pins are somebody else's, as lgpio says it."""

    def __init__(self, *held: int) -> None:
        super().__init__()
        self.held = held

    def pin(self, name: int) -> MockPin:
        if name in self.held:
            raise lgpio.error("GPIO busy")
        return super().pin(name)


class HeldWires(MockWires):
    def __init__(self, *held: int) -> None:
        super().__init__()
        self.factory = Refusing(*held)


PANEL = Settings().panel
CONTROLS = control_pins(PANEL)


OTHER_PINS = sorted({pin for pins in CONTROLS.values() for pin in pins} - {PANEL.panic_pin})
LAMP = (PANEL.red_pin, PANEL.green_pin, PANEL.blue_pin)


@pytest.mark.parametrize("pin", OTHER_PINS)
def test_a_pin_that_is_refused_costs_its_control_alone(pin: int) -> None:
    wires = HeldWires(pin)
    rig = Rig(wires)
    (lost,) = (name for name, pins in CONTROLS.items() if pin in pins)
    assert rig.told == [
        f"no {lost}: GPIO {pin} is not available (GPIO busy); `kelly-edge doctor` says who holds it"
    ]
    for knob, name in ((VALENCE, "valence"), (AROUSAL, "arousal"), (DENSITY, "density")):
        pins = [p for p in knob[:2] if p != pin]
        if len(pins) == 2:
            rig.turn(knob, 5)
        else:
            # The contact that is left moves on: it must not look like a broken knob.
            for _ in range(30):
                wires.pull(pins[0], False)
                wires.pull(pins[0], True)
        rig.step()
        assert rig.knob(name) == (0.2 if len(pins) == 2 else 0.0)
    if pin != PANEL.hold_pin:
        rig.push(PANEL.hold_pin)
        assert PROGRAMMES[int(rig.knob("programme"))] == "hold"
    begin(rig.board, 1)
    rig.step(1)
    for colour_pin, is_on in zip(LAMP, COLOURS["listening"], strict=True):
        assert colour_pin == pin or wires.is_on(colour_pin) == is_on
    button = PanicButton(wires.factory, PANEL.panic_pin, rig.told.append)
    rig.push(PANEL.panic_pin)
    assert button.n_asked() == 1 and len(rig.told) == 1
    rig.parts.close()


def test_the_kernels_spi_costs_hold_button_and_lamp_and_nothing_else() -> None:
    rig = Rig(HeldWires(7, 8, 9, 10, 11))
    assert [line.partition(":")[0] for line in rig.told] == [
        "no hold button", "no red of the lamp", "no green of the lamp", "no blue of the lamp",
    ]  # fmt: skip
    rig.turn(VALENCE, 5)
    rig.push(VOICE[2])
    rig.step()
    assert rig.knob("valence") == 0.2
    rig.parts.close()


def test_a_panic_button_without_its_pin_is_one_line() -> None:
    with pytest.raises(DeviceError, match=r"^GPIO 4 is not available \(GPIO busy\)"):
        PanicButton(Refusing(4), 4, print)


def test_pots_without_a_converter_cost_the_pots_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_spi(*args: object, **kwargs: object) -> None:
        raise OSError("no SPI here")

    monkeypatch.setattr(gpiozero, "MCP3008", no_spi)
    lamp = [f"panel.{colour}_pin=-1" for colour in ("red", "green", "blue")]
    rig = Rig(MockWires(), "panel.pots=[brightness -1..1 on 2]", *lamp)
    assert len(rig.told) == 1 and "no pots on SPI 0 (no SPI here)" in rig.told[0]
    rig.turn(VALENCE, 5)
    rig.step()
    assert rig.knob("valence") == 0.2
    rig.parts.close()


# --- which chip is the header's ----------------------------------------------------------


class Chips:
    """lgpio's calls on chips by number: label, and lines by number with flags and holder."""

    def __init__(self, labels: dict[int, str], lines: dict[int, tuple[int, str]] | None = None) -> None:
        self.labels, self.lines = labels, lines or {}
        self.n_open = 0

    def gpiochip_open(self, number: int) -> int:
        if number not in self.labels:
            raise lgpio.error("can not open gpiochip")
        self.n_open += 1
        return number

    def gpiochip_close(self, handle: int) -> None:
        self.n_open -= 1

    def gpio_get_chip_info(self, handle: int) -> list[object]:
        return [0, 54, f"gpiochip{handle}", self.labels[handle]]

    def gpio_get_line_info(self, handle: int, line: int) -> list[object]:
        flags, user = self.lines.get(line, (0, ""))
        return [0, line, flags, f"GPIO{line}", user]

    def install(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        for name in ("gpiochip_open", "gpiochip_close", "gpio_get_chip_info", "gpio_get_line_info"):
            monkeypatch.setattr(lgpio, name, getattr(self, name))
        for number in self.labels:
            (folder / f"gpiochip{number}").touch()
        monkeypatch.setattr(gpio, "DEVICES", folder)


OTHERS = tuple(f"gpio-brcmstb@107d{place}" for place in ("508500", "508520", "517c00", "517c20"))


@pytest.mark.parametrize(
    ("labels", "number"),
    [
        (dict(zip(range(11, 16), (*OTHERS, "pinctrl-rp1"), strict=True)), 15),
        (dict(zip(range(11, 16), ("pinctrl-rp1", *OTHERS), strict=True)), 11),
        (dict(zip((10, 11, 12, 13, 0), (*OTHERS, "pinctrl-rp1"), strict=True)), 0),
        (dict(zip((0, 1, 2, 3, 4), (*OTHERS, "pinctrl-rp1"), strict=True)), 4),
        ({0: "pinctrl-bcm2711", 1: "raspberrypi-exp-gpio"}, 0),
        ({0: "raspberrypi-exp-gpio", 504: "pinctrl-bcm2835"}, 504),
        ({0: "gpio-mockup"}, None),
    ],
    ids=["Pi 5: 11 to 15", "Pi 5: 11 first", "Pi 5: 0 last", "Pi 5: 4", "Pi 4", "Pi 3", "no header"],
)
def test_the_headers_chip_is_found_by_its_label_whatever_its_number(
    labels: dict[int, str], number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chips = Chips(labels)
    chips.install(monkeypatch, tmp_path)
    assert find_chip("auto") == number
    assert chips.n_open == 0


def test_who_holds_a_line_is_asked_of_the_header_and_the_box_itself_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {4: (1, "onewire@0"), 7: (1, "spi0 CS1"), 9: (1, ""), 17: (1, "lg"), 22: (2, "")}
    chips = Chips({11: OTHERS[0], 15: "pinctrl-rp1"}, held)
    chips.install(monkeypatch, tmp_path)
    assert line_users("auto") == {4: "onewire@0", 7: "spi0 CS1", 9: "the kernel"}
    assert line_users("none") == line_users("no such chip") == {}
    assert chips.n_open == 0


def test_a_wild_wire_is_told_of_once_and_costs_no_endless_queue() -> None:
    rig = Rig(MockWires())
    for _ in range(20):
        for _ in range(1_000):
            rig.wires.pull(17, False)
            rig.wires.pull(17, True)
        rig.step(1)
    assert len(rig.told) == 2
    assert rig.knob("valence") == 0.0
    rig.turn(AROUSAL, 5)
    rig.step()
    assert rig.knob("arousal") == 0.2
    rig.parts.close()


class Converter(MockSPIDevice):
    """An MCP3008 by its data sheet: a start bit, single-ended, channel; a null bit, then ten bits."""

    def __init__(self, factory: MockFactory, values: dict[int, int]) -> None:
        super().__init__(11, 10, 9, 8, pin_factory=factory)
        self.values = values
        self.is_started = False

    def on_start(self) -> None:
        super().on_start()
        self.is_started = False

    def on_bit(self) -> None:
        if not self.is_started:
            self.is_started, self.rx_buf = bool(self.rx_buf[-1]), []
        elif len(self.rx_buf) == 4:
            single, *channel = self.rx_buf
            assert single
            self.tx_word(self.values[int("".join(str(int(bit)) for bit in channel), 2)], 12)


def test_pots_are_read_through_the_converter_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    factory, values = MockFactory(), {0: 0, 3: 512, 7: 1_023}
    monkeypatch.setattr(Device, "pin_factory", factory)
    converter = Converter(factory, values)
    pots = Pots(factory, values)
    assert [round(pots.read(n), 3) for n in values] == [0.0, 0.5, 1.0]
    values[0] = 256
    assert round(pots.read(0), 3) == 0.25
    pots.close()
    converter.close()


def test_a_panel_with_pots_moves_its_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "pin_factory", None)
    wires = MockWires()
    values = {2: 1_023}
    converter = Converter(wires.factory, values)
    lamp = [f"panel.{colour}_pin=-1" for colour in ("red", "green", "blue")]
    rig = Rig(wires, "panel.pots=[brightness -1..1 on 2]", *lamp)
    rig.step()
    assert rig.knob("brightness") == 1.0
    values[2] = 0
    rig.step()
    assert rig.knob("brightness") == -1.0
    rig.parts.close()
    converter.close()


def test_a_machine_without_a_header_plays_without_a_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpio, "DEVICES", tmp_path)
    told: list[str] = []
    board = memory_board()
    control = ControlStage(board.ends("control"), Settings(), ListJournal())
    assert (
        open_panel(Settings(), tmp_path, board.ends("control"), control, told.append, VirtualClock()) is None
    )
    assert told == []
    asked = load_settings(None, ["panel.chip=gpio-sim.0-node0"])
    assert open_panel(asked, tmp_path, board.ends("control"), control, told.append, VirtualClock()) is None
    assert told == [
        "no panel: no GPIO chip is called gpio-sim.0-node0; `gpiodetect` lists them, set panel.chip"
    ]
    assert list(tmp_path.iterdir()) == []
