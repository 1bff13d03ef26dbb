# ruff: noqa: E402 - what needs torch is imported after it was found
"""Training the composer: augmentation, distillation, resuming, and two processes as one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs torch (pip install .[train])")

from kelly_edge.errors import DataError
from kelly_edge.music import compound_word as cw
from kelly_edge.music.compound_word import Condition, GridBar, GridNote
from models.composer import distil, train
from models.composer.data import Piece, save_tokens
from models.composer.muon import Muon
from models.composer.network import Composer, NetworkConfig
from models.composer.sequences import Drawn, draw_sequence, load_taught, taught_folder
from models.composer.train import Likelihood, load_model
from models.precision import fast_dtype

torch.set_num_threads(1)

TINY = {"n_layers": 1, "width": 16, "n_heads": 2, "context": 32, "head_width": 8, "dropout": 0.0}
STAGE = {"minutes": 0.01, "batch": 2, "rate": 1.0e-2, "weight_decay": 0.0}
"""0.6 s a stage."""


def piece(n_bars: int = 12, lowest: int = 60) -> cw.Rows:
    notes = tuple(GridNote(i, lowest + i, 4, 63) for i in range(0, 16, 4))
    return cw.encode([GridBar(Condition(3, 3, 2, 1), 96.0, 1, notes)] * n_bars)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with tokens of six pieces and a file of configs."""
    pieces = [
        (Piece(f"{split}{quadrant}", "", split, quadrant, ()), piece(lowest=50 + quadrant))
        for split in ("train", "held", "val")
        for quadrant in (0, 1)
    ]
    save_tokens(pieces, tmp_path / "tokens.npz")
    stages = [{"corpus": corpus, **STAGE} for corpus in ("pop909", "emopia")]
    configs = {"tiny": {"network": TINY, "stages": stages}}
    (tmp_path / "configs.yaml").write_text(yaml.safe_dump(configs), encoding="utf-8")
    return tmp_path


def test_drawn_sequences_begin_with_a_bar_and_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    sizes = np.array([family.size for family in cw.FAMILIES])
    for _ in range(30):
        rows = draw_sequence([piece(12), piece(3)], 64, 0.5, rng)
        assert rows.shape == (64, cw.N_FAMILIES)
        assert rows[0, cw.TYPE] == cw.BAR
        assert np.all((rows >= 0) & (rows < sizes))


def test_another_piece_begins_only_where_another_emotion_is_asked_for() -> None:
    rng = np.random.default_rng(1)
    pieces = []
    for level in (2, 3, 5):  # each level of arousal has a pitch of its own
        notes = (GridNote(0, 60 + level, 4, 63), GridNote(8, 60 + level, 4, 63))
        pieces.append(cw.encode([GridBar(Condition(2, level, 2, 1), 96.0, 1, notes)] * 6))
    n_joins = 0
    for _ in range(200):
        rows = draw_sequence(pieces, 48, 0.0, rng)
        if not rows[0, cw.AROUSAL]:
            continue  # withheld: the change cannot be seen
        pitch = np.where(rows[:, cw.TYPE] == cw.NOTE, rows[:, cw.PITCH], np.roll(rows[:, cw.PITCH], -1))
        joins = pitch[1:] != pitch[:-1]
        n_joins += joins.sum()
        assert np.all((rows[1:, cw.AROUSAL] != rows[:-1, cw.AROUSAL])[joins])
    assert n_joins > 100


def test_a_student_that_equals_its_teacher_pays_half_the_likelihood_and_what_it_cannot_project() -> None:
    torch.manual_seed(0)
    model = Composer(NetworkConfig(**TINY)).eval()
    likelihood = Likelihood(model, teacher_width=16)
    rows = torch.from_numpy(piece(4)[None].astype(np.int64))
    with torch.no_grad():
        likelihood.projection.weight.copy_(torch.eye(16))
        likelihood.projection.bias.zero_()
        hidden = model.hidden(rows[:, :-1])
        logits = model.logits(model.contexts_of(hidden), rows)
        alone = float(likelihood(rows))
        assert float(likelihood(rows, logits, hidden)) == pytest.approx(0.5 * alone, rel=1e-4)
        likelihood.projection.weight.zero_()
        assert float(likelihood(rows, logits, hidden)) > 0.5 * alone + 0.9 * train.HIDDEN_WEIGHT


