"""What is kept is replaced whole or not at all, and learned controls outlive faults."""

import errno
import json
import os
from pathlib import Path

import pytest

from firmware_py.__main__ import main
from firmware_py.devices.files.kept import replace_file, state_root
from firmware_py.devices.files.learned_controls import (
    ControlsFile,
    controls_path,
    kept_controls,
    read_controls,
    store_controls,
    with_control,
)
from firmware_py.ports.learned import Learned
from firmware_py.wiring.choice import Choice, stored_choice
from kelly_edge.errors import OutputError

ONE = Learned("valence", "alsa:nano", 0, 21)
TWO = Learned("arousal", "alsa:nano", 0, 22)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"old", b"new and longer" * 10_000):
        replace_file(path, content, 0o644)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["write", "fsync", "open", "rename"])
def test_whatever_fails_the_old_file_stands(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, step, full)
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics")
    with pytest.raises(OSError, match="pipe is in its place"):
        replace_file(tmp_path / "metrics", b"content")
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


@pytest.mark.parametrize(
    ("setting", "environment", "wanted"),
    [
        ("/set", {"STATE_DIRECTORY": "/var/lib/kelly-edge"}, "/set"),
        ("", {"STATE_DIRECTORY": "/var/lib/kelly-edge:/more", "HOME": "/h"}, "/var/lib/kelly-edge"),
        ("", {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/kelly-edge"),
        ("", {"HOME": "/h"}, "/h/.local/state/kelly-edge"),
    ],
)
def test_the_state_folder_is_the_set_one_then_systemd_s_then_the_user_s(
    setting: str, environment: dict[str, str], wanted: str
) -> None:
    assert state_root(setting, environment, Path("/no/service")) == Path(wanted)
    assert controls_path(wanted, {}) == Path(wanted) / "controls.json"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks for the service's")
def test_root_on_a_box_means_the_service_s_state(tmp_path: Path) -> None:
    assert state_root("", {"HOME": "/root"}, tmp_path) == tmp_path


# --- learned controls --------------------------------------------------------------------


def test_what_was_learned_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "controls.json"
    assert read_controls(path) == ()
    store_controls(path, (ONE, TWO))
    assert read_controls(path) == (ONE, TWO)


def test_a_knob_has_one_controller_and_a_controller_one_knob() -> None:
    moved = Learned("arousal", "alsa:nano", 0, 21)
    assert with_control((ONE, TWO), moved) == (moved,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"controls": 3}',
        '{"controls": [{"control": "valence"}]}',
        '{"controls": [{"control": "valence", "port": "p", "channel": "x", "number": 1}]}',
        '{"controls": [{"control": "valence", "port": "p", "channel": 0, "number": 123}]}',
        '{"controls": [{"control": "valence", "port": "p", "channel": 99, "number": 1}]}',
        "\udcff",
    ],
)
def test_a_damaged_map_is_one_line_that_says_how_to_mend_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "controls.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OutputError, match="learn the controls again") as caught:
        read_controls(path)
    assert "\n" not in str(caught.value)


def test_a_map_is_seen_once_when_it_is_replaced_and_when_it_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "controls.json"
    file = ControlsFile(path)
    assert file.changed() == ()
    assert file.changed() is None
    store_controls(path, (ONE,))
    assert file.changed() == (ONE,)
    assert file.changed() is None
    store_controls(path, (TWO,))
    assert file.changed() == (TWO,)
    path.unlink()
    assert file.changed() == ()


def test_a_map_that_cannot_be_kept_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"runtime\.state_dir"):
        store_controls(tmp_path / "file" / "controls.json", (ONE,))


def test_the_command_lists_and_forgets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store_controls(tmp_path / "controls.json", (ONE, TWO))
    state = f"--set=runtime.state_dir={tmp_path}"
    assert main(["learn", "--json", state]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"valence", "arousal"}
    assert main(["learn", "valence", "--forget", "--json", state]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"arousal"}
    assert read_controls(tmp_path / "controls.json") == (TWO,)


def test_the_command_without_a_controller_keeps_the_map_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
    store_controls(tmp_path / "controls.json", (ONE,))
    os.mkfifo(tmp_path / "pipe")
    arguments = ["--set", f"runtime.state_dir={tmp_path}", "--set", f"midi.inputs=raw:{tmp_path}/pipe"]
    assert main(["learn", "arousal", "--seconds", "0.2", *arguments]) == 2
    assert "no controller was turned" in capsys.readouterr().err
    assert read_controls(tmp_path / "controls.json") == (ONE,)


# --- state that cannot be read -------------------------------------------------------------

DEEP = "[" * 200_000 + "]" * 200_000
ROW = '{{"controls": [{{"control": "valence", "port": "p", "channel": {}, "number": 1}}]}}'
DAMAGED = [
    "",
    "[]",
    "null",
    '"text"',
    "3",
    "1e999",
    DEEP,
    '{"controls": ' + DEEP + "}",
    '{"choice": ' + DEEP + "}",
    '{"choice": 1e999, "controls": 1e999}',
    '{"choice": null, "controls": null}',
    '{"choice": [], "controls": {"a": 1}}',
    "x" * (2 << 20),
    "\udcff",
    "\x00" * 64,
]
BAD_CONTROLS = [
    *(
        ROW.format(value)
        for value in ("1e999", "-1e999", "NaN", "9" * 5_000, "null", "[]", "-1", "16", '"x"')
    ),
    '{"controls": [{"control": "valence", "port": "\\ud800", "channel": 0, "number": 1}]}',
    '{"controls": [{"control": 3, "port": "p", "channel": 0, "number": 1}]}',
    '{"controls": [3]}',
]


@pytest.mark.parametrize("text", DAMAGED + BAD_CONTROLS, ids=lambda text: repr(text[:40]))
def test_a_damaged_map_is_set_aside_once_and_none(text: str, tmp_path: Path) -> None:
    path, told = tmp_path / "controls.json", list[str]()
    content = text.encode("utf-8", "surrogateescape")
    path.write_bytes(content)
    assert kept_controls(path, told.append) == ()
    assert kept_controls(path, told.append) == ()
    assert (tmp_path / "controls.json.unreadable").read_bytes() == content
    assert told == [f"{path} could not be read: it is controls.json.unreadable now; learn the controls again"]
    store_controls(path, (ONE,))
    assert kept_controls(path, told.append) == (ONE,)


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: repr(text[:40]))
def test_a_damaged_choice_of_the_bench_is_set_aside_once_and_the_default(text: str, tmp_path: Path) -> None:
    path, told = tmp_path / "board.json", list[str]()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert stored_choice(path, told.append) == Choice()
    assert stored_choice(path, told.append) == Choice()
    assert len(told) == 1 and "board.json.unreadable" in told[0] and "bench --store" in told[0]
    assert not path.exists()


@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_file_holds_nobody_up_and_is_set_aside(kind: str, tmp_path: Path) -> None:
    path, told = tmp_path / "controls.json", list[str]()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    assert kept_controls(path, told.append) == ()
    assert len(told) == 1 and not os.path.lexists(path)


def test_a_map_damaged_while_it_plays_is_said_once_and_the_old_one_stands(tmp_path: Path) -> None:
    path, told = tmp_path / "controls.json", list[str]()
    store_controls(path, (ONE,))
    file = ControlsFile(path, told.append)
    assert file.changed() == (ONE,)
    path.write_text(ROW.format("1e999"))
    assert [file.changed() for _ in range(3)] == [None] * 3
    assert len(told) == 1
    store_controls(path, (TWO,))
    assert file.changed() == (TWO,)
