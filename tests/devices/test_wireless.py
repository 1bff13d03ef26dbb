"""RTP-MIDI without a network: packets of others, lost ones, and the life of a session on a virtual clock."""

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_py.__main__ import main
from firmware_py.devices.wireless.bridge import MOST_SESSIONS, Bridge
from firmware_py.devices.wireless.journal import SentJournal
from firmware_py.devices.wireless.lines import Lines
from firmware_py.devices.wireless.midi_list import delta_bytes
from firmware_py.devices.wireless.packets import (
    MOST_BYTES,
    Exchange,
    Feedback,
    Midi,
    Sync,
    read,
    write_exchange,
    write_feedback,
    write_midi,
    write_sync,
)
from firmware_py.devices.wireless.played import Played
from firmware_py.devices.wireless.session import GONE_S, MOST_PER_S, QUIET_S
from kelly_edge.errors import DeviceError
from kelly_edge.shared.command_line import EXIT_FAULT

ON, OFF, PEDAL = bytes((0x90, 60, 80)), bytes((0x80, 60, 0)), bytes((0xB0, 64, 127))
LEFT, RIGHT = ("10.0.0.1", 5004), ("10.0.0.2", 5004)


# --- packets as others write them, octet by octet (RFC 6295, sections 2 and 3) ----------------------------
HEADER = bytes.fromhex("80e1 0007 00000064 0000beef")


@pytest.mark.parametrize(
    ("section", "messages"),
    [
        ("03 903c50", [(0, ON)]),
        ("24 05903c50", [(5, ON)]),
        ("06 903c50 0a 3e51", [(0, ON), (10, bytes((0x90, 62, 81)))]),  # running status
        ("08 903c50 8148 803c00", [(0, ON), (200, OFF)]),  # a delta time of two octets
        ("01 f8", [(0, b"\xf8")]),
        ("03 f8 00 f8", [(0, b"\xf8"), (0, b"\xf8")]),
        ("8010 903c50 00 903c50 00 903c50 00 903c50 00", 4 * [(0, ON)]),  # LEN of twelve bits; an empty end
        ("0a f07e7f0601f7 00 903c50", [(0, ON)]),  # system exclusive is passed over
        ("03 f21002", [(0, bytes((0xF2, 0x10, 2)))]),
        ("00", []),
    ],
)  # fmt: skip
def test_a_list_of_others_is_read(section: str, messages: list[tuple[int, bytes]]) -> None:
    packet = read(HEADER + bytes.fromhex(section))
    assert isinstance(packet, Midi)
    assert (packet.ssrc, packet.number, packet.ticks) == (0xBEEF, 7, 100)
    assert packet.messages == messages
    assert packet.n_exclusive == section.count("f07e")


@pytest.mark.parametrize(
    "section",
    ["03 3c5000", "04 903c50", "03 90bc50", "02 903c", "03 f40000", "0f", "8f", "04 f8 80808080"],
)
def test_a_malformed_list_is_none(section: str) -> None:
    assert read(HEADER + bytes.fromhex(section)) is None


BEGINNINGS = (
    b"",
    b"\xff\xffIN",
    b"\xff\xffCK",
    b"\xff\xffRS",
    b"\xff\xffBY",
    HEADER,
    HEADER + b"\x43\x90\x3c\x50",
)


@settings(max_examples=60)
@given(st.sampled_from(BEGINNINGS), st.binary(max_size=200))
def test_whatever_comes_raises_nothing_and_changes_little(begin: bytes, rest: bytes) -> None:
    left, _ = session()
    before = (len(left.sessions), left.next_due_s())
    left.take(begin + rest, RIGHT, False, 10.0)
    left.take(begin + rest, ("10.0.0.2", 5005), True, 10.0)
    left.tick(10.1)
    assert len(left.sessions) <= before[0] + 2
    assert all(len(datagram.data) <= MOST_BYTES for datagram in left.out)


