"""Every kind of MIDI controller is known by what it sends; it makes a monotone knob, also after a restart."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from firmware_py.board.map import memory_board
from firmware_py.commands.learn import listen
from firmware_py.devices.files.learned_controls import (
    ControlsFile,
    read_controls,
    store_controls,
    with_control,
)
from firmware_py.devices.midi.inputs import ChannelMessages
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.ports.learned import (
    BINARY_OFFSET,
    CC,
    INCREMENTS,
    LSB_FIRST,
    LSB_ONLY,
    MSB_FIRST,
    NRPN,
    RELATIVE,
    RPN,
    SEVEN_BIT,
    SIGN_MAGNITUDE,
    SWITCH,
    TWOS_COMPLEMENT,
    Learned,
)
from firmware_py.processes.control import ControlStage
from firmware_py.processes.controller_values import steps
from firmware_py.processes.controllers import CONTROLS, ControllerStage
from firmware_py.processes.feedback import FeedbackGuard
from firmware_py.settings import Settings
from kelly_edge.contract import KNOBS_DTYPE
from kelly_edge.errors import DeviceError

PORT = "alsa:Controller"
CHANNEL = 2
N_VOICES = 5
Gesture = list[tuple[float, bytes]]
"""Messages and when they come, in s."""


def cc(number: int, value: int, channel: int = CHANNEL) -> bytes:
    return bytes((0xB0 | channel, number, value))


# --- what controllers send -----------------------------------------------------------------


class Sender:
    """A device that sends the positions (0..1) or steps of a hand as its kind does."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._sent = (-1, -1)

    def position(self, share: float) -> list[bytes]:
        top = 127 if self.kind in ("7-bit", "7-bit of 33", "NRPN 7-bit", "NRPN LSB only") else 16_383
        value = round(share * top)
        coarse, fine = value >> 7, value & 127
        if (coarse, fine) == self._sent:
            return []
        is_new_coarse, self._sent = coarse != self._sent[0], (coarse, fine)
        select = [cc(99, 5), cc(98, 7)]
        return {
            "7-bit": [cc(21, value & 127)],
            "7-bit of 33": [cc(33, value & 127)],
            "14-bit, MSB first": [cc(1, coarse), cc(33, fine)],
            "14-bit, LSB first": [cc(33, fine), cc(1, coarse)],
            "14-bit, MSB first where it is new": [*([cc(1, coarse)] if is_new_coarse else []), cc(33, fine)],
            "14-bit, LSB first, MSB where it is new": [
                cc(33, fine),
                *([cc(1, coarse)] if is_new_coarse else []),
            ],
            "NRPN": [*select, cc(6, coarse), cc(38, fine)],
            "NRPN, number's halves the other way round": [*select[::-1], cc(6, coarse), cc(38, fine)],
            "NRPN, LSB first": [*select, cc(38, fine), cc(6, coarse)],
            "NRPN, deselected each time": [*select, cc(6, coarse), cc(38, fine), cc(101, 127), cc(100, 127)],
            "NRPN 7-bit": [*select, cc(6, value & 127)],
            "NRPN LSB only": [*select, cc(6, 0), cc(38, value & 127)],
            "RPN": [cc(101, 0), cc(100, 2), cc(6, coarse), cc(38, fine)],
        }[self.kind]

    def steps(self, n: int) -> list[bytes]:
        if self.kind == "NRPN increments":
            return [cc(99, 5), cc(98, 7), *([cc(96 if n > 0 else 97, 0)] * abs(n))]
        return [
            cc(
                16,
                {TWOS_COMPLEMENT: n % 128, BINARY_OFFSET: 64 + n, SIGN_MAGNITUDE: n if n > 0 else 64 - n}[
                    self.kind
                ],
            )
        ]


