"""MIDI inputs: controllers come, go and come back; the box's own ports are not heard."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.devices.midi.inputs import MAX_MESSAGES, ChannelMessages, MidiInputs  # noqa: E402
from firmware_py.devices.midi.outputs import MidiPorts  # noqa: E402
from firmware_py.devices.midi.port_names import stable_name  # noqa: E402

PATIENCE_S = 300.0
"""Only a fault takes this long."""


def received(inputs: MidiInputs, n_wanted: int, within_s: float = PATIENCE_S) -> list[tuple[str, bytes]]:
    """What comes until ``n_wanted`` messages did, or too long passed."""
    end_s, got = time.monotonic() + within_s, []
    while len(got) < n_wanted and time.monotonic() < end_s:
        got += list(inputs.receive())
        time.sleep(0.005)
    return got


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "midi"
    os.mkfifo(path)
    return path


def test_a_raw_controller_may_use_running_status_and_send_clock_in_between(pipe: Path) -> None:
    inputs = MidiInputs((f"raw:{pipe}",), lambda text: None)
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, bytes((0xB0, 21, 1, 21, 0xF8, 2)))
    os.write(fd, bytes((21,)))
    assert [m for _, m in inputs.receive()] == [bytes((0xB0, 21, n)) for n in (1, 2)]
    os.write(fd, bytes((3,)))
    assert list(inputs.receive()) == [(f"raw:{pipe}", bytes((0xB0, 21, 3)))]
    os.close(fd)
    inputs.close()


@pytest.mark.parametrize("n_split", range(1, 6))
def test_messages_are_whole_however_the_bytes_come(n_split: int) -> None:
    stream = bytes.fromhex("90 3c 50 3c 00 c0 05 06 f0 7e b0 b0 15 01 f8 16 02 f6 17 03 e0 00 40")
    parser, got = ChannelMessages(), []
    for first in range(0, len(stream), n_split):
        got += parser.feed(stream[first : first + n_split])
    assert [message.hex() for message in got] == [
        "903c50",
        "903c00",
        "c005",
        "c006",
        "b01501",
        "b01602",
        "e00040",
    ]


def test_a_raw_device_that_is_absent_is_said_once_and_taken_when_it_comes(tmp_path: Path) -> None:
    warnings: list[str] = []
    path = tmp_path / "midi"
    inputs = MidiInputs((f"raw:{path}",), warnings.append)
    inputs.scan()
    assert inputs.names == []
    os.mkfifo(path)
    inputs.scan()
    assert inputs.names == [f"raw:{path}"]
    assert len(warnings) == 2
    assert "midi.inputs" in warnings[0]
    inputs.close()


def test_a_flood_is_bounded_at_each_look(pipe: Path) -> None:
    inputs = MidiInputs((f"raw:{pipe}",), lambda text: None)
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, bytes((0xB0, 21, 1)) * 4 * MAX_MESSAGES)
    assert len(list(inputs.receive())) <= MAX_MESSAGES
    os.close(fd)
    inputs.close()


def test_no_inputs_open_nothing() -> None:
    inputs = MidiInputs((), print)
    assert inputs.names == []
    assert list(inputs.receive()) == []
    inputs.close()


def test_alsa_s_numbers_are_no_part_of_a_port_s_name() -> None:
    name = "alsa:nanoKONTROL2:nanoKONTROL2 MIDI 1"
    assert stable_name(f"{name} 20:0") == stable_name(f"{name} 128:1") == name
    assert stable_name("raw:/dev/snd/midiC1D0") == "raw:/dev/snd/midiC1D0"


def test_an_absent_sequencer_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_py.devices.midi.named_ports.SEQUENCER", tmp_path / "seq")
    inputs = MidiInputs(("*",), print)
    assert inputs.names == []
    inputs.close()


@pytest.fixture
def jack(server: Any) -> Any:
    if rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api():
        pytest.skip("this python-rtmidi has no JACK")
    return server


def test_a_jack_controller_is_heard_across_clients_goes_and_comes_back(jack: Any) -> None:
    warnings: list[str] = []
    inputs = MidiInputs(("jack:*knobs*",), warnings.append)
    for _ in range(2):
        controller = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, "knobs")
        controller.open_virtual_port("out")
        inputs.scan()
        (name,) = inputs.names
        got: list[tuple[str, bytes]] = []
        end_s = time.monotonic() + PATIENCE_S
        # JACK makes a connection in its own time; what is sent before is lost.
        while not got and time.monotonic() < end_s:
            controller.send_message([0xB0, 21, 99])
            got = received(inputs, 1, within_s=0.1)
        assert set(got) == {(stable_name(name), bytes((0xB0, 21, 99)))}
        controller.close_port()
        controller.delete()
        inputs.scan()
        assert inputs.names == []
    inputs.close()
    assert ["connected" in text for text in warnings] == [True, False, True, False]


class Told:
    """Keeps what it is told of pedal and bend."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.gone: list[str] = []

    def hear(self, port: str, message: bytes) -> None:
        self.heard.append((port, message))

    def forget(self, port: str) -> None:
        self.gone.append(port)