@given(st.data())
def test_a_packet_that_was_cut_or_damaged_raises_nothing(data: st.DataObject) -> None:
    journal = SentJournal()
    for number, message in enumerate((ON, PEDAL, bytes((0xC3, 5)), bytes((0xE1, 1, 2)), OFF)):
        journal.add(number, 1.0, message)
    packet = write_midi(Midi(1, 9, 5, [(0, ON), (3, OFF)], journal.write(9, 1.05)))
    damaged = bytearray(packet[: data.draw(st.integers(0, len(packet)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(damaged) - 1)), max_size=4)):
        if damaged:
            damaged[at] = data.draw(st.integers(0, 255))
    told = read(bytes(damaged))
    if isinstance(told, Midi):
        for message in Played().repair(told.journal) or ():
            assert message[0] >= 0x80 and all(byte < 0x80 for byte in message[1:])


DATA = st.integers(0, 127)
MESSAGES = st.one_of(
    st.tuples(st.sampled_from([0x80, 0x95, 0xA2, 0xB0, 0xEF]), DATA, DATA).map(bytes),
    st.tuples(st.sampled_from([0xC0, 0xD7]), DATA).map(bytes),
    st.sampled_from([b"\xf8", b"\xfa", b"\xfc"]),
)  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 1 << 20), MESSAGES), max_size=40), st.integers(0, 0xFFFF))
def test_what_is_written_is_read_again(steps: list[tuple[int, bytes]], number: int) -> None:
    ticks, timed = 0, []
    for n, (step, message) in enumerate(steps):
        ticks += step if n else 0
        timed.append((ticks, message))
    packet = Midi(3, number, 77, timed, b"\x00\x00\x01")
    assert read(write_midi(packet)) == packet


@pytest.mark.parametrize("ticks", [0, 127, 128, 16383, 16384, (1 << 28) - 1])
def test_a_delta_time_has_seven_bits_per_octet(ticks: int) -> None:
    data = delta_bytes(ticks)
    assert [byte >> 7 for byte in data] == [1] * (len(data) - 1) + [0]
    assert int("".join(f"{byte & 0x7F:07b}" for byte in data), 2) == ticks


def test_a_list_of_one_octet_has_a_delta_time() -> None:
    """Readers that take such a list for an empty one are told the clock so."""
    assert write_midi(Midi(1, 1, 0, [(0, b"\xf8")]))[12:] == bytes((0x22, 0, 0xF8))
    assert write_midi(Midi(1, 1, 0, [(0, ON)]))[12:] == bytes((0x03, *ON))


def test_commands_are_read_as_written() -> None:
    assert read(write_exchange(b"IN", 7, 9, "Flügel")) == Exchange(b"IN", 7, 9, "Flügel")
    assert read(write_exchange(b"BY", 7, 9)) == Exchange(b"BY", 7, 9)
    assert read(write_sync(9, 1, (1, 2, 3))) == Sync(9, 1, (1, 2, 3))
    assert read(write_feedback(9, 65_535)) == Feedback(9, 65_535)


# --- the journal ----------------------------------------------------------------------------
def test_a_journal_has_the_octets_of_the_standard() -> None:
    journal = SentJournal()
    journal.add(5, 0.0, bytes((0x92, 60, 80)))
    journal.add(6, 0.0, bytes((0x92, 64, 81)))
    journal.add(7, 0.0, bytes((0x82, 60, 0)))
    journal.add(8, 9.95, bytes((0xB2, 64, 127)))
    # Header: A, one channel, checkpoint 6 (what packet 5 said, packet 7 said anew).
    # Channel 2, 3 + 3 + 5 octets, C and N; a controller; a note, releases in octet 7 (note 60 is its bit 4).
    assert journal.write(9, 10.0).hex(" ") == "20 00 06 10 0b 48 00 40 7f 01 77 40 51 08"
    journal.confirm(7)
    assert journal.write(9, 10.0).hex(" ") == "20 00 08 10 06 40 00 40 7f"
    journal.confirm(8)
    assert journal.write(9, 10.0).hex(" ") == "00 00 08"


