"""The monitor: truthful, read-only, one line where nothing runs."""

import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from firmware_py.__main__ import main
from firmware_py.board.map import CELLS, Board, file_board, memory_board
from firmware_py.board.telemetry import Times, new_counters
from firmware_py.commands.monitor import read_once, run_dir_of
from firmware_py.commands.monitor.reading import PROCESSES, Reader, lives, open_cells
from firmware_py.commands.monitor.screen import bar, draw, note_name
from firmware_py.settings import RuntimeSettings, Settings
from kelly_edge.contract import HEARD_DTYPE, KNOBS_DTYPE
from kelly_edge.errors import DeviceError, OutputError

PERIOD = 128


def fill(board: Board, sounding: tuple[int, ...] = (60, 64)) -> None:
    """A box that hears, aims and plays."""
    heard = np.zeros((), HEARD_DTYPE)
    heard["valence"], heard["arousal"], heard["level_db"] = 0.4, -0.6, -21.0
    heard["f0_hz"], heard["f0_confidence"], heard["posterior"] = 440.0, 0.9, (0.1, 0.1, 0.2, 0.6)
    board.cells["heard"].write(heard)
    target = np.zeros((), CELLS["target"].dtype)
    target["valence"], target["tempo_bpm"] = 0.25, 90.0
    board.cells["target"].write(target)
    knobs = np.zeros((), KNOBS_DTYPE)
    knobs["programme"] = 1
    board.cells["knobs"].write(knobs)
    record = np.zeros((), CELLS["sounding"].dtype)
    record["is_on"][0, list(sounding)] = True
    board.cells["sounding"].write(record)
    keyboard = np.zeros((), CELLS["keyboard"].dtype)
    keyboard["name"], keyboard["n_notes"] = "Clavier é".encode(), 12
    board.cells["keyboard"].write(keyboard)
    audio = new_counters("audio")
    audio["n_capture_xruns"], audio["n_playback_xruns"] = 3, 2
    board.cells["telemetry_audio"].write(audio)


def stepping(board: Board, *processes: str) -> Callable[[float], None]:
    """A ``sleep`` during which these processes take steps of 1 ms against 2."""
    times = {process: Times(2e-3) for process in processes}

    def sleep(seconds: float) -> None:
        for process in processes:
            times[process].add(1e-3)
            board.cells[f"times_{process}"].write(times[process].record)

    return sleep


def drawn(reading: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(draw(reading, "the box"))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_it_shows_what_the_cells_hold(tmp_path: Path) -> None:
    board = file_board(tmp_path, PERIOD)
    fill(board)
    reading = read_once(tmp_path, stepping(board, "audio", "midi"))
    assert reading["heard"]["valence"] == pytest.approx(0.4)
    assert reading["heard"]["posterior"]["Q4"] == pytest.approx(0.6)
    assert reading["target"]["valence"] == pytest.approx(0.25)
    assert reading["knobs"]["programme"] == "iso"
    assert reading["notes"]["sounding"] == [60, 64]
    assert reading["keyboard"] == {"name": "Clavier é", "time_s": 0.0, "n_notes": 12}
    assert reading["xruns"] == {"capture": 3, "playback": 2, "late_blocks": 0}
    assert {name for name, process in reading["processes"].items() if process["is_alive"]} == {
        "audio",
        "midi",
    }
    audio = reading["processes"]["audio"]
    assert (audio["deadline_ms"], audio["p99_ms"], audio["n_missed"]) == (2.0, 1.0, 0)
    assert json.loads(json.dumps(reading)) == reading
    text = drawn(reading)
    for words in (
        "C4 E4",
        "440.0 Hz",
        "Clavier é",
        "capture xruns 3",
        "playback xruns 2",
        "● +0.40",
        "◇ +0.25",
        "90 bpm",
    ):
        assert words in text, words


def test_it_changes_nothing(tmp_path: Path) -> None:
    board = file_board(tmp_path, PERIOD)
    fill(board)
    sleep = stepping(board, "audio")
    sleep(0.0)

    def state() -> dict[str, tuple[bytes, int]]:
        cells = tmp_path.glob("*.cell")
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in cells}

    before, names = state(), sorted(os.listdir(tmp_path))
    reader = Reader(open_cells(tmp_path))
    for n in range(20):
        reader.read(float(n))
    assert state() == before
    assert sorted(os.listdir(tmp_path)) == names


