"""What the page shows of a box: its played notes, its end and new beginning; and knobs that a word turns."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_box import SmallBox, state_of

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, TURNED, memory_board
from firmware_py.commands.page.watching import PlayedNotes, Watcher, public
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.commands import CommandStage
from kelly_edge.contract import KNOB_RANGES, PROGRAMMES


def note(onset_s: float, pitch: int, velocity: int = 80) -> bytes:
    entry = {"kind": "note", "onset_s": onset_s, "duration_s": 0.5, "pitch": pitch, "velocity": velocity}
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def chords(pitches: tuple[int, ...], begin_s: float = 0.0) -> bytes:
    return b"".join(note(begin_s + n, pitch) for n in range(15) for pitch in pitches)


def test_major_is_brighter_than_minor_and_what_is_past_is_forgotten(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b'{"kind":"session"}\n' + chords((60, 64, 67)))
    played = PlayedNotes()
    major = played.mood(str(log), 15.0)
    assert major is not None and major["valence"] > 0.2
    with log.open("ab") as file:
        # Half a line, as a log that is being written has.
        whole = chords((60, 63, 67), 20.0)
        file.write(whole[:-10])
        file.flush()
        assert played.mood(str(log), 34.0) is not None
        file.write(whole[-10:])
    minor = played.mood(str(log), 35.0)
    assert minor is not None and minor["valence"] < 0.0
    assert played.mood(str(log), 60.0) is None
    assert played.mood("", 60.0) is None
    assert played.mood(str(tmp_path / "nothing"), 60.0) is None
    # A new run of the box begins its time anew.
    log.write_bytes(chords((60, 64, 67)))
    assert played.mood(str(log), 15.0) == major


@given(
    st.lists(st.binary(max_size=60) | st.just(note(1.0, 60)) | st.just(b'{"kind":"note","pitch":1e999}\n'))
)
def test_whatever_stands_in_a_log_is_a_mood_or_none(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    log = tmp_path_factory.getbasetemp() / "hostile.jsonl"
    log.write_bytes(b"".join(lines))
    mood = PlayedNotes().mood(str(log), 5.0)
    assert mood is None or all(-1.0 <= value <= 1.0 for value in mood.values())


def test_a_box_that_ends_and_begins_again_is_seen(tmp_path: Path) -> None:
    now_s = 0.0
    box = SmallBox(tmp_path)
    watcher = Watcher(box.wires, lambda: now_s)
    box.until(lambda: watcher.look()["box"] == "on")
    box.close()
    for now_s in (0.5, 2.0, 4.0):  # noqa: B007
        seen = watcher.look()
    assert seen["box"] == "stopped"
    json.dumps(public(seen), allow_nan=False)
    shutil.rmtree(box.run_dir)
    now_s = 6.0
    assert watcher.look() == {"box": "stopped"}
    again = SmallBox(tmp_path)
    try:
        now_s = 8.0
        # Its first step may take longer than the page waits for one.
        again.until(lambda: watcher.look()["box"] == "on")
    finally:
        again.close()


class Turned:
    """Knobs that remember."""

    def __init__(self) -> None:
        self.turned: list[dict[str, float]] = []

    def turn(self, time_s: float, **values: float) -> None:
        self.turned.append(values)


def obeyed(knob: int, value: float) -> list[dict[str, float]]:
    board, knobs = memory_board(), Turned()
    record = np.zeros((), COMMAND_DTYPE)
    record["what"], record["knob"], record["value"] = COMMANDS.index("turn"), knob, value
    board.rings["commands"].write(record)
    stage = CommandStage(board.ends("control"), knobs, VirtualClock(), n_voices=3)  # type: ignore[arg-type]
    stage.step()
    return knobs.turned


@pytest.mark.parametrize("name", TURNED)
def test_a_knob_is_turned_within_its_range_and_no_further(name: str) -> None:
    low, high = KNOB_RANGES.get(name, (0.0, len(PROGRAMMES) - 1.0))
    high = {"voice": 2.0}.get(name, high)
    knob = TURNED.index(name)
    for value in (low, high):
        assert obeyed(knob, value) == [{name: value}]
    for value in (low - 1.0, high + 1.0, math.nan, math.inf, -math.inf):
        assert obeyed(knob, value) == []


@pytest.mark.parametrize("knob", [-1, len(TURNED), 127, -128])
def test_a_knob_that_there_is_not_turns_nothing(knob: int) -> None:
    assert obeyed(knob, 0.0) == []


def test_a_knob_of_whole_numbers_is_rounded(tmp_path: Path) -> None:
    assert obeyed(TURNED.index("octave"), 0.6) == [{"octave": 1.0}]
    assert obeyed(TURNED.index("mute"), 0.4) == [{"mute": 0.0}]


def test_a_turned_knob_is_seen_on_the_page(tmp_path: Path) -> None:
    box = SmallBox(tmp_path)
    try:
        before: Any = state_of(box)
        box.wires.turn("volume_db", 1.0)
        box.wires.turn("loudest", 55.0)
        box.until(lambda: float(box.read("knobs")["loudest"]) == 55.0)
        assert state_of(box)[0] == {**before[0], "loudest": 55.0}
        assert Watcher(box.wires).look()["knobs"]["loudest"] == 55.0
    finally:
        box.close()