NUMBER = 5 << 7 | 7
KNOBS = {
    "7-bit": (CC, 21, SEVEN_BIT),
    "7-bit of 33": (CC, 33, SEVEN_BIT),
    "14-bit, MSB first": (CC, 1, MSB_FIRST),
    "14-bit, LSB first": (CC, 1, LSB_FIRST),
    "14-bit, MSB first where it is new": (CC, 1, MSB_FIRST),
    "14-bit, LSB first, MSB where it is new": (CC, 1, LSB_FIRST),
    "NRPN": (NRPN, NUMBER, MSB_FIRST),
    "NRPN, number's halves the other way round": (NRPN, NUMBER, MSB_FIRST),
    "NRPN, LSB first": (NRPN, NUMBER, LSB_FIRST),
    "NRPN, deselected each time": (NRPN, NUMBER, MSB_FIRST),
    "NRPN 7-bit": (NRPN, NUMBER, SEVEN_BIT),
    "NRPN LSB only": (NRPN, NUMBER, LSB_ONLY),
    "RPN": (RPN, 2, MSB_FIRST),
}
ENCODERS = {
    **{coding: (CC, 16, coding) for coding in RELATIVE},
    "NRPN increments": (NRPN, NUMBER, INCREMENTS),
}


def sweep(kind: str, seconds: float, rng: random.Random, ends: tuple[float, float] = (0.0, 1.0)) -> Gesture:
    """A hand from one end to the other, with the unevenness of hands and of a device's scanning."""
    sender, gesture = Sender(kind), []
    n = max(3, round(seconds / 0.01))
    for i in range(n + 1):
        share = min(max(i / n + rng.uniform(-0.4, 0.4) / n, 0.0), 1.0) if 0 < i < n else i / n
        begin, end = ends
        time_s = i * 0.01 + rng.uniform(0.0, 0.004)
        gesture += [(time_s, message) for message in sender.position(begin + share * (end - begin))]
    return gesture


def detents(kind: str, n_each_way: int, rng: random.Random, fastest: int) -> Gesture:
    """An encoder there and back, with acceleration up to ``fastest`` steps per message."""
    sender, gesture, time_s = Sender(kind), list[tuple[float, bytes]](), 0.0
    for sign in (1, -1):
        for i in range(n_each_way):
            # A hand speeds up and slows down.
            speed = 1.0 - abs(2.0 * i / n_each_way - 1.0)
            size = max(1, round(speed * fastest * rng.uniform(0.6, 1.0)))
            time_s += rng.uniform(0.01, 0.12)
            gesture += [(time_s, message) for message in sender.steps(sign * size)]
    return gesture


def noise(seconds: float, rng: random.Random) -> Gesture:
    """What else is on a cable: a trembling knob, pressure, bends, notes, a pedal held and let go."""
    gesture, n = list[tuple[float, bytes]](), max(1, round(seconds * 20))
    for i in range(n):
        time_s = seconds * i / n
        gesture.append(
            (
                time_s,
                rng.choice(
                    (
                        cc(74, 40 + rng.randrange(3)),
                        cc(7, 100, 9),
                        bytes((0xD0 | CHANNEL, rng.randrange(128))),
                        bytes((0xE0 | CHANNEL, rng.randrange(128), rng.randrange(128))),
                        bytes((0xA0 | CHANNEL, 60, rng.randrange(128))),
                        bytes((0x90 | CHANNEL, rng.randrange(128), rng.randrange(128))),
                        bytes((0xC0 | CHANNEL, rng.randrange(128))),
                    )
                ),
            )
        )
    gesture += [(0.1 * seconds, cc(64, 127)), (0.8 * seconds, cc(64, 0))]
    return gesture


class Cable:
    """Inputs that give a gesture as its time comes, through the raw parser, among clock and sensing."""

    def __init__(self, gesture: Gesture, clock: VirtualClock) -> None:
        self._waiting = sorted(gesture, key=lambda item: item[0])
        self._clock = clock
        self._parser = ChannelMessages()

    def receive(self) -> Iterator[tuple[str, bytes]]:
        data = b""
        while self._waiting and self._waiting[0][0] <= self._clock.now_s():
            message = self._waiting.pop(0)[1]
            data += b"\xf8" + message[:1] + b"\xfe" + message[1:]
        for message in self._parser.feed(data):
            yield PORT, message

    def scan(self) -> None:
        pass