def test_an_absent_box_is_one_line_and_makes_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert main(["monitor", "--once", "--set", f"runtime.run_dir={run_dir}"]) == 2
    assert capsys.readouterr().err == (
        f"kelly-edge: nothing runs in {run_dir}; start kelly-edge run, or give its runtime.run_dir\n"
    )
    assert not run_dir.exists()


def test_a_box_that_stopped_is_nothing_that_runs(tmp_path: Path) -> None:
    board = file_board(tmp_path, PERIOD)
    fill(board)
    stepping(board, *PROCESSES)(0.0)
    slept: list[float] = []
    with pytest.raises(DeviceError, match="nothing runs"):
        read_once(tmp_path, slept.append)
    assert sum(slept) <= 1.5


def test_another_versions_cell_is_one_line(tmp_path: Path) -> None:
    file_board(tmp_path, PERIOD)
    (tmp_path / "heard.cell").write_bytes(bytes(100))
    with pytest.raises(OutputError, match="another version"):
        open_cells(tmp_path)


def test_a_process_started_again_counts_anew() -> None:
    board = memory_board()
    reader = Reader(board.cells)
    stepping(board, "dsp")(0.0)
    reader.read(0.0)
    sleep = stepping(board, "dsp")
    for n in range(3):
        sleep(0.0)
        reading = reader.read(1.0 + n)
    assert reading["processes"]["dsp"]["n_times"] == 3
    assert reading["processes"]["dsp"]["is_alive"]
    assert not reading["processes"]["audio"]["is_alive"]
    assert lives(reading)


def test_recent_lateness_shows_though_the_average_hides_it() -> None:
    board, times = memory_board(), Times(2e-3)
    reader = Reader(board.cells)
    for _ in range(10_000):
        times.add(1e-3)
    board.cells["times_audio"].write(times.record)
    reader.read(0.0)
    for _ in range(50):
        times.add(9e-3)
    board.cells["times_audio"].write(times.record)
    audio = reader.read(5.0)["processes"]["audio"]
    assert audio["p99_ms"] < 2.0 < audio["recent_p99_ms"]


def test_an_empty_board_is_drawn_too(tmp_path: Path) -> None:
    text = drawn(Reader(memory_board().cells, tmp_path).read(0.0))
    assert "nothing heard yet" in text


def test_heat_and_throttling_come_from_sysfs(tmp_path: Path) -> None:
    for path, content in {
        "sys/class/thermal/thermal_zone0/temp": "83000",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "0x50005",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(content)
    reading = Reader(memory_board().cells, tmp_path).read(0.0)
    assert reading["board"]["temperature_c"] == 83.0
    assert reading["board"]["flags"] == [
        "under-voltage",
        "throttled",
        "under-voltage since boot",
        "throttled since boot",
    ]
    assert "83 °C" in drawn(reading)


@pytest.mark.parametrize(("value", "place"), [(-1.0, 0), (0.0, 10), (1.0, 20), (-9.0, 0), (9.0, 20)])
def test_a_bar_holds_its_mark_within_its_ends(value: float, place: int) -> None:
    assert bar(value, -1.0, 1.0).plain.index("●") == place


def test_notes_have_the_names_of_musicians() -> None:
    assert [note_name(pitch) for pitch in (60, 61, 69, 21)] == ["C4", "C♯4", "A4", "A0"]


def test_the_service_is_found_where_no_box_of_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    # A box of the temporary folder may have been left here.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    service = tmp_path / "service"
    assert run_dir_of(Settings(), service) == tmp_path / "user" / "kelly-edge"
    service.mkdir()
    assert run_dir_of(Settings(), service) == service
    assert run_dir_of(Settings(runtime=RuntimeSettings(run_dir="/x")), service) == Path("/x")
