"""Train the composer: pre-train on POP909, fine-tune on EMOPIA, keep the best by EMOPIA's validation.

``python -m models.composer.train --config student|teacher --work DIR [--teacher DIR/teacher-best.pt]``

A stage lasts a number of minutes of its own training time; the rate follows a cosine over them, so a run
that is stopped goes on where its last checkpoint was. With ``--teacher`` the heads are also drawn towards
the teacher's distributions (Kullback-Leibler). Under ``torchrun`` it trains data-parallel (gloo or nccl).
"""

import argparse
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

from kelly_edge.errors import DataError, KellyError
from kelly_edge.music.compound_word import (
    AROUSAL,
    BAR,
    COLUMN,
    DENSITY,
    FAMILIES,
    MODE,
    NOTE,
    PITCH,
    SAMPLED,
    TEMPO,
    TYPE,
    VALENCE,
    VELOCITY,
    Rows,
)
from models.composer.data import load_tokens
from models.composer.network import Composer, NetworkConfig, row_losses

CONFIGS = Path(__file__).with_name("configs.yaml")
DROPPED = {VALENCE: 0.15, AROUSAL: 0.15, DENSITY: 0.5, MODE: 0.1}
"""How often a condition is withheld from a whole sequence, so that it may be unknown in play."""
OCTAVE_SHIFTED = {"pop909": 0.2, "emopia": 0.0}
"""Share of sequences moved by an octave; not in fine-tuning, where register says something of the emotion."""
CHECKPOINT_S = 180.0
WARM_UP = 0.03
"""Share of a stage over which the rate rises."""
KL_SHARE = 0.5


@dataclass(frozen=True)
class Stage:
    """One corpus, its time and its optimiser's settings."""

    corpus: str
    minutes: float
    batch: int
    rate: float
    weight_decay: float


def load_config(name: str) -> tuple[NetworkConfig, list[Stage]]:
    """Network and stages of a config by name."""
    configs = yaml.safe_load(CONFIGS.read_text(encoding="utf-8"))
    if name not in configs:
        raise DataError(f"--config {name}: not one of {', '.join(configs)} ({CONFIGS.name})")
    return NetworkConfig(**configs[name]["network"]), [Stage(**stage) for stage in configs[name]["stages"]]


def save_checkpoint(path: Path, model: Composer, **more: Any) -> None:
    """Write beside, then rename."""
    beside = path.with_suffix(".part")
    torch.save({"config": asdict(model.config), "model": model.state_dict(), **more}, beside)
    beside.rename(path)


def load_model(path: Path) -> Composer:
    """The network of a checkpoint, ready to evaluate."""
    if not path.exists():
        raise DataError(f"{path}: no checkpoint; train one with python -m models.composer.train")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Composer(NetworkConfig(**saved["config"]))
    model.load_state_dict(saved["model"])
    return model.eval()


def draw_sequence(pieces: list[Rows], n_rows: int, octave: float, rng: np.random.Generator) -> Rows:
    """Passages from random bar lines, one after another until ``n_rows`` are full, augmented.

    A passage after another teaches what happens when the emotion asked for changes.
    """
    parts, length = [], 0
    while length < n_rows:
        piece = pieces[rng.integers(len(pieces))]
        lines = np.flatnonzero(piece[:, TYPE] == BAR)
        start = 0 if rng.random() < 0.3 else lines[rng.integers(len(lines))]
        part = piece[start : start + n_rows - length].copy()
        notes = part[:, TYPE] == NOTE
        if rng.random() < octave:
            shift = int(rng.choice([-12, 12]))
            moved = part[notes, PITCH] + shift
            if len(moved) and moved.min() >= 1 and moved.max() < FAMILIES[PITCH].size:
                part[notes, PITCH] = moved
        shift = rng.integers(-1, 2)
        part[notes, VELOCITY] = np.clip(part[notes, VELOCITY] + shift, 1, FAMILIES[VELOCITY].size - 1)
        part[:, TEMPO] = np.clip(part[:, TEMPO] + rng.integers(-1, 2), 1, FAMILIES[TEMPO].size - 1)
        for column, share in DROPPED.items():
            if rng.random() < share:
                part[:, column] = 0
        parts.append(part)
        length += len(part)
    return np.concatenate(parts)


class Likelihood(nn.Module):
    """The loss as one module, so that data-parallel training sees one forward."""

    def __init__(self, model: Composer) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows: Tensor, teacher: list[Tensor] | None = None) -> Tensor:
        """Mean negative log likelihood of a row in nats, drawn towards the teacher's logits if given."""
        logits = self.model.logits(self.model(rows), rows)
        loss = row_losses(logits, rows).sum(-1).mean()
        if teacher is None:
            return loss
        kl = torch.zeros((), device=rows.device)
        for family, mine, theirs in zip(SAMPLED, logits, teacher, strict=True):
            applies = rows[..., TYPE] == family.row if family.row else rows[..., TYPE] > 0
            each = F.kl_div(mine.log_softmax(-1), theirs.log_softmax(-1), reduction="none", log_target=True)
            kl = kl + (each.sum(-1) * applies).mean()
        return (1.0 - KL_SHARE) * loss + KL_SHARE * kl