def learned_from(
    gesture: Gesture, control: str = "valence", seconds: float = 60.0, told: list[str] | None = None
) -> Learned:
    clock = VirtualClock()

    def sleep(duration_s: float) -> None:
        clock.time_s += duration_s

    tell = (lambda text: None) if told is None else told.append
    return listen(control, Cable(gesture, clock), seconds, clock.now_s, sleep, tell)


def driven(learned: Learned, gesture: Gesture, path: Path, control: str = "valence") -> list[float]:
    """The knob's values while ``gesture`` is played to a control process begun anew from the stored map."""
    store_controls(path, (learned,))
    clock, board = VirtualClock(), memory_board()
    knobs = ControlStage(board.ends("control"), Settings(), ListJournal())
    stage = ControllerStage(
        knobs, Cable(gesture, clock), ControlsFile(path).changed, FeedbackGuard(), N_VOICES, print, clock
    )
    values, record = [], np.zeros((), KNOBS_DTYPE)
    end_s = max(time_s for time_s, _ in gesture) + 0.5
    while clock.time_s < end_s:
        clock.time_s += 0.1
        stage.step()
        assert board.cells["knobs"].read(record)
        values.append(float(record[CONTROLS[control].knob]))
    return values


SPEEDS_S = (0.4, 2.0, 12.0)


@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("seconds", SPEEDS_S)
@pytest.mark.parametrize("kind", KNOBS)
def test_a_knob_of_any_kind_is_learned_for_what_it_is_and_drives_the_knob_evenly(
    kind: str, seconds: float, has_noise: bool, tmp_path: Path
) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        gesture = sweep(kind, seconds, rng) + (noise(seconds, rng) if has_noise else [])
        learned = learned_from(gesture)
        assert learned == Learned("valence", PORT, CHANNEL, *reordered(KNOBS[kind]))
        for ends in ((0.0, 1.0), (1.0, 0.0)):
            values = driven(learned, sweep(kind, seconds, rng, ends), tmp_path / "controls.json")
            moved = values if ends[0] == 0.0 else [-value for value in values]
            # The first looks may be at the knob before the controller was heard at all.
            moved = moved[next(i for i, v in enumerate(moved) if v != 0.0) :]
            assert moved == sorted(moved)
            assert moved[-1] == 1.0


def reordered(kind: tuple[str, int, str]) -> tuple[int, str, str]:
    address, number, coding = kind
    return number, address, coding


@pytest.mark.parametrize("fastest", [1, 3, 8, 20])
@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("kind", ENCODERS)
def test_an_endless_encoder_is_learned_with_its_coding_and_turns_by_steps(
    kind: str, has_noise: bool, fastest: int, tmp_path: Path
) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        gesture = detents(kind, 30, rng, fastest)
        learned = learned_from(gesture + (noise(3.0, rng) if has_noise else []))
        assert learned == Learned("valence", PORT, CHANNEL, *reordered(ENCODERS[kind]))
        up = [item for n in range(60) for item in [(0.1 * n + 0.05, m) for m in Sender(kind).steps(1)]]
        values = driven(learned, up, tmp_path / "controls.json")
        assert values == sorted(values)
        assert np.diff(values).max() == pytest.approx(0.04)
        assert values[-1] == 1.0
        down = [(0.1 * n + 0.05, m) for n in range(60) for m in Sender(kind).steps(-1)]
        assert driven(learned, down, tmp_path / "controls.json")[-1] == -1.0
        five = [(0.0, m) for _ in range(5) for m in Sender(kind).steps(1)]
        assert driven(learned, five, tmp_path / "controls.json")[-1] == pytest.approx(0.2)