def test_taught_sequences_are_what_the_teacher_makes_of_their_rows(work: Path) -> None:
    teacher = Composer(NetworkConfig(**{**TINY, "width": 32})).eval()
    drawn = Drawn([piece()], "emopia", teacher.config.context)
    distil.write_taught(teacher, drawn, 5, taught_folder(work, "emopia"))
    rows, logits, hidden = load_taught(work, "emopia", TINY["context"]).draw(3, np.random.default_rng(0))
    assert rows.shape == (3, 32, cw.N_FAMILIES) and hidden.shape == (3, 31, 32)
    with torch.no_grad():
        expected = teacher.hidden(rows[:, :-1])
        torch.testing.assert_close(hidden, expected, atol=0.05, rtol=0.05)
        for mine, theirs in zip(teacher.logits(teacher.contexts_of(expected), rows), logits, strict=True):
            torch.testing.assert_close(mine, theirs, atol=0.02, rtol=0.02)
    with pytest.raises(DataError, match=r"sequences of 32 rows, the network reads 64"):
        load_taught(work, "emopia", 64)


def test_distillation_without_taught_sequences_names_the_command_that_writes_them(work: Path) -> None:
    with pytest.raises(DataError, match=r"models\.composer\.distil .*--corpus pop909"):
        train.train("tiny", work, distil=True, configs=work / "configs.yaml")


def test_a_distilled_student_comes_nearer_to_its_teacher(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = Composer(NetworkConfig(**{**TINY, "width": 32}))
    with torch.no_grad():
        teacher.heads[1].bias[7] = 4.0  # a teacher that loves one tempo the data never shows
    for corpus in ("pop909", "emopia"):
        drawn = Drawn([piece()], corpus, TINY["context"])
        distil.write_taught(teacher.eval(), drawn, 6, taught_folder(work, corpus))
    train.train("tiny", work, distil=True, configs=work / "configs.yaml")
    student = load_model(work / "tiny-last.pt")
    rows = torch.from_numpy(piece(4)[None].astype(np.int64))
    with torch.no_grad():
        tempo = student.logits(student(rows), rows)[1].softmax(-1)[..., 7]
    assert float(tempo.mean()) > 0.2
    assert "tiny emopia step" in capsys.readouterr().out


def test_a_finished_training_is_not_done_again(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.train("tiny", work, configs=work / "configs.yaml")
    assert capsys.readouterr().out.count("tiny") == 2
    last = torch.load(work / "tiny-last.pt", weights_only=True)
    assert (last["state"]["stage"], last["state"]["elapsed_s"] >= 0.6) == (1, True)
    train.train("tiny", work, configs=work / "configs.yaml")
    assert capsys.readouterr().out == ""


def test_two_processes_train_one_network(work: Path) -> None:
    """DistributedDataParallel over gloo, as torchrun starts it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "models.composer.train", "--config", "tiny"]
    command += ["--configs", str(work / "configs.yaml"), "--work", str(work)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-2_000:]
    assert ran.stdout.count("tiny pop909 step") == 1  # one process speaks
    assert ran.stdout.count("tiny emopia step") == 1
    assert load_model(work / "tiny-best.pt").config.width == 16


def test_a_config_that_does_not_exist_is_one_line(work: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "models.composer.train",
        "--config",
        "tiny",
        "--configs",
        str(work / "none.yaml"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1 and "no such file" in ran.stderr


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_is_torchs_in_any_precision(shape: tuple[int, int], dtype: torch.dtype) -> None:
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimisers = [
        Muon([ours], 0.1, 0.05, dtype),
        torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
    ]
    for seed in range(5):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimiser in optimisers:
            optimiser.step()
    moved = float((theirs.detach() - start).norm())
    assert moved > 0.5
    assert float((ours - theirs).detach().norm()) < 0.02 * moved  # torch's own rounding to eight bits


def test_a_precision_is_chosen_by_the_clock() -> None:
    assert fast_dtype(torch.device("cpu")) in (torch.float32, torch.bfloat16)
