"""A session log is read whatever became of it: live, old, cut at any byte, damaged, still being written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_py.__main__ import main
from firmware_py.commands import picture
from firmware_py.commands.picture import draw_session
from firmware_py.devices.session.format import SCHEMA, header
from firmware_py.devices.session.log import SessionLog
from firmware_py.devices.session.reader import SessionReader, find_session
from firmware_py.devices.session.store import Bounds
from kelly_edge.errors import SessionError

N_DAMAGED = int(os.environ.get("KELLY_DAMAGED_LOGS", "300"))
MOOD = {"valence": 0.5, "arousal": -0.5}
ENTRIES: list[dict[str, Any]] = [
    {"kind": "knobs", "time_s": 0.0, "programme": "mirror"},
    {"kind": "emotion", "time_s": 0.1, **MOOD, "target": MOOD},
    {"kind": "note", "onset_s": 1.0, "duration_s": 0.5, "pitch": 60, "velocity": 80, "rung": "full"},
    {"kind": "emotion", "time_s": 600.0, **MOOD, "target": MOOD},
    {"kind": "counters", "process": "audio", "n_periods": 5},
]


def as_lines(entries: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(entry, separators=(",", ":")).encode() + b"\n" for entry in entries)


WHOLE = as_lines([header(part=1), *ENTRIES])


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    reader = SessionReader(find_session(path))
    return list(reader), reader.n_damaged


def test_a_log_cut_at_any_byte_is_a_readable_session(tmp_path: Path) -> None:
    path = tmp_path / "20261130-120000-77-0001.jsonl"
    ends = [n for n in range(len(WHOLE)) if WHOLE[n : n + 1] == b"\n"]
    for n_bytes in range(len(WHOLE) + 1):
        path.write_bytes(WHOLE[:n_bytes])
        entries, n_damaged = read(path)
        assert n_damaged == 0
        # Each line that is there, but for its end, is read.
        assert entries == [header(part=1), *ENTRIES][: sum(n_bytes >= end for end in ends)]


@pytest.mark.parametrize("n_bytes", [0, 1, 20, len(WHOLE) - 30, len(WHOLE)])
def test_a_log_that_was_cut_is_drawn(
    tmp_path: Path, n_bytes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "20261130-120000-77-0001.jsonl"
    path.write_bytes(WHOLE[:n_bytes])
    assert main(["report", str(path), "--out", str(tmp_path / "out")]) == 0
    drawn = tmp_path / "out" / "20261130-120000-77.png"
    assert drawn.read_bytes().startswith(b"\x89PNG")
    out, err = capsys.readouterr()
    assert out == f"{drawn}\n"
    assert ("nothing was heard" in err) == (n_bytes <= 20)


@settings(max_examples=N_DAMAGED)
@given(data=st.data())
def test_a_damaged_log_is_read_without_its_damage_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "session.jsonl"
    path.write_bytes(damaged)
    try:
        entries, _ = read(path)
    except SessionError as error:
        assert "\n" not in str(error)
    else:
        whole = [header(part=1), *ENTRIES]
        # No damage of one line costs another.
        n_unhurt = len(set(bytes(damaged).split(b"\n")) & set(WHOLE.splitlines()))
        assert len([entry for entry in entries if entry in whole]) >= n_unhurt
        assert all(isinstance(entry["kind"], str) for entry in entries)


class Picture:
    """Stands in for matplotlib's figure."""

    def savefig(self, path: Path, dpi: int) -> None:
        path.write_bytes(b"")


BAD_LINES = (
    b"\xff\xfe",
    b"null",
    b"[1]",
    b'{"no kind": 1}',
    b'{"kind": 1}',
    b"[" * 100_000,
    b"\x00" * 50,
    b'{"kind":"emotion"}',
    b'{"kind":"emotion","time_s":NaN,"valence":0,"arousal":0,"target":{"valence":0,"arousal":0}}',
    b'{"kind":"emotion","time_s":1,"valence":0,"arousal":9,"target":{"valence":0,"arousal":0}}',
    b'{"kind":"note","onset_s":1e999,"duration_s":1,"pitch":1,"velocity":1}',
    b'{"kind":"note","onset_s":1,"duration_s":1,"pitch":"x","velocity":1}',
    b'{"kind":"note","onset_s":1,"duration_s":1,"pitch":[1],"velocity":1,"rung":[]}',
    b'{"kind":"times","time_s":' + b"9" * 400 + b"}",
)


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_costs_itself_and_is_said(
    tmp_path: Path, line: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawing takes a second and is not what is tested.
    monkeypatch.setattr(picture, "_figure", lambda course: Picture())
    path = tmp_path / "session.jsonl"
    path.write_bytes(WHOLE + line + b"\n" + WHOLE)
    assert main(["report", str(tmp_path)]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "1 entries" in err and "damaged" in err


def test_a_log_of_before_there_were_versions_is_read(tmp_path: Path) -> None:
    path = tmp_path / "20260101-120000-77.jsonl"
    path.write_bytes(as_lines(ENTRIES))
    assert read(path) == (ENTRIES, 0)


@pytest.mark.parametrize("content", [b"hello\n", b"hello", b"RIFF\x00\x01", b'{"a":1}\n', b"[]\n" * 5])
def test_what_is_no_log_is_refused(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    assert main(["report", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "x.jsonl" in err


def test_a_log_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(as_lines([{**header(), "schema": SCHEMA + 1}, *ENTRIES]))
    with pytest.raises(SessionError, match="newer than"):
        read(path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None, lambda path: __import__("os").mkfifo(path)])
def test_where_there_is_no_session_it_is_said(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "x")
    with pytest.raises(SessionError, match="give a folder"):
        find_session(tmp_path / "x")


def test_a_live_session_is_read_while_it_is_written_and_in_all_its_parts(tmp_path: Path) -> None:
    log = SessionLog(tmp_path, Bounds(max_bytes=40_000))
    for n in range(40):
        log.record({**ENTRIES[2], "onset_s": float(n)})
    assert log.flush(60.0)
    n_parts = len(list(tmp_path.iterdir()))
    assert n_parts > 1
    for path in (tmp_path, sorted(tmp_path.iterdir())[0], sorted(tmp_path.iterdir())[-1]):
        entries, n_damaged = read(path)
        assert n_damaged == 0
        assert [e["onset_s"] for e in entries if e["kind"] == "note"] == list(range(40))
        assert sum(e["kind"] == "session" for e in entries) == n_parts
    log.close()


def test_the_newest_live_session_is_drawn_without_being_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = tmp_path / "state" / "sessions"
    log = SessionLog(sessions)
    for entry in ENTRIES:
        log.record(entry)
    log.close()
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--set", f"runtime.state_dir={tmp_path}/state"]) == 0
    (name,) = capsys.readouterr().out.splitlines()
    assert (tmp_path / name).is_file()
    # Nothing is put among the logs.
    assert [path.suffix for path in sessions.iterdir()] == [".jsonl"]


def test_the_picture_of_play_lies_beside_its_log(tmp_path: Path) -> None:
    (tmp_path / "session.jsonl").write_bytes(WHOLE)
    assert draw_session(tmp_path).path == tmp_path / "session.png"