@given(st.lists(MESSAGES.filter(lambda m: m[0] < 0xF0), max_size=60), st.data())
def test_after_a_loss_the_same_notes_sound_as_without(sent: list[bytes], data: st.DataObject) -> None:
    """Whatever is lost, all is repaired by the next packet that comes: notes, pedals, programs and bends."""
    journal, there, here = SentJournal(), Played(), Played()
    n_lost = data.draw(st.integers(0, len(sent)))
    begin = data.draw(st.integers(0, len(sent) - n_lost))
    told: list[bytes] = []
    for number, message in enumerate(sent):
        there.take(message)
        if begin <= number < begin + n_lost:
            journal.add(number, 0.0, message)
            continue
        told = here.repair(journal.write(number, 0.01)) or []
        here.take(message)
        told.append(message)
        journal.add(number, 0.0, message)
    here.repair(journal.write(len(sent), 0.01))

    def sounds(party: Played) -> dict[tuple[int, int, int], bytes]:
        # Whether, not how loud: a note that sounds is not struck again.
        return {
            key: data if key[1] != 0x90 else b"on" for key, data in party.now.items()
            if data != b"\0" or key[1] != 0x90
        }  # fmt: skip

    assert sounds(here) == sounds(there)


def test_a_note_missed_long_ago_is_not_struck_late_and_a_release_is_never_missed() -> None:
    journal = SentJournal()
    journal.add(1, 0.0, ON)
    assert Played().repair(journal.write(2, 0.05)) == [ON]
    assert Played().repair(journal.write(2, 0.5)) == []
    journal.add(2, 0.5, OFF)
    here = Played()
    here.take(ON)
    assert here.repair(journal.write(3, 99.0)) == [OFF]
    assert here.release() == []


def test_a_journal_stays_within_a_packet() -> None:
    journal = SentJournal()
    for number in range(16 * 128 * 2):
        channel, data1 = number % 16, number // 16 % 128
        journal.add(
            number, 0.0, bytes(((0x90 if number < 2048 else 0xB0) | channel, data1, 1 + number % 127))
        )
    packet = write_midi(Midi(1, 1, 1, [(n, ON) for n in range(100)], journal.write(5000, 0.0)))
    assert len(packet) <= MOST_BYTES
    assert isinstance(read(packet), Midi)


# --- sessions, on a virtual clock ---------------------------------------------------------------


class Net:
    """Two bridges, with a network between them that takes ``trip_s`` and loses what ``loses`` says."""

    def __init__(self, trip_s: float = 0.002, ahead_s: float = 1234.5) -> None:
        self.told: list[str] = []
        self.left = Bridge("left", 0.010, [RIGHT], self.told.append)
        self.right = Bridge("right", 0.010, [], self.told.append)
        self.trip_s, self.ahead_s = trip_s, ahead_s
        self.now_s = 5.0
        self.is_cut = False
        self.loses = 0.0
        self.random = random.Random(1)
        self.flying: list[tuple[float, int, bool, bytes, tuple[str, int]]] = []
        self.played: list[tuple[float, bytes]] = []
        """At the left, by the left's clock."""
        self.n = 0

    def ends(self) -> tuple[tuple[Bridge, tuple[str, int], float], ...]:
        return (self.left, LEFT, 0.0), (self.right, RIGHT, self.ahead_s)

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 0.001
            for bridge, (host, port), ahead_s in self.ends():
                if round(self.now_s * 1000) % 250 == 0:
                    bridge.tick(self.now_s + ahead_s)
                out, bridge.out = bridge.out, []
                for datagram in out:
                    is_midi = not datagram.data.startswith(b"\xff\xff")
                    if self.is_cut or (is_midi and self.random.random() < self.loses):
                        continue
                    self.n += 1
                    sender = (host, port + datagram.is_data)
                    item = (self.now_s + self.trip_s, self.n, datagram.is_data, datagram.data, sender)
                    self.flying.append(item)
            landed = [item for item in sorted(self.flying) if item[0] <= self.now_s]
            self.flying = [item for item in self.flying if item not in landed]
            for _, _, is_data, data, sender in landed:
                to, _, ahead_s = self.ends()[sender[0] == LEFT[0]]
                to.take(data, sender, is_data, self.now_s + ahead_s)
            self.played += [(self.now_s, message) for message in self.left.due(self.now_s)]

    def play(self, message: bytes) -> None:
        """At the right."""
        now_s = self.now_s + self.ahead_s
        self.right.hear([(now_s, message)], now_s)


def session() -> tuple[Bridge, Bridge]:
    net = Net()
    net.run(3.0)
    assert [len(bridge.sessions) for bridge in (net.left, net.right)] == [1, 1]
    return net.left, net.right


