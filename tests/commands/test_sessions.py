"""Sessions that are kept: listed, exported, deleted by their exact name, never through a link; marks."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from firmware_py.__main__ import main
from firmware_py.board.map import LONGEST_MARK, MARK_DTYPE, RINGS, SESSION_DTYPE, memory_board
from firmware_py.board.pipes import FileCell, PipeRing
from firmware_py.devices.offline import ListJournal, VirtualClock
from firmware_py.devices.session.format import header
from firmware_py.devices.session.log import SessionLog
from firmware_py.processes.commands import CommandStage
from firmware_py.processes.control import ControlStage
from firmware_py.settings import Settings

MOOD = {"valence": 0.5, "arousal": -0.5}
BAR_S = 2.0


def bar_of(**changes: Any) -> dict[str, Any]:
    plain = {"time_s": 1.0, "beat_s": 0.5, "n_beats": 4, "number": 0, "tonic": 0, "mode": 1}
    return {"kind": "bar", **plain, **changes}


def note_of(**changes: Any) -> dict[str, Any]:
    plain = {"onset_s": 1.0, "due_s": 1.0, "duration_s": 0.4, "pitch": 60, "velocity": 70, "bar": 0}
    return {"kind": "note", **plain, "rung": "full", **changes}


def entries(n_bars: int = 8) -> list[dict[str, Any]]:
    """A session that begins 100 s after the box did."""
    found: list[dict[str, Any]] = [{"kind": "knobs", "time_s": 0.0, "programme": "iso", "n_sessions": 0}]
    for bar in range(n_bars):
        start_s = 100.0 + bar * BAR_S
        found.append({"kind": "emotion", "time_s": start_s, **MOOD, "presence": 1.0, "target": MOOD})
        found.append(bar_of(time_s=start_s, number=bar))
        for beat in range(4):
            onset_s = start_s + 0.5 * beat
            found.append(note_of(onset_s=onset_s, due_s=onset_s, pitch=60 + beat, bar=bar))
    return found


def kept(state: Path, name: str, content: list[dict[str, Any]] | None = None, part: int = 1) -> Path:
    """A session in the folder of ``state``."""
    folder = state / "sessions"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{part:04}.jsonl"
    lines = [header(part=part), *(entries() if content is None else content)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def session(state: Path, *words: str) -> int:
    return main(["session", *words, "--set", f"runtime.state_dir={state}"])


def test_sessions_are_listed_with_begin_length_size_and_programme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path, "20261130-101500-7")
    later = kept(tmp_path, "20261130-113000-7", [])
    kept(tmp_path, "20261130-113000-7", entries(2), part=2)
    os.utime(later, (2e9, 2e9))
    (tmp_path / "sessions" / "20261130-120000-7-0001.jsonl").symlink_to("/etc/passwd")
    (tmp_path / "sessions" / "notes.txt").write_text("x")
    assert session(tmp_path, "list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["begin"]) == ("20261130-101500-7", "2026-11-30 10:15")
    assert first["seconds"] == 7 * BAR_S and first["programme"] == "iso" and first["bytes"] > 1_000
    assert second["name"] == "20261130-113000-7" and second["seconds"] == BAR_S
    assert session(tmp_path, "list") == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 3 and "iso" in out[1]


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"{}\n" * 5, b"[" * 70_000])
def test_damage_is_listed_too(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    kept(tmp_path, "20261130-101500-7").write_bytes(content)
    assert session(tmp_path, "list", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["seconds"] == 0.0 and found["bytes"] == len(content)


def test_without_a_session_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert session(tmp_path, "list") == 0
    assert "no session is kept" in capsys.readouterr().err


def test_a_session_is_deleted_by_its_exact_name_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, second = kept(tmp_path, "20261130-101500-7"), kept(tmp_path, "20261130-101500-7", part=2)
    other = kept(tmp_path, "20261130-101500-77")
    for wrong in ("20261130-101500", "20261130*", "..", "20261130-101500-7-0001", str(path), ""):
        assert session(tmp_path, "delete", wrong, "--yes") == 2
        assert capsys.readouterr().err.count("\n") == 1
    # Nobody is there to ask.
    assert session(tmp_path, "delete", "20261130-101500-7") == 2
    assert path.exists() and second.exists()
    assert session(tmp_path, "delete", "20261130-101500-7", "--yes") == 0
    assert not path.exists() and not second.exists() and other.exists()


def test_a_link_among_the_sessions_is_neither_followed_nor_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "20261130-101500-9-0001.jsonl"
    target.write_text("precious\n")
    folder = tmp_path / "sessions"
    folder.mkdir()
    link = folder / target.name
    link.symlink_to(target)
    name, out = "20261130-101500-9", str(tmp_path / "x")
    for words in (("delete", name, "--yes"), ("export", name, "--out", out)):
        assert session(tmp_path, *words) == 2
    assert link.is_symlink() and target.read_text() == "precious\n"
    assert capsys.readouterr().err.count("\n") == 2


def test_a_session_that_is_being_written_is_not_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = SessionLog(tmp_path / "sessions")
    log.record({"kind": "marker", "time_s": 0.0, "text": ""})
    assert log.flush(60.0)
    (path,) = (tmp_path / "sessions").iterdir()
    name = path.name.removesuffix("-0001.jsonl")
    assert session(tmp_path, "delete", name, "--yes") == 2
    assert "being written" in capsys.readouterr().err and path.exists()
    log.close()
    assert session(tmp_path, "delete", name, "--yes") == 0


def test_an_export_holds_bars_notes_course_and_report(tmp_path: Path) -> None:
    kept(tmp_path, "20261130-101500-7")
    out = tmp_path / "out"
    assert session(tmp_path, "export", "20261130-101500-7", "--out", str(out)) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "course.csv",
        "notes.csv",
        "performance.mid",
        "report.html",
    ]
    with (out / "notes.csv").open() as file:
        notes = list(csv.DictReader(file))
    assert len(notes) == 32 and float(notes[1]["onset_s"]) == 100.5 and notes[1]["pitch"] == "61"
    with (out / "course.csv").open() as file:
        course = list(csv.DictReader(file))
    assert float(course[0]["valence_heard"]) == 0.5 and float(course[0]["arousal_asked"]) == -0.5
    assert 100.0 <= float(course[0]["time_s"]) < 102.0
    midi = mido.MidiFile(out / "performance.mid")
    tempi = [m.tempo for m in midi.tracks[0] if m.type == "set_tempo"]
    assert tempi[-1] == 500_000
    ons = [m for m in midi if m.type == "note_on" and m.velocity]
    assert len(ons) == 32
    # A bar line is on the grid: the first note of each bar begins a measure.
    tick = 0
    ticks = []
    for message in midi.tracks[0]:
        tick += message.time
        if message.type == "note_on" and message.velocity:
            ticks.append(tick)
    assert {(t - ticks[0]) % (4 * midi.ticks_per_beat) for t in ticks[::4]} == {0}


@pytest.mark.parametrize(
    "bad",
    [
        bar_of(beat_s=0.0),
        bar_of(beat_s=1e-300, n_beats=10**9),
        bar_of(time_s="x"),
        bar_of(tonic=None),
        note_of(pitch=300),
        note_of(onset_s=1e300),
        note_of(duration_s=-1.0),
    ],
)
def test_damage_costs_an_export_itself(tmp_path: Path, bad: dict[str, Any]) -> None:
    kept(tmp_path, "20261130-101500-7", [*entries(2), bad])
    out = tmp_path / "out"
    assert session(tmp_path, "export", "20261130-101500-7", "--out", str(out)) == 0
    assert len([m for m in mido.MidiFile(out / "performance.mid") if m.type == "note_on"]) >= 8


# --- marks ----------------------------------------------------------------------------------


def test_a_mark_reaches_the_log_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    ring = PipeRing(run_dir / "marks.ring", MARK_DTYPE, (), RINGS["marks"].capacity)
    state = FileCell(run_dir / "session.cell", SESSION_DTYPE)
    session_on = np.zeros((), SESSION_DTYPE)
    state.write(session_on)
    words = ["session", "mark", "she smiles – ja", "--set", f"runtime.run_dir={run_dir}"]
    assert main(words) != 0
    assert "no session is on" in capsys.readouterr().err
    session_on["is_on"] = True
    state.write(session_on)
    board, clock, journal = memory_board(), VirtualClock(12.5), ListJournal()
    control = ControlStage(board.ends("control"), Settings(), journal)
    stage = CommandStage(board.ends("control"), control, clock)
    # The box takes it as soon as it lies there.
    record = np.zeros((), MARK_DTYPE)

    def take(*_: object) -> None:
        while ring.read(record):
            board.rings["marks"].write(record)

    monkeypatch.setattr("firmware_py.commands.requests.time.sleep", take)
    assert main(words) == 0
    assert "she smiles" in capsys.readouterr().out
    stage.step()
    assert [e for e in journal.entries if e["kind"] == "marker"] == [
        {"kind": "marker", "time_s": 12.5, "text": "she smiles – ja"}
    ]
    assert int(control.knobs["n_marks"]) == 1


@pytest.mark.parametrize("text", ["x" * (LONGEST_MARK + 1), "a\nb", "a\x1b[31m", "ä" * LONGEST_MARK])
def test_a_mark_that_cannot_be_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["session", "mark", text, "--set", f"runtime.run_dir={tmp_path}"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "mark" in err


def test_without_a_log_or_a_box_a_mark_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["session", "mark", "x", "--set", f"runtime.run_dir={tmp_path}"]
    assert main(words) == 2
    assert main([*words, "--set", "session.log=false"]) == 2
    err = capsys.readouterr().err
    assert "nothing runs" in err and "nothing is logged" in err
