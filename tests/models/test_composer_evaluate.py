# ruff: noqa: E402 - what needs torch is imported after it was found
"""Measuring the composer: likelihood through the graph, copies, repeats, and what it refuses."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")
pytest.importorskip("onnx", reason="export needs onnx (pip install .[train])")

from firmware_py.runtimes.onnx import OnnxComposer
from kelly_edge.errors import DataError
from kelly_edge.music import compound_word as cw
from kelly_edge.music.compound_word import Condition, GridBar, GridNote
from kelly_edge.music.known_runs import N_INTERVALS, KnownRuns, interval_hashes
from kelly_edge.music.notes import Bar, BarNote
from models.composer import evaluate
from models.composer.data import Notes, Piece, save_tokens
from models.composer.export import export_step, sample_rows
from models.composer.generate import write_midi
from models.composer.judge import quadrants_of
from models.composer.network import Composer, NetworkConfig

TINY = NetworkConfig(n_layers=1, width=16, n_heads=2, context=64, head_width=8, dropout=0.0)


def uneven(notes: cw.Rows, moved: int) -> Notes:
    """The note rows as played 15 ms off the grid, each chord downwards, ``moved`` semitones higher."""
    onset = np.cumsum(notes[:, cw.POSITION] != np.roll(notes[:, cw.POSITION], 1)) * 0.2
    onset = onset + 0.015 * (120 - notes[:, cw.PITCH]) / 120
    order = np.argsort(onset)
    pitch = (notes[:, cw.PITCH] + moved).astype(np.int64)
    return Notes(onset[order], onset[order] + 0.1, pitch[order], np.full(len(pitch), 64))


def test_the_graph_and_torch_agree_on_every_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Composer(TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    export_step(model, KnownRuns(np.zeros(1, np.uint8)), tmp_path / "float.onnx", int8=False)
    network, rows = OnnxComposer(tmp_path / "float.onnx"), sample_rows(20, 64)
    expected = evaluate.torch_logits(model, rows)
    for mine, theirs in zip(evaluate.onnx_logits(network, rows), expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    assert evaluate.is_float_of(model, network)
    assert not evaluate.is_float_of(Composer(TINY), network)


def test_copied_runs_are_found_though_moved_and_played_unevenly() -> None:
    rng = np.random.default_rng(0)
    bars = []
    for _ in range(6):
        chords = [rng.choice(range(50, 80), 2, replace=False) for _ in range(4)]
        struck = [GridNote(4 * beat, int(p), 4, 63) for beat, chord in enumerate(chords) for p in chord]
        bars.append(GridBar(Condition(1, 1, 1, 1), 96.0, 1, tuple(struck)))
    rows = cw.encode(bars)
    notes = rows[rows[:, cw.TYPE] == cw.NOTE]
    known = interval_hashes(notes[:, cw.PITCH])
    played = uneven(notes, moved=5)
    found = interval_hashes(played.pitch[evaluate.by_grid(played)])
    assert np.isin(found, known).all()
    other = interval_hashes(rng.integers(40, 80, 48))
    assert not np.isin(other, known).any()
    assert len(interval_hashes(notes[:N_INTERVALS, cw.PITCH])) == 0


def test_repeated_bars_are_counted_as_a_share() -> None:
    def bar(pitch: int) -> GridBar:
        return GridBar(Condition(), 96.0, 1, (GridNote(0, pitch, 4, 63), GridNote(8, pitch, 4, 63)))

    assert evaluate.repeated_bars([cw.encode([bar(60), bar(62), bar(60), bar(64), bar(64)])]) == 0.5


def test_the_likelihood_of_a_folder_needs_nothing_but_the_shipped_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tuple(BarNote(beat, 1.0, 60 + 2 * beat, 70) for beat in range(4))
    bars = [Bar(i, 120.0, 4, notes, 0) for i in range(8)]
    write_midi(bars, tmp_path / "midi" / "a.mid", 60.0)
    words = ["evaluate", "--midi-dir", str(tmp_path / "midi"), "--work", str(tmp_path), "--json"]
    monkeypatch.setattr(sys, "argv", words)
    evaluate.main()
    found = json.loads(capsys.readouterr().out)
    assert found["n_notes"] == 32
    assert 0.0 < found[evaluate.INT8]["nll_per_note"] < sum(np.log(family.size) for family in cw.SAMPLED)


def test_a_folder_without_music_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate", "--midi-dir", str(tmp_path)])
    assert evaluate.main() == 2
    said = capsys.readouterr().err
    assert "no .mid files" in said and said.count("\n") == 1


def test_a_name_without_a_quadrant_is_refused() -> None:
    with pytest.raises(DataError, match=r"va_000\.mid: its name does not begin with Q1"):
        quadrants_of(["Q1_000", "va_000"])


def test_copies_are_looked_for_in_the_tokens_of_training_only(tmp_path: Path) -> None:
    """A folder of one file that is a training piece, played back, is a copy."""
    rng = np.random.default_rng(3)
    pitches = [[int(p) for p in rng.integers(50, 80, 4)] for _ in range(8)]
    grid = [
        GridBar(Condition(1, 1, 1, 1), 120.0, 1, tuple(GridNote(4 * i, p, 4, 63) for i, p in enumerate(bar)))
        for bar in pitches
    ]
    bars = [
        Bar(n, 120.0, 4, tuple(BarNote(float(i), 0.9, p + 3, 63) for i, p in enumerate(bar)), 0)
        for n, bar in enumerate(pitches)
    ]
    write_midi(bars, tmp_path / "midi" / "Q1_000.mid", 60.0)
    shares = {}
    for split in ("train", "val"):
        other = "val" if split == "train" else "train"
        pieces = [(Piece("a", "", split, 1, ()), cw.encode(grid))]
        filler = cw.encode([GridBar(Condition(1, 1, 1, 1), 120.0, 1, (GridNote(0, 60, 4, 63),))] * 20)
        pieces += [(Piece(f"f{s}{q}", "", s, q, ()), filler) for s in (split, other) for q in (0, 1)]
        save_tokens(pieces, tmp_path / "tokens.npz")
        shares[split] = evaluate.copied_share(tmp_path / "midi", tmp_path / "tokens.npz")
    assert shares == {"train": 1.0, "val": 0.0}
