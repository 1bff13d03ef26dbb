"""ALSA MIDI ports that come and go, also when nobody looks."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.devices import named_ports
from firmware_py.devices.named_ports import NamedPorts, connections

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