@given(
    st.sampled_from(sorted(KNOBS)),
    st.floats(0.2, 20.0),
    st.integers(0, 10**6),
    st.booleans(),
)
@settings(max_examples=60)
@example("14-bit, MSB first where it is new", 18.0, 1, True)
def test_any_hand_at_a_knob_is_understood(kind: str, seconds: float, seed: int, is_upward: bool) -> None:
    rng = random.Random(seed)
    gesture = sweep(kind, seconds, rng, (0.0, 1.0) if is_upward else (1.0, 0.0))
    learned = learned_from(gesture + noise(seconds, rng))
    assert learned == Learned("valence", PORT, CHANNEL, *reordered(KNOBS[kind]))


@given(st.sampled_from(sorted(ENCODERS)), st.integers(8, 80), st.integers(1, 24), st.integers(0, 10**6))
@settings(max_examples=60)
def test_any_hand_at_an_encoder_is_understood(kind: str, n: int, fastest: int, seed: int) -> None:
    rng = random.Random(seed)
    assert learned_from(detents(kind, n, rng, fastest) + noise(4.0, rng)) == Learned(
        "valence", PORT, CHANNEL, *reordered(ENCODERS[kind])
    )


# --- what cannot serve is named ------------------------------------------------------------


def refusal(gesture: Gesture, control: str = "valence") -> str:
    with pytest.raises(DeviceError) as caught:
        learned_from(gesture, control, seconds=20.0)
    line = str(caught.value)
    assert line.isprintable()
    return line


PRESSES = [(float(n), cc(64, 127 * (1 - n % 2))) for n in range(6)]


def test_a_pedal_is_a_button_and_no_knob() -> None:
    for gesture in (PRESSES, PRESSES[:1], [(0.1 * n, cc(64, 127)) for n in range(30)] + [(3.1, cc(64, 0))]):
        assert "control change 64 (button or pedal: switch), channel 3" in refusal(gesture)
        assert learned_from(gesture, "panic") == Learned("panic", PORT, CHANNEL, 64, CC, SWITCH)


def test_a_pedal_that_also_sends_what_lies_between_serves_as_both() -> None:
    gesture = sweep("7-bit", 1.0, random.Random(1))
    pedal = [(time_s, cc(64, message[2])) for time_s, message in gesture]
    assert learned_from(pedal).coding == SEVEN_BIT
    assert learned_from(pedal, "panic").number == 64


def test_a_knob_is_no_button() -> None:
    line = refusal(sweep("7-bit", 1.0, random.Random(1)), "panic")
    assert line.endswith("control change 21, channel 3, alsa:Controller: panic needs a button or a pedal")


def test_mute_takes_a_button_and_a_fader(tmp_path: Path) -> None:
    assert learned_from(PRESSES, "mute").coding == SWITCH
    fader = learned_from(sweep("7-bit", 1.0, random.Random(1)), "mute")
    assert fader.coding == SEVEN_BIT
    presses = [(0.1, cc(21, 127)), (0.5, cc(21, 0)), (0.9, cc(21, 100))]
    learned = Learned("mute", PORT, CHANNEL, 21, CC, SWITCH)
    assert driven(learned, presses, tmp_path / "c.json", "mute")[-1] == 1.0


@pytest.mark.parametrize("coding", RELATIVE)
def test_an_encoder_turned_one_way_is_asked_to_be_turned_back(coding: str) -> None:
    told: list[str] = []
    one_way = [(0.1 * n, m) for n in range(30) for m in Sender(coding).steps(1)]
    assert "one way only; turn it back" in refusal(one_way)
    back = [(5.0 + 0.1 * n, m) for n in range(5) for m in Sender(coding).steps(-1)]
    assert learned_from(one_way + back, told=told).coding == coding
    assert len(told) == 1


@pytest.mark.parametrize("number", [38, 96, 97])
def test_data_entry_without_its_parameter_is_no_knob(number: int) -> None:
    gesture = [(0.05 * n, cc(number, n)) for n in range(128)]
    assert "NRPN or RPN that was not selected" in refusal(gesture)