def test_a_pedal_is_told_at_once_and_forgotten_when_its_keyboard_goes(jack: Any) -> None:
    told = Told()
    inputs = MidiInputs(("jack:*keys*",), lambda text: None, hand=told)
    keyboard = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, "keys")
    keyboard.open_virtual_port("out")
    inputs.scan()
    end_s = time.monotonic() + PATIENCE_S
    # Nobody looks: rtmidi's own thread tells.
    while not told.heard and time.monotonic() < end_s:
        keyboard.send_message([0xB0, 64, 127])
        time.sleep(0.05)
    port, message = told.heard[0]
    assert message == bytes((0xB0, 64, 127))
    # Controllers hear it too, in their time.
    assert bytes((0xB0, 64, 127)) in [message for _, message in inputs.receive()]
    keyboard.close_port()
    keyboard.delete()
    inputs.scan()
    assert told.gone == [port]
    inputs.close()


def test_a_raw_keyboard_s_pedal_is_told_when_it_is_read(pipe: Path) -> None:
    told = Told()
    inputs = MidiInputs((f"raw:{pipe}",), lambda text: None, hand=told)
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, bytes((0xB0, 64, 127, 0xE0, 0, 0x50)))
    assert len(list(inputs.receive())) == 2
    assert told.heard == [(str(pipe), bytes((0xB0, 64, 127))), (str(pipe), bytes((0xE0, 0, 0x50)))]
    os.close(fd)
    inputs.close()


def test_the_box_does_not_hear_itself(jack: Any) -> None:
    instrument = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, "piano")
    instrument.open_virtual_port("keys")
    ports = MidiPorts(("jack:*piano*",), lambda text: None)
    assert len(ports.names) == 1
    inputs = MidiInputs(("jack:*",), lambda text: None)
    inputs.scan()
    assert not [name for name in inputs.names if "kelly_edge" in name]
    inputs.close()
    ports.close()
    instrument.close_port()


NAMES = ("knobs [A]", "knobs {b} *?", "[x")


@pytest.mark.parametrize("name", NAMES)
def test_a_jack_port_is_opened_by_its_own_name_whatever_it_holds(jack: Any, name: str) -> None:
    controller = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name)
    controller.open_virtual_port("out")
    other = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, "knobs A")
    other.open_virtual_port("out")
    inputs = MidiInputs((f"jack:{name}:out",), lambda text: None)
    try:
        assert inputs.names == [f"jack:{name}:out"]
        time.sleep(0.1)
        controller.send_message([0xB0, 21, 99])
        assert received(inputs, 1) == [(f"jack:{name}:out", bytes((0xB0, 21, 99)))]
    finally:
        inputs.close()
        for port in (controller, other):
            port.close_port()
            port.delete()


def test_a_jack_port_s_name_makes_no_line_of_ours(jack: Any) -> None:
    forger = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, "x\nkelly-edge: all is well\x1b[32m")
    forger.open_virtual_port("out")
    told: list[str] = []
    inputs = MidiInputs(("jack:x*",), told.append)
    forger.close_port()
    forger.delete()
    inputs.scan()
    inputs.close()
    assert len(told) == 2
    assert all(line.isprintable() for line in told)
