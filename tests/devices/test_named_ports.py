"""ALSA MIDI ports that come and go, also when nobody looks."""

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.devices.midi import named_ports
from firmware_py.devices.midi.named_ports import NamedPorts, connections
from firmware_py.devices.midi.port_names import WIRELESS, instruments, matching, stable_name
from firmware_py.devices.session.log import warn

PIANO = "Piano:Piano MIDI 1 24:0"
CLIENTS = """\
Client info
  cur  clients : 4

Client   0 : "System" [Kernel Legacy]
  Port   1 : "Announce" (R-e-)
    Connecting To: 130:0
Client  20 : "f_midi" [Kernel Legacy]
  Port   0 : "f_midi" (RWeX)
    Connecting To: 131:0
    Connected From: 130:0[r:0]
Client 130 : "kelly_edge_midi" [User Legacy]
  Port   0 : "out" (R-e-)
    Connecting To: 20:0[r:0], 24:0
Client 131 : "kelly_edge_controls" [User Legacy]
  Port   0 : "in" (-We-)
    Connected From: 20:0
"""


def test_a_client_is_connected_with_both_ends_and_nobody_elses() -> None:
    assert connections(CLIENTS, "kelly_edge_midi") == {"20:0", "24:0"}
    assert connections(CLIENTS, "kelly_edge_controls") == {"20:0"}
    assert connections(CLIENTS, "nobody") == set()


class Port:
    def close(self) -> None:
        pass


class Sequencer:
    def get_ports(self) -> list[str]:
        return [PIANO]


class Ports(NamedPorts[Port]):
    KIND, SETTING, CLIENT = "MIDI output", "midi.outputs", "kelly_edge_midi"
    NO_API, NO_SEQUENCER, GONE = "no {api}: {reason}", "no sequencer", "plug it in"
    NEEDS_ANY = True

    def _looker(self, api: int) -> Any:
        return Sequencer()

    def _open_named(self, client: Any, name: str) -> Port:
        return Port()


def test_a_port_unplugged_and_back_between_two_looks_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = tmp_path / "clients"
    clients.write_text(CLIENTS, encoding="utf-8")
    monkeypatch.setattr(named_ports, "CLIENTS", clients)
    monkeypatch.setattr(named_ports, "SEQUENCER", tmp_path)
    told: list[str] = []
    ports = Ports(["*"], told.append)
    ports.scan()
    assert [text.split(" is ")[1] for text in told] == ["connected"]
    clients.write_text(CLIENTS.replace(", 24:0", ""), encoding="utf-8")
    ports.scan()
    assert [text.split(" is ")[1] for text in told[1:]] == ["gone; plug it in", "connected"]
    assert ports.names == [f"alsa:{PIANO}"]


def test_where_the_sequencer_tells_nothing_a_port_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_ports, "CLIENTS", tmp_path / "absent")
    monkeypatch.setattr(named_ports, "SEQUENCER", tmp_path)
    told: list[str] = []
    ports = Ports(["*"], told.append)
    ports.scan()
    assert len(told) == 1


# --- which ports a pattern means -----------------------------------------------------------

ODD = [
    "Synth [A] MIDI 1 20:0",
    "Synth A MIDI 1 21:0",
    "what? 22:0",
    "a*b 23:0",
    "aXb 24:0",
    "[x 25:0",
    "!]-[ 26:0",
]


@pytest.mark.parametrize("name", ODD)
def test_a_name_matches_itself_and_no_other_port(name: str) -> None:
    assert matching(name, ODD) == [name]
    assert matching(stable_name(name), ODD) == [name]


NAMES = st.text("ab[]*?!-^ \\", min_size=1, max_size=8).filter(str.strip)


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.data())
def test_any_name_matches_itself_alone(names: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names))
    assert matching(name, names) == [name]


def test_the_port_of_wireless_instruments_is_found_by_the_pattern_of_the_guide() -> None:
    names = [f"{WIRELESS}:in 128:0", f"{WIRELESS}-01:in", "USB MIDI:USB MIDI MIDI 1 20:0"]
    guide = (Path(__file__).parents[2] / "docs/hardware.md").read_text()
    [pattern] = set(re.findall(r'"(Kelly Edge w[^"]*\*)"', guide))
    assert matching(pattern, instruments(names)) == names[:2]


def test_a_pattern_is_read_with_plain_brackets_before_it_is_one_of_characters() -> None:
    names = ["Synth [12]", "Synth 1", "Synth 2", "Synth 3"]
    assert matching("Synth [12]*", names) == ["Synth [12]"]
    assert matching("Synth [12]*", names[1:]) == ["Synth 1", "Synth 2"]
    assert matching("*", names) == names
    assert matching("Piano", names) == []


class Rack(Ports):
    """Ports by name, on a sequencer that is there."""

    there: ClassVar[list[str]] = []

    def _looker(self, api: int) -> Any:
        class Looker:
            def get_ports(self) -> list[str]:
                return Rack.there

        return Looker()


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Rack]:
    monkeypatch.setattr(named_ports, "CLIENTS", tmp_path / "absent")
    monkeypatch.setattr(named_ports, "SEQUENCER", tmp_path)
    monkeypatch.setattr(Rack, "there", [])
    return Rack


def test_a_pattern_that_matches_nothing_is_one_line_with_the_ports_there_are(rack: type[Rack]) -> None:
    told: list[str] = []
    rack.there = ["Synth [A]:out 20:0", "Midi Through 14:0"]
    ports = rack(["Pinao*", "Synth [A]:out"], told.append)
    for _ in range(5):
        ports.scan()
    assert ports.names == ["alsa:Synth [A]:out 20:0"]
    assert [line for line in told if "connected" not in line] == [
        "no MIDI output matches alsa:Pinao*; there is Synth [A]:out; connect it or set midi.outputs"
    ]


def test_a_port_that_comes_late_or_goes_is_not_called_a_pattern_without_one(rack: type[Rack]) -> None:
    told: list[str] = []
    ports = rack(["Piano"], told.append)
    for there in (["Piano"], [], [], ["Piano"]):
        rack.there = there
        ports.scan()
    assert [line.split(" is ")[1].split(";")[0] for line in told] == ["connected", "gone", "connected"]


FORGED = "x\nkelly-edge: all is well\x1b[32m\u202e"


def test_a_name_can_neither_begin_a_line_nor_colour_it(
    rack: type[Rack], capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    rack.there = [FORGED]
    ports = rack(["jack:nothing", "jack:x*"], told.append)
    ports.scan()
    rack.there = []
    ports.scan()
    assert len(told) == 3
    assert all(line.isprintable() for line in told)
    warn(f"input {FORGED}")
    assert capsys.readouterr().err.count("\n") == 1