def test_a_message_is_played_at_its_time_and_the_delay_whatever_the_clocks_and_the_way() -> None:
    for ahead_s in (0.0, 1234.5, 430_000.0):
        net = Net(trip_s=0.002, ahead_s=ahead_s)
        net.run(3.0)
        for trip_s in (0.001, 0.009, 0.004):
            net.trip_s = trip_s
            sent_s = net.now_s
            net.play(ON)
            net.run(0.05)
            assert net.played.pop()[0] - sent_s == pytest.approx(0.010, abs=0.0016)
        net.trip_s = 0.030
        sent_s = net.now_s
        net.play(OFF)
        net.run(0.05)
        # What comes too late is played at once.
        assert net.played.pop()[0] - sent_s == pytest.approx(0.031, abs=0.0016)


def test_half_of_the_packets_lost_leaves_no_note_and_no_pedal() -> None:
    net = Net()
    net.run(3.0)
    net.loses = 0.5
    choice = random.Random(2)
    for _ in range(300):
        net.play(bytes((choice.choice((0x90, 0x80, 0xB0)), 64, choice.choice((0, 100)))))
        net.run(0.01)
    net.loses = 0.0
    for message in (bytes((0x80, 64, 0)), bytes((0xB0, 64, 0))):
        net.play(message)
    net.run(0.1)
    port = Played()
    for _, message in net.played:
        port.take(message)
    [session] = net.left.sessions.values()
    assert port.release() == [] and session.counts.lost > 50 and session.counts.repaired > 10
    [sender] = net.right.sessions.values()
    # What was confirmed is not told again.
    net.run(3.0)
    assert sender._journal.write(sender.number + 1, 0.0)[0] == 0


@pytest.mark.parametrize("ends", ["killed", "killed while its host answers", "left", "begins anew"])
def test_the_notes_of_an_end_that_is_gone_are_released(ends: str) -> None:
    net = Net()
    net.run(3.0)
    net.play(ON)
    net.play(PEDAL)
    net.run(0.1)
    assert [message for _, message in net.played] == [ON, PEDAL]
    within_s = 0.1
    if ends == "killed":
        net.is_cut, within_s = True, QUIET_S + 1.3
    elif ends == "killed while its host answers":
        net.left.refused((RIGHT[0], RIGHT[1] + 1), net.now_s)
    elif ends == "left":
        net.right._played = Played()
        net.right.close(net.now_s + net.ahead_s)
    else:
        net.left.take(write_exchange(b"IN", 1, 2, "right, once more"), RIGHT, False, net.now_s)
    net.run(within_s)
    assert [message for _, message in net.played[2:]] == [OFF, bytes((0xB0, 64, 0))]
    if ends == "killed":
        assert net.left.sessions
        net.run(GONE_S)
        assert not net.left.sessions and "is gone" in net.told[-1]
        # It is invited again.
        net.is_cut = False
        net.right.sessions.clear()
        net.run(5.0)
        assert net.left.sessions


def test_our_own_end_releases_at_the_others_what_was_played_to_it() -> None:
    net = Net()
    net.run(3.0)
    net.play(ON)
    net.run(0.1)
    net.right.release(net.now_s + net.ahead_s)
    net.run(0.1)
    assert [message for _, message in net.played] == [ON, OFF]
    net.play(ON)
    net.run(0.1)
    net.right.close(net.now_s + net.ahead_s)
    net.run(0.1)
    assert [message for _, message in net.played] == [ON, OFF, ON, OFF]
    assert not net.left.sessions


def test_no_more_than_a_few_and_no_stranger_is_heard() -> None:
    bridge = Bridge("box", 0.0, say=lambda text: None)
    for n in range(MOST_SESSIONS + 3):
        host = f"10.0.1.{n}"
        bridge.take(write_exchange(b"IN", n, 100 + n, "x"), (host, 5004), False, 1.0)
        bridge.take(write_exchange(b"IN", n, 100 + n, "x"), (host, 5005), True, 1.0)
    words = [told.word for datagram in bridge.out if isinstance(told := read(datagram.data), Exchange)]
    assert words.count(b"OK") == 2 * MOST_SESSIONS and words.count(b"NO") == 3
    packet = write_midi(Midi(100, 1, 0, [(0, ON)]))
    bridge.take(packet, ("10.0.9.9", 5005), True, 1.0)
    assert bridge.next_due_s() is None
    bridge.take(write_exchange(b"BY", 0, 100), ("10.0.9.9", 5004), False, 1.0)
    assert len(bridge.sessions) == MOST_SESSIONS
    bridge.take(packet, ("10.0.1.0", 5005), True, 1.0)
    assert bridge.due(1.0) == [ON]


