"""``kelly-edge replay``: the summary of a session composed again, and a line for whatever is wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from simulated_player import Box

from firmware_py.__main__ import main
from firmware_py.commands import replay as command
from firmware_py.devices.offline import ListJournal
from firmware_py.devices.session.format import header
from firmware_py.settings import Settings
from firmware_py.wiring.about import about_session, settings_in_force
from firmware_py.wiring.offline import Models
from kelly_edge.emotion.programme import Phase, Programme, built_in

SECONDS = 6.0


@pytest.fixture(scope="module")
def log(models: Models, settings: Settings) -> list[dict[str, Any]]:
    """A short session, header first."""
    box = Box(settings, lambda clock: models.composer, ListJournal())
    box.run(SECONDS)
    box.close()
    assert isinstance(box.journal, ListJournal)
    return [header(part=1, **about_session(settings)), *box.journal.entries]


@pytest.fixture(autouse=True)
def opened(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network, opened once."""
    monkeypatch.setattr(command, "open_composer_network", lambda _: models.composer)


def written(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def summary_of(path: Path, capsys: pytest.CaptureFixture[str], code: int) -> dict[str, Any]:
    assert main(["replay", str(path), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_session_is_identical_and_its_summary_says_so(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = summary_of(written(tmp_path / "session.jsonl", log), capsys, 0)
    assert found["is_identical"] and found["identical_notes"] == found["identical_turns"] == 1.0
    assert found["n_played"] == found["n_played_found"] > 0
    assert found["first_difference"] == "none" and found["notices"] == []


@pytest.mark.parametrize(
    ("name", "value", "is_same"),
    [
        ("release", "0.0.1", True),
        ("code", "0" * 16, True),
        ("machine", "aarch64", True),
        ("libraries", "", True),
    ],
)
def test_what_else_ran_is_said(
    log: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    is_same: bool,
) -> None:
    changed = [{**log[0], name: value}, *log[1:]]
    found = summary_of(written(tmp_path / "session.jsonl", changed), capsys, 0 if is_same else 1)
    (notice,) = found["notices"]
    assert notice.startswith(f"{name}: {value}")


def test_a_part_that_another_release_or_other_settings_wrote_is_said(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = len(log) // 2
    written(tmp_path / "20261130-120000-7-0001.jsonl", log[:half])
    second = {**log[0], "part": 2, "config": "0" * 16}
    path = written(tmp_path / "20261130-120000-7-0002.jsonl", [second, *log[half:]])
    found = summary_of(path, capsys, 0)
    assert found["is_identical"] and found["notices"] == [f"config: {'0' * 16} from part 2 on"]


def test_another_seed_is_told_where_and_why(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**log[0], "model": "another", "settings": {**log[0]["settings"], "composer.seed": 99}}
    found = summary_of(written(tmp_path / "session.jsonl", [other, *log[1:]]), capsys, 1)
    assert not found["is_identical"] and found["identical_turns"] < 1.0
    assert found["first_difference"].startswith("at ") and " s (turn " in found["first_difference"]
    assert "model: another" in found["why"] and "config: " in found["why"]


def test_a_note_that_was_never_composed_is_found(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = next(entry for entry in log if entry["kind"] == "note")
    found = summary_of(
        written(tmp_path / "session.jsonl", [*log, {**note, "pitch": note["pitch"] + 1}]), capsys, 1
    )
    assert found["n_played"] == found["n_played_found"] + 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"settings": {"composer.seed": "x"}}, "composer.seed"),
        ({"settings": {"composer.temperature": 99}}, "composer.temperature"),
        ({"settings": {"voice.names": [1, {}]}}, "voice.names"),
        ({"settings": {"composer.seed": {"a": 1}}}, "settings"),
        ({"settings": 5}, "header"),
        ({"settings": None}, "header"),
    ],
)
def test_settings_that_cannot_be_are_one_line(
    log: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    says: str,
) -> None:
    path = written(tmp_path / "session.jsonl", [{**log[0], **change}, *log[1:]])
    assert main(["replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and says in err


def test_a_programme_of_a_folder_that_is_not_here_is_replayed(
    models: Models, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Programme("own", "w", "s", (Phase("hold", -0.9, 0.9),))
    emotion = replace(settings.emotion, programmes=("own",), programme="own", programmes_dir="/gone")
    programmes = (*built_in(settings.emotion), own)
    theirs = replace(settings, emotion=emotion)
    box = Box(theirs, lambda clock: models.composer, ListJournal(), programmes)
    box.run(SECONDS)
    box.close()
    assert isinstance(box.journal, ListJournal)
    lines = [header(part=1, **about_session(theirs, programmes)), *box.journal.entries]
    found = summary_of(written(tmp_path / "session.jsonl", lines), capsys, 0)
    assert found["is_identical"] and found["notices"] == []
    # Without it nothing is guessed.
    path = written(tmp_path / "session.jsonl", [{**lines[0], "programmes": []}, *lines[1:]])
    assert main(["replay", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "programme own" in err


def test_a_setting_of_another_release_is_passed_over_and_said(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**log[0]["settings"], "composer.to_come": 5}
    found = summary_of(
        written(tmp_path / "session.jsonl", [{**log[0], "settings": settings}, *log[1:]]), capsys, 0
    )
    assert found["notices"] == ["setting composer.to_come of the log is unknown here"]


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_log_without_turns_is_one_line(
    log: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: int
) -> None:
    path = written(tmp_path / "session.jsonl", log[:kept])
    assert main(["replay", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_of_the_header_tells_of_a_place_or_a_person(settings: Settings) -> None:
    names = set(settings_in_force(settings))
    assert not {name for name in names if name.startswith(("runtime.", "session.", "panel.", "gadget."))}
    assert not names & {"midi.outputs", "midi.inputs", "audio.card"}