@pytest.mark.parametrize("number", [98, 99, 100, 101])
def test_the_selection_of_a_parameter_is_no_knob(number: int) -> None:
    assert "no controller was turned" in refusal([(0.05 * n, cc(number, n)) for n in range(128)])


@pytest.mark.parametrize(
    ("status", "name"), [(0xE0, "pitch bend"), (0xD0, "channel pressure"), (0x90, "notes")]
)
def test_what_is_no_control_change_is_named(status: int, name: str) -> None:
    n_bytes = 2 if status == 0xD0 else 3
    gesture = [(0.05 * n, bytes((status | CHANNEL, n, n))[:n_bytes]) for n in range(100)]
    assert f"{name}, channel 3, {PORT}: not a control change" in refusal(gesture)


def test_a_hand_that_hardly_moves_is_asked_for_more() -> None:
    for kind, share in (("7-bit", 0.05), ("14-bit, MSB first", 0.005), ("NRPN", 0.005)):
        assert "turned too little" in refusal(sweep(kind, 1.0, random.Random(1), (0.5, 0.5 + share)))


def test_a_pedal_held_while_a_knob_is_turned_is_not_taken_for_it() -> None:
    held = [(0.02 * n, cc(64, 127)) for n in range(50)] + [(1.2, cc(64, 0))]
    assert learned_from(held + sweep("7-bit", 3.0, random.Random(2))).number == 21


