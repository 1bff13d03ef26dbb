"""MIDI outputs: raw devices and JACK ports come, go and come back; no note-off is lost to a slow receiver."""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest

rtmidi = pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")

from firmware_py.board.pipes import F_SETPIPE_SZ, PAGE  # noqa: E402
from firmware_py.devices.midi.outputs import MAX_PENDING_BYTES, MidiPorts  # noqa: E402


def listen(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def heard(fd: int) -> list[bytes]:
    """Whole messages, without the All Notes Off that greets a new port."""
    try:
        data = os.read(fd, 1 << 20)
    except BlockingIOError:
        return []
    messages = [data[i : i + 3] for i in range(0, len(data), 3)]
    return [message for message in messages if message[0] & 0xF0 != 0xB0]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "midi"
    os.mkfifo(path)
    return path


def test_a_raw_receiver_may_come_late_go_and_come_back(pipe: Path) -> None:
    warnings: list[str] = []
    ports = MidiPorts((f"raw:{pipe}",), warnings.append)
    assert ports.names == []
    ports.send(0.0, 0x90, 60, 80)
    fd = listen(pipe)
    ports.scan()
    assert ports.names == [f"raw:{pipe}"]
    ports.send(0.0, 0x90, 61, 80)
    assert heard(fd) == [bytes((0x90, 61, 80))]
    os.close(fd)
    ports.send(0.0, 0x80, 61, 0)
    assert ports.names == []
    assert ports.n_lost == 1
    fd = listen(pipe)
    ports.scan()
    ports.send(0.0, 0x90, 62, 80)
    assert heard(fd) == [bytes((0x90, 62, 80))]
    ports.close()
    os.close(fd)
    assert [text.split(" is ")[1].split()[0] for text in warnings] == [
        "not",
        "connected",
        "gone;",
        "connected",
    ]


def test_a_slow_receiver_loses_note_ons_never_note_offs(pipe: Path) -> None:
    fd = listen(pipe)
    fcntl.fcntl(fd, F_SETPIPE_SZ, PAGE)
    ports = MidiPorts((f"raw:{pipe}",), lambda text: None)
    n_notes = 5_000
    for n in range(n_notes):
        ports.send(0.0, 0x90, n % 128, 80)
    for pitch in range(128):
        ports.send(0.0, 0x80, pitch, 0)
    got: list[bytes] = []
    while messages := heard(fd):
        got += messages
        ports.scan()
    ports.close()
    os.close(fd)
    n_held = PAGE + MAX_PENDING_BYTES
    assert n_held / 3 - 64 < sum(message[0] == 0x90 for message in got) < n_notes
    assert [message[1] for message in got if message[0] == 0x80] == list(range(128))


def test_every_port_that_matches_is_played_to(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        os.mkfifo(path)
    fds = [listen(path) for path in paths]
    ports = MidiPorts(tuple(f"raw:{path}" for path in paths), lambda text: None)
    ports.send(0.0, 0x90, 60, 80)
    assert [heard(fd) for fd in fds] == [[bytes((0x90, 60, 80))]] * 2
    ports.close()
    for fd in fds:
        os.close(fd)


def test_an_absent_sequencer_is_one_line_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_py.devices.midi.named_ports.SEQUENCER", tmp_path / "seq")
    warnings: list[str] = []
    ports = MidiPorts(("*",), warnings.append)
    for _ in range(3):
        ports.scan()
        ports.send(0.0, 0x90, 60, 80)
    assert ports.names == []
    assert len(warnings) == 1
    assert "snd-seq" in warnings[0]


def test_a_jack_port_is_found_by_its_name_and_played_to_across_clients(server: Any) -> None:
    if rtmidi.API_UNIX_JACK not in rtmidi.get_compiled_api():
        pytest.skip("this python-rtmidi has no JACK")
    instrument = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, "piano")
    instrument.open_virtual_port("keys")
    warnings: list[str] = []
    ports = MidiPorts(("jack:*piano*",), warnings.append)
    assert len(ports.names) == 1
    end_s = time.monotonic() + 300
    got: list[list[int]] = []
    # JACK makes a connection in its own time; what is sent before is lost.
    while [0x90, 60, 80] not in got and time.monotonic() < end_s:
        ports.send(0.0, 0x90, 60, 80)
        time.sleep(0.05)
        while message := instrument.get_message():
            got.append(message[0])
    assert [0x90, 60, 80] in got
    instrument.close_port()
    ports.scan()
    assert ports.names == []
    assert ports.n_lost == 1
    ports.close()
