"""The place outlives a session: kept by control, known by dsp, forgotten on demand."""

from pathlib import Path

import numpy as np
import pytest

from firmware_py.board.map import COMMAND_DTYPE, COMMANDS, memory_board
from firmware_py.devices.files.place_file import kept_place, place_path, store_place
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.commands import CommandStage
from firmware_py.processes.dsp import DspStage
from firmware_py.processes.place_keeper import KEEP_EVERY_S, PlaceKeeper
from kelly_edge.contract import HEARD_DTYPE, HOP_SIZE, HOPS_PER_EMOTION_STEP, KNOBS_DTYPE, N_EMOTION
from kelly_edge.emotion.place import Place, PlaceMemory
from kelly_edge.errors import OutputError
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.voice import Voice


class Rig:
    def __init__(self, before: PlaceMemory | None = None) -> None:
        self.board, self.clock = memory_board(), VirtualClock()
        self.stored: list[PlaceMemory] = []
        self.warnings: list[str] = []
        self.fails = False
        self.keeper = PlaceKeeper(
            self.board.ends("control"), self.store, before or PlaceMemory(), self.warnings.append, self.clock
        )

    def store(self, memory: PlaceMemory) -> None:
        if self.fails:
            raise OutputError("the card is full")
        self.stored.append(memory)

    def hear(self, minutes: float, arousal: float) -> None:
        heard = np.zeros((), HEARD_DTYPE)
        heard["place_minutes"], heard["place_arousal"] = minutes, arousal
        self.board.cells["heard"].write(heard)
        self.keeper.step()


def test_it_is_kept_once_a_minute_and_at_the_end() -> None:
    rig = Rig()
    rig.keeper.step()
    rig.hear(0.5, -0.5)
    assert rig.stored == []
    rig.clock.time_s += KEEP_EVERY_S
    rig.hear(1.5, -0.5)
    rig.hear(1.75, -0.25)
    assert rig.stored == [PlaceMemory(1.5, -0.5)]
    rig.keeper.close()
    rig.keeper.close()
    assert rig.stored == [PlaceMemory(1.5, -0.5), PlaceMemory(1.75, -0.25)]


def test_what_is_forgotten_is_forgotten_at_once() -> None:
    rig = Rig(PlaceMemory(20.0, -0.5))
    rig.hear(20.0, -0.5)
    rig.hear(0.0, 0.0)
    assert rig.stored == [PlaceMemory()]


def test_a_card_that_is_full_is_told_of_once_and_damaged_records_are_left() -> None:
    rig = Rig()
    rig.fails = True
    for minutes in (1.0, 2.0, 3.0):
        rig.clock.time_s += KEEP_EVERY_S
        rig.hear(minutes, -0.5)
    rig.hear(float("nan"), 0.0)
    assert len(rig.warnings) == 1 and "place" in rig.warnings[0]
    rig.fails = False
    rig.clock.time_s += KEEP_EVERY_S
    rig.hear(4.0, -0.5)
    assert rig.stored == [PlaceMemory(4.0, -0.5)]


def test_the_command_reaches_the_knobs() -> None:
    board, forgotten = memory_board(), []

    class Knobs:
        def begin_session(self, time_s: float) -> None:
            pytest.fail("that is another word")

        def forget_place(self, time_s: float) -> None:
            forgotten.append(time_s)

    record = np.zeros((), COMMAND_DTYPE)
    record["what"] = COMMANDS.index("place")
    board.rings["commands"].write(record)
    CommandStage(board.ends("control"), Knobs(), VirtualClock()).step()  # type: ignore[arg-type]
    assert forgotten == [0.0]


def test_the_file_holds_what_was_stored(tmp_path: Path) -> None:
    path = place_path(str(tmp_path / "state"), {})
    assert kept_place(path) == PlaceMemory()
    store_place(path, PlaceMemory(12.5, -0.75))
    assert kept_place(path) == PlaceMemory(12.5, -0.75)


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", '{"format": 1}', '{"format": 1, "minutes": 1e999, "arousal": 0}', "[" * 5_000,
     '{"format": 1, "minutes": 5, "arousal": 99}', '{"format": 2, "minutes": 5, "arousal": 0}'],
)  # fmt: skip
def test_a_damaged_file_is_set_aside_and_told_of(tmp_path: Path, content: str) -> None:
    path, warnings = tmp_path / "place.json", []
    path.write_text(content)
    assert kept_place(path) == PlaceMemory() and path.exists()
    assert kept_place(path, warnings.append) == PlaceMemory()
    assert len(warnings) == 1 and not path.exists() and path.with_name("place.json.unreadable").exists()


def test_where_it_cannot_be_written_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"runtime\.state_dir"):
        store_place(tmp_path / "file" / "place.json", PlaceMemory())


class Silent:
    """A decoder that plays nothing."""

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        controls.amplitude = 0.0

    def reset(self) -> None:
        pass


class Undecided:
    """A network that says nothing of any sound."""

    def step(self, features: np.ndarray, /) -> np.ndarray:
        return np.zeros(N_EMOTION, np.float32)

    def reset(self) -> None:
        pass


def test_dsp_goes_on_from_the_place_it_knew_and_forgets_it_on_demand() -> None:
    board, period = memory_board(), 128
    heard, knobs = np.zeros((), HEARD_DTYPE), np.zeros((), KNOBS_DTYPE)
    heard["place_minutes"], heard["place_arousal"] = 12.0, -1.0
    board.cells["heard"].write(heard)
    knobs["n_places"] = 3
    board.cells["knobs"].write(knobs)
    stage = DspStage(board.ends("dsp"), Undecided(), Voice([Silent()], 0), period, VirtualClock(), Place())

    def play_a_group() -> None:
        for _ in range(HOPS_PER_EMOTION_STEP * HOP_SIZE // period):
            board.rings["capture"].write(np.zeros(period, np.float32))
            stage.step()
        board.cells["heard"].read(heard)

    play_a_group()
    assert heard["place_minutes"] == pytest.approx(12.0) and heard["place_offset"] > 0.0
    assert heard["room_drr_db"] == pytest.approx(12.0)
    knobs["n_places"] = 4
    board.cells["knobs"].write(knobs)
    play_a_group()
    play_a_group()
    assert heard["place_minutes"] == 0.0 and heard["place_offset"] == 0.0
