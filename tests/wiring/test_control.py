"""What ``control`` is made of follows the settings: log, metrics, controllers."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from firmware_py.board.map import HAND_DTYPE, memory_board
from firmware_py.board.telemetry import COUNTERS
from firmware_py.devices.files.learned_controls import store_controls
from firmware_py.devices.offline import VirtualClock
from firmware_py.devices.session.store import DAY_S
from firmware_py.ports.learned import Learned
from firmware_py.settings import MidiSettings, PanelSettings, RuntimeSettings, SessionSettings, Settings
from firmware_py.wiring.control import METRICS_EVERY_S, open_control
from kelly_edge.contract import KNOBS_DTYPE

NO_INPUTS = MidiSettings(inputs=())
NO_PANEL = PanelSettings(chip="none")


def entries(folder: Path) -> list[dict[str, object]]:
    (path,) = (folder / "sessions").iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_log_is_kept_in_the_state_folder_and_ends_with_the_counters(tmp_path: Path) -> None:
    settings = Settings(
        midi=NO_INPUTS,
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
        session=SessionSettings(begin="start"),
    )
    parts = open_control(settings, memory_board().ends("control"), VirtualClock())
    parts.step()
    parts.close()
    found = entries(tmp_path)
    bases = [entry["process"] for entry in found if entry.get("is_base")]
    assert bases == list(COUNTERS)
    kinds = [(entry["kind"], entry.get("process")) for entry in found if not entry.get("is_base")]
    assert kinds[:2] == [("session", None), ("knobs", None)]
    assert ("counters", "control") in kinds
    # Each process's last counts stand there once.
    assert len(kinds) == len(set(kinds))


def test_the_log_is_bounded_by_the_settings(tmp_path: Path) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    for n in range(3):
        path = folder / f"2020010{n}-000000-1-0001.jsonl"
        path.write_bytes(b"x" * 600_000)
        os.utime(path, (time.time() - (1.0 + n) * DAY_S,) * 2)
    settings = Settings(
        midi=NO_INPUTS,
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
        session=SessionSettings(begin="start", keep_mb=1, keep_days=2),
    )
    parts = open_control(settings, memory_board().ends("control"), VirtualClock())
    parts.close()
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2 and names[0] == "20200100-000000-1-0001.jsonl"


def test_until_a_session_begins_there_is_no_log(tmp_path: Path) -> None:
    settings = Settings(midi=NO_INPUTS, panel=NO_PANEL, runtime=RuntimeSettings(state_dir=str(tmp_path)))
    board = memory_board()
    parts = open_control(settings, board.ends("control"), VirtualClock())
    for _ in range(5):
        parts.step()
    parts.close()
    assert not list(tmp_path.glob("sessions/*"))


def test_session_log_false_keeps_nothing(tmp_path: Path) -> None:
    settings = Settings(
        midi=NO_INPUTS,
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
        session=SessionSettings(log=False),
    )
    parts = open_control(settings, memory_board().ends("control"), VirtualClock())
    parts.step()
    parts.close()
    assert list(tmp_path.iterdir()) == []


def test_the_metrics_are_written_while_it_runs_and_say_when_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "kelly.prom"
    settings = Settings(
        midi=NO_INPUTS,
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
        session=SessionSettings(prometheus=str(path)),
    )
    clock = VirtualClock()
    parts = open_control(settings, memory_board().ends("control"), clock)
    parts.step()
    assert not path.exists()
    clock.time_s = METRICS_EVERY_S
    parts.step()
    assert "kelly_edge_up 1\n" in path.read_text()
    parts.close()
    assert "kelly_edge_up 0\n" in path.read_text()


def test_a_metrics_folder_that_is_not_there_costs_metrics_and_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(
        midi=NO_INPUTS,
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
        session=SessionSettings(prometheus=str(tmp_path / "no" / "kelly.prom")),
    )
    clock = VirtualClock()
    parts = open_control(settings, memory_board().ends("control"), clock)
    for n in range(1, 4):
        clock.time_s = n * METRICS_EVERY_S
        parts.step()
    parts.step()
    assert parts.control.counters["n_reports_lost"] == 3
    assert capsys.readouterr().err.count("no metrics in") == 1
    parts.close()


def test_a_controller_on_a_raw_port_turns_the_knob_it_was_taught(tmp_path: Path) -> None:
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
    pipe = tmp_path / "midi"
    os.mkfifo(pipe)
    store_controls(tmp_path / "controls.json", [Learned("arousal", f"raw:{pipe}", 0, 7)])
    settings = Settings(
        midi=MidiSettings(inputs=(f"raw:{pipe}",)),
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
    )
    board, clock, knobs = memory_board(), VirtualClock(), np.zeros((), KNOBS_DTYPE)
    parts = open_control(settings, board.ends("control"), clock)
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, bytes((0xB0, 7, 0)))
    parts.step()
    os.close(fd)
    assert board.cells["knobs"].read(knobs)
    assert knobs["arousal"] == -1.0
    assert parts.control.counters["n_controls"] == 1
    parts.close()


@pytest.mark.parametrize("is_on", [True, False])
def test_a_pedal_is_passed_on_where_that_is_asked_for(is_on: bool, tmp_path: Path) -> None:
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
    pipe = tmp_path / "midi"
    os.mkfifo(pipe)
    settings = Settings(
        midi=MidiSettings(inputs=(f"raw:{pipe}",), pass_on=is_on),
        panel=NO_PANEL,
        runtime=RuntimeSettings(state_dir=str(tmp_path)),
    )
    board, hand = memory_board(), np.zeros((), HAND_DTYPE)
    parts = open_control(settings, board.ends("control"), VirtualClock())
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, bytes((0xB0, 64, 127)))
    parts.step()
    os.close(fd)
    assert board.cells["hand"].read(hand) is is_on
    assert hand["pedal"] == (127 if is_on else 0)
    parts.close()