@torch.no_grad()
def validate(model: Composer, pieces: list[Rows]) -> dict[str, float]:
    """NLL in nats: of a note (all its families), of a row, and of each family where it applies."""
    model.eval()
    sums, counts, n_notes, note_sum = np.zeros(len(SAMPLED)), np.zeros(len(SAMPLED)), 0, 0.0
    for start in range(0, len(pieces), 8):
        batch = [piece[: model.config.context] for piece in pieces[start : start + 8]]
        rows = torch.zeros(len(batch), max(map(len, batch)), len(FAMILIES), dtype=torch.long)
        for i, piece in enumerate(batch):
            rows[i, : len(piece)] = torch.from_numpy(piece.astype(np.int64))
        losses = row_losses(model.logits(model(rows), rows), rows)
        sums += losses.sum((0, 1)).double().numpy()
        counts += [
            int((rows[..., TYPE] == f.row).sum() if f.row else (rows[..., TYPE] > 0).sum()) for f in SAMPLED
        ]
        notes = rows[..., TYPE] == NOTE
        n_notes += int(notes.sum())
        note_sum += float(losses.sum(-1)[notes].double().sum())
    each = {family.name: float(sums[i] / max(1, counts[i])) for i, family in enumerate(SAMPLED)}
    return {"note": note_sum / n_notes, "row": float(sums.sum() / counts[COLUMN["type"]]), **each}


def new_optimiser(model: nn.Module, stage: Stage) -> torch.optim.AdamW:
    """AdamW with decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": stage.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=stage.rate, betas=(0.9, 0.98))


def rate_at(progress: float) -> float:
    """Share of the rate at ``progress`` 0..1 of a stage: a rise, then a cosine to 2 %."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def train(name: str, work: Path, teacher_path: Path | None, minutes: float | None) -> None:
    """Run the stages that the checkpoint in ``work`` has not finished."""
    config, stages = load_config(name)
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else "cpu"
    )
    if world > 1:
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(1)
    model = Composer(config).to(device)
    teacher = load_model(teacher_path).to(device) if teacher_path else None
    validation = load_tokens(work / "tokens.npz", "emopia", "val")
    path, best_path = work / f"{name}-last.pt", work / f"{name}-best.pt"
    state: dict[str, Any] = {"stage": 0, "elapsed_s": 0.0, "step": 0, "best": math.inf}
    saved = torch.load(path, map_location=device, weights_only=True) if path.exists() else None
    if saved:
        model.load_state_dict(saved["model"])
        state = saved["state"]
    likelihood: nn.Module = Likelihood(model)
    if world > 1:
        likelihood = nn.parallel.DistributedDataParallel(likelihood)

    while state["stage"] < len(stages):
        stage = stages[state["stage"]]
        budget_s = 60.0 * (minutes if minutes is not None else stage.minutes)
        pieces = load_tokens(work / "tokens.npz", stage.corpus, "train")
        optimiser = new_optimiser(model, stage)
        if saved:
            optimiser.load_state_dict(saved["optimiser"])
            saved = None
        rng = np.random.default_rng([state["step"], rank])
        losses: list[float] = []
        last_s = state["elapsed_s"]
        while True:
            began_s = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = stage.rate * rate_at(state["elapsed_s"] / budget_s)
            batch = [
                draw_sequence(pieces, config.context, OCTAVE_SHIFTED[stage.corpus], rng)
                for _ in range(stage.batch)
            ]
            rows = torch.from_numpy(np.stack(batch).astype(np.int64)).to(device)
            model.train()
            with torch.autocast(rows.device.type, torch.bfloat16):
                theirs = None
                if teacher is not None:
                    with torch.no_grad():
                        theirs = teacher.logits(teacher(rows), rows)
                loss = likelihood(rows, theirs)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            state["step"] += 1
            state["elapsed_s"] += time.monotonic() - began_s
            done = torch.tensor(float(state["elapsed_s"] >= budget_s), device=device)
            if world > 1:
                torch.distributed.broadcast(done, 0)
            if state["elapsed_s"] - last_s < CHECKPOINT_S and not done:
                continue
            last_s = state["elapsed_s"]
            if rank == 0:
                scores = validate(model, validation)
                print(
                    f"{name} {stage.corpus} step {state['step']} {state['elapsed_s'] / 60:.1f} min"
                    f" train {np.mean(losses):.3f} " + " ".join(f"{k} {v:.3f}" for k, v in scores.items()),
                    flush=True,
                )
                if stage.corpus == "emopia" and scores["note"] < state["best"]:
                    state["best"] = scores["note"]
                    save_checkpoint(best_path, model, scores=scores)
                save_checkpoint(path, model, optimiser=optimiser.state_dict(), state=state)
            losses = []
            if done:
                break
        state = {**state, "stage": state["stage"] + 1, "elapsed_s": 0.0}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="models.composer.train", description=__doc__)
    parser.add_argument("--config", default="student", help="a network of configs.yaml")
    parser.add_argument(
        "--work", type=Path, default=Path("out/composer"), help="folder for tokens and checkpoints"
    )
    parser.add_argument("--teacher", type=Path, help="checkpoint to distil from")
    parser.add_argument("--minutes", type=float, help="of every stage, instead of the config's")
    arguments = parser.parse_args()
    try:
        train(arguments.config, arguments.work, arguments.teacher, arguments.minutes)
    except KellyError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
