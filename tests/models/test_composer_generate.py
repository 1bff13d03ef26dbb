"""The command that composes files: what it refuses, and that it draws as the box does."""

import sys
from pathlib import Path

import pytest

from firmware_py.settings import Settings
from kelly_edge.music.sampling import SamplingSettings
from models.composer import generate
from models.composer.data import read_midi


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["generate", *words])
    return generate.main()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--quadrant", "Q1", "--n", "0"], "--n 0: not within 1..100000"),
        (["--quadrant", "Q1", "--seconds", "nan"], "--seconds nan: not within 1.0..3600.0"),
        (["--quadrant", "Q1", "--seed", "-1"], "--seed -1: not within"),
        (["--valence", "3", "--arousal", "0"], "--valence 3.0: not within -1.0..1.0"),
        (["--valence", "0.5"], "give --quadrant, or --valence and --arousal"),
        (["--quadrant", "Q1", "--valence", "0.5"], "give --quadrant, or --valence and --arousal"),
        (["--quadrant", "Q1", "--model", "none.onnx"], "--model none.onnx: no such file"),
    ],
)
def test_a_bad_argument_is_one_line_and_writes_nothing(
    words: list[str],
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *words, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert fault in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("")
    assert run(monkeypatch, "--quadrant", "Q3", "--seconds", "2", "--out", str(tmp_path / "out")) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_files_are_named_by_quadrant_and_the_same_seed_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        run(
            monkeypatch,
            "--quadrant",
            "Q2",
            "--n",
            "2",
            "--seconds",
            "6",
            "--seed",
            "5",
            "--out",
            str(tmp_path / name),
        )
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["Q2_000.mid", "Q2_001.mid"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert read_midi(tmp_path / "a" / file).onset_s.max() < 6.0


def test_it_draws_as_the_box_does() -> None:
    composer = Settings().composer
    assert SamplingSettings() == SamplingSettings(temperature=composer.temperature, top_p=composer.top_p)