def test_two_knobs_whose_numbers_could_be_one_are_two() -> None:
    both = [(0.02 * n, cc(1, n)) for n in range(128)] + [
        (0.02 * n + 0.01, cc(33, 64 + n // 8)) for n in range(128)
    ]
    assert learned_from(both) == Learned("valence", PORT, CHANNEL, 1)


# --- playing -------------------------------------------------------------------------------


def test_a_pair_split_between_two_looks_makes_no_jump(tmp_path: Path) -> None:
    for coding, numbers in ((MSB_FIRST, (1, 33)), (LSB_FIRST, (33, 1))):
        gesture = []
        for n, value in enumerate(range(8_000, 8_400, 20)):
            halves = {1: value >> 7, 33: value & 127}
            # The stage looks each 0.1 s: between the two.
            gesture += [(0.1 * n + 0.0999, cc(numbers[0], halves[numbers[0]]))]
            gesture += [(0.1 * n + 0.1001, cc(numbers[1], halves[numbers[1]]))]
        values = driven(
            Learned("dry_wet", PORT, CHANNEL, 1, CC, coding), gesture, tmp_path / "c.json", "dry_wet"
        )
        moved = [value for value in values if value != values[0]]
        assert moved == sorted(moved)
        assert moved[-1] == pytest.approx(8_380 / 16_383, abs=1e-6)


def test_a_coarse_half_that_comes_alone_counts_at_the_next_look(tmp_path: Path) -> None:
    gesture = [(0.25, cc(1, 127))]
    values = driven(
        Learned("dry_wet", PORT, CHANNEL, 1, CC, MSB_FIRST), gesture, tmp_path / "c.json", "dry_wet"
    )
    assert values[-1] == pytest.approx((127 << 7) / 16_383, abs=1e-6)


def test_data_entry_of_another_parameter_turns_nothing(tmp_path: Path) -> None:
    learned = Learned("valence", PORT, CHANNEL, NUMBER, NRPN, SEVEN_BIT)
    other = [(0.1, cc(99, 5)), (0.1, cc(98, 8)), (0.1, cc(6, 127))]
    assert set(driven(learned, other, tmp_path / "c.json")) == {0.0}
    null = [(0.1, cc(99, 127)), (0.1, cc(98, 127)), (0.1, cc(6, 127))]
    assert set(driven(learned, null, tmp_path / "c.json")) == {0.0}
    registered = [(0.1, cc(101, 5)), (0.1, cc(100, 7)), (0.1, cc(6, 127))]
    assert set(driven(learned, registered, tmp_path / "c.json")) == {0.0}


def test_a_parameter_selected_before_a_restart_is_known_where_it_is_the_only_one(tmp_path: Path) -> None:
    learned = Learned("valence", PORT, CHANNEL, NUMBER, NRPN, SEVEN_BIT)
    assert driven(learned, [(0.1, cc(6, 127))], tmp_path / "c.json")[-1] == 1.0


@pytest.mark.parametrize("control", ["voice", "octave", "programme"])
def test_an_encoder_passes_over_no_choice(control: str, tmp_path: Path) -> None:
    learned = Learned(control, PORT, CHANNEL, 16, CC, TWOS_COMPLEMENT)
    gesture = [(0.1 * n + 0.05, cc(16, 9)) for n in range(8)]
    values = driven(learned, gesture, tmp_path / "c.json", control)
    assert set(np.diff(values)) == {0.0, 1.0}
    high = N_VOICES - 1 if control == "voice" else CONTROLS[control].high
    assert values[-1] == high


@pytest.mark.parametrize("coding", RELATIVE)
def test_steps_are_those_of_the_coding(coding: str) -> None:
    plus_and_minus = {TWOS_COMPLEMENT: (1, 127), BINARY_OFFSET: (65, 63), SIGN_MAGNITUDE: (1, 65)}[coding]
    assert [steps(coding, value) for value in plus_and_minus] == [1, -1]
    sender = Sender(coding)
    for n in (*range(-63, 0), *range(1, 64)):
        assert steps(coding, sender.steps(n)[0][2]) == n


# --- the file ------------------------------------------------------------------------------


def test_a_map_of_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "controls.json"
    path.write_text('{"controls": [{"control": "valence", "port": "p", "channel": 3, "number": 21}]}')
    assert read_controls(path) == (Learned("valence", "p", 3, 21),)


@given(
    st.sampled_from([*KNOBS.values(), *ENCODERS.values(), (CC, 64, SWITCH)]),
    st.integers(0, 15),
    st.text("aé[]'"),
)
def test_every_kind_is_kept(
    tmp_path_factory: pytest.TempPathFactory, kind: tuple[str, int, str], channel: int, port: str
) -> None:
    path = tmp_path_factory.mktemp("state") / "controls.json"
    control = Learned("valence", port, channel, *reordered(kind))
    store_controls(path, (control,))
    assert read_controls(path) == (control,)


@pytest.mark.parametrize(
    "wrong",
    [
        Learned("valence", PORT, 0, 32, CC, MSB_FIRST),
        Learned("valence", PORT, 0, 120),
        Learned("valence", PORT, 0, 16_383, NRPN, MSB_FIRST),
        Learned("valence", PORT, 0, 3, CC, INCREMENTS),
        Learned("valence", PORT, 0, 3, "sysex"),
        Learned("valence", PORT, 0, 3, CC, "9-bit"),
        Learned("valence", PORT, 16, 3),
    ],
)
def test_a_controller_that_midi_does_not_have_is_refused(wrong: Learned, tmp_path: Path) -> None:
    from kelly_edge.errors import OutputError

    store_controls(tmp_path / "c.json", (wrong,))
    with pytest.raises(OutputError, match="learn the controls again"):
        read_controls(tmp_path / "c.json")


def test_the_halves_of_a_14_bit_controller_belong_to_one_knob() -> None:
    old = (Learned("arousal", PORT, 0, 33), Learned("density", PORT, 1, 33))
    new = Learned("valence", PORT, 0, 1, CC, MSB_FIRST)
    assert with_control(old, new) == (old[1], new)
    assert with_control((new,), old[0]) == (old[0],)
    parameter = Learned("voice", PORT, 0, 1, NRPN, MSB_FIRST)
    assert with_control((new,), parameter) == (new, parameter)
