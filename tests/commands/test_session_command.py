"""session start, stop and status on a run directory whose ``control`` steps beside the command line."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firmware_py.__main__ import main
from firmware_py.board.map import file_board
from firmware_py.commands import requests
from firmware_py.devices.files.clock import shared_clock
from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.run_dir import make_run_dir
from firmware_py.devices.offline import VirtualClock
from firmware_py.wiring.control import open_control

OWN = ("session.begin=hand", "panel.chip=none", "midi.inputs=[]")


class Control:
    """The ``control`` of a box, and its command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.run_dir, self.state = folder / "run", folder / "state"
        settings = load_settings(
            None, [f"runtime.run_dir={self.run_dir}", f"runtime.state_dir={self.state}", *OWN]
        )
        make_run_dir(str(self.run_dir))
        shared_clock(self.run_dir)
        self._clock = VirtualClock()
        board = file_board(self.run_dir, settings.audio.period)
        self._parts = open_control(settings, board.ends("control"), self._clock)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._clock.time_s += 0.1
            self._parts.step()
            time.sleep(0.01)

    def say(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        code = main([*words, "--set", f"runtime.run_dir={self.run_dir}"])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def answer(self, *words: str) -> dict[str, Any]:
        code, out, err = self.say(*words, "--json")
        assert code == 0, err
        answer: dict[str, Any] = json.loads(out)
        return answer

    def logs(self) -> list[Path]:
        return sorted(self.state.glob("**/*.jsonl"))

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()
        self._parts.close()


@pytest.fixture
def control(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Control]:
    # How long an answer takes on a busy machine is not tested here.
    monkeypatch.setattr(requests, "SESSION_WITHIN_S", 60.0)
    a_control = Control(tmp_path, capsys)
    yield a_control
    a_control.close()


def test_a_session_is_begun_told_of_and_ended_and_each_has_its_log(control: Control) -> None:
    nobody = {"session": "none; silent until one begins", "programme": "mirror"}
    assert control.answer("session", "status") == nobody
    words = ("--programme", "calm-in-15", "--name", "M7", "--note", "second visit")
    assert control.answer("session", "start", *words) == {
        "session": "number 1 begins",
        "name": "M7",
        "note": "second visit",
    }
    status = control.answer("session", "status")
    while "log" not in status:
        status = control.answer("session", "status")
    assert status == {
        "session": "on",
        "number": 1,
        "name": "M7",
        "note": "second visit",
        "programme": "calm-in-15",
        "log": str(control.logs()[0]),
    }
    assert control.answer("session", "stop") == {
        "session": "number 1 ends; the box is silent until one begins"
    }
    assert control.answer("session", "start") == {"session": "number 2 begins"}
    assert control.answer("session", "stop")["session"].startswith("number 2 ends")
    assert control.answer("session", "stop")["session"].startswith("none was on")
    control.close()
    headers = [json.loads(path.read_text().splitlines()[0]) for path in control.logs()]
    assert [header["number"] for header in headers] == [1, 2]
    assert headers[0]["name"] == "M7" and "name" not in headers[1]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in control.logs())


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--programme", "calm-in-16"), "programme: calm-in-16 is not one of mirror, iso, hold, calm-in-15"),
        (("--name", "é" * 61), "name: is not one line of at most 120 bytes; shorten it"),
        (("--note", "a\nb"), "note: is not one line of at most 800 bytes; shorten it"),
    ],
)
def test_what_a_session_cannot_be_begun_with_is_one_line_and_begins_none(
    control: Control, words: tuple[str, str], fault: str
) -> None:
    code, _, err = control.say("session", "start", *words)
    assert code == 2 and err.startswith(f"kelly-edge: {fault}") and err.count("\n") == 1
    assert control.answer("session", "status")["session"].startswith("none")


@pytest.mark.parametrize("what", ["start", "stop", "status"])
def test_without_a_box_it_is_one_line(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["session", what, "--set", f"runtime.run_dir={tmp_path / 'none'}"]) == 2
    assert "nothing runs in" in capsys.readouterr().err
