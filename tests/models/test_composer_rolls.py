"""Pictures of clips: the bar lines of the file, the kinds of its bars, and what is refused."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib (pip install .[report])")

from kelly_edge.music.notes import Bar, BarNote
from models.composer import rolls
from models.composer.data import read_midi
from models.composer.generate import write_midi

FIGURES = {"a": (60, 64, 67, 72), "b": (50, 53, 57, 62), "c": (55, 59, 62, 65)}


def clip(folder: Path, pattern: str) -> Path:
    bars = [
        Bar(i, 96.0, 4, tuple(BarNote(beat, 1.0, p, 70) for beat, p in enumerate(FIGURES[letter])), 0)
        for i, letter in enumerate(pattern)
    ]
    path = folder / "Q1_000.mid"
    write_midi(bars, path, 60.0)
    return path


def test_bars_that_come_again_are_of_one_kind(tmp_path: Path) -> None:
    path = clip(tmp_path, "abacab")
    lines_s = rolls.bar_lines_s(path)
    assert lines_s == pytest.approx([2.5 * i for i in range(7)])
    bars = rolls.bars_between(read_midi(path), lines_s)
    assert rolls.kinds_of(bars) == [0, 1, 0, 3, 0, 1]


def test_a_picture_is_drawn_and_a_damaged_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = clip(tmp_path, "abac")
    monkeypatch.setattr(sys, "argv", ["rolls", str(path), "--out", str(tmp_path / "png")])
    assert not rolls.main()
    assert (tmp_path / "png" / "Q1_000.png").read_bytes()[:4] == b"\x89PNG"
    path.write_bytes(b"not MIDI")
    assert rolls.main() == 2
    assert capsys.readouterr().err.count("\n") == 1