def test_more_messages_than_two_cables_carry_are_not_taken_and_leave_no_note() -> None:
    net = Net()
    net.run(3.0)
    for _ in range(2 * MOST_PER_S // 100):
        net.right.hear([(net.now_s + net.ahead_s, ON)] * 100, net.now_s + net.ahead_s)
    net.play(OFF)
    net.run(1.5)
    [session] = net.left.sessions.values()
    assert session.counts.too_many > 0
    assert len(net.played) <= 2 * MOST_PER_S
    net.play(PEDAL)
    net.run(0.1)
    assert [message for _, message in net.played[-2:]] == [OFF, PEDAL]


# --- sockets of this machine --------------------------------------------------------------------


class End:
    """One of our own ends on real sockets."""

    def __init__(self, port: int, *peers: int) -> None:
        self.bridge = Bridge("end", 0.001, [("127.0.0.1", peer) for peer in peers], lambda text: None)
        self.lines = Lines("127.0.0.1", port)
        self.played: list[bytes] = []

    def step(self) -> None:
        self.lines.receive(self.bridge)
        self.bridge.tick(time.monotonic())
        self.played += self.bridge.due(time.monotonic())
        self.lines.send(self.bridge)

    def is_in_session(self) -> bool:
        return any(session.is_open for session in self.bridge.sessions.values())


def test_two_ends_on_sockets_play_to_each_other_and_one_that_is_killed_is_missed() -> None:
    # Two pairs of this process's own, so that several may run beside each other.
    port = 20_000 + 4 * (os.getpid() % 3_000)
    ends = [End(port), End(port + 2, port)]

    def until(is_so: Callable[[], bool]) -> None:
        end_s = time.monotonic() + 60.0
        while not is_so():
            assert time.monotonic() < end_s
            for end in ends:
                end.step()
            time.sleep(0.005)

    until(lambda: all(end.is_in_session() for end in ends))
    for end in ends:
        end.bridge.hear([(time.monotonic(), ON), (time.monotonic(), PEDAL)], time.monotonic())
    until(lambda: all(end.played == [ON, PEDAL] for end in ends))
    # Its sockets are closed, and nobody said farewell.
    ends.pop().lines.close()
    until(lambda: ends[0].played == [ON, PEDAL, OFF, bytes((0xB0, 64, 0))])
    assert not ends[0].bridge.sessions
    with pytest.raises(DeviceError, match=rf"cannot listen at 127\.0\.0\.1:{port}: .*wireless\.bind"):
        Lines("127.0.0.1", port)
    ends[0].lines.close()


def test_without_an_address_there_is_no_bridge_and_a_unit_has_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["wireless"]) == EXIT_FAULT
    [line] = capfd.readouterr().err.strip().splitlines()
    assert "wireless.bind: is empty" in line
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert main(["wireless"]) == 0
        assert manager.recv(100) == b"READY=1"


class Client:
    """What of rtmidi's input is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def get_ports(self) -> list[str]:
        return [self._name]

    def open_port(self, number: int, name: str) -> None:
        pass

    def ignore_types(self, **_: bool) -> None:
        pass

    def set_callback(self, told: Callable[[tuple[list[int], float]], None]) -> None:
        self.tell = told


@pytest.mark.parametrize(
    ("name", "held_s"), [("Kelly Edge wireless:out 128:1", 0.010), ("Clavinova 20:0", 0.0)]
)
def test_the_delay_of_the_bridge_is_taken_off_the_time_of_what_it_plays(name: str, held_s: float) -> None:
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
    from firmware_py.devices.midi.inputs import MidiInputs, TimedInput

    client = Client(name)
    inputs = MidiInputs((), lambda text: None, hears_clock=True, wireless_held_s=0.010)
    port = inputs._open_named(client, name)
    assert isinstance(port, TimedInput)
    before_s = time.monotonic()
    client.tell(([0xF8], 0.0))
    [(message, time_s)] = port.ticks()
    assert message == b"\xf8" and before_s <= time_s + held_s <= time.monotonic()
