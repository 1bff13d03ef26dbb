"""Train the composer: pre-train on POP909, fine-tune on EMOPIA, keep the best by held-out songs.

``python -m models.composer.train --config student|teacher|guide|free --work DIR [--distil]``; ``free`` learns
from POP909 and the Lieder alone (``models.free.data``).

A stage lasts a number of minutes of CPU time; the rate follows a cosine over them, so a run that is
stopped goes on where its last checkpoint was. DIR/teacher-best.pt has the best likelihood of songs held
out of EMOPIA's training split, DIR/teacher-pop909.pt is the end of a stage. With ``--distil`` the
sequences are those that ``models.composer.distil`` wrote, and the heads and the trunk are drawn towards
what the teacher makes of them (Kullback-Leibler; squared error through a projection). Under ``torchrun``
it trains data-parallel (gloo or nccl), on one machine or several.
"""

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
from kelly_edge.music.compound_word import COLUMN, FAMILIES, NOTE, SAMPLED, TYPE, Rows
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import load_tokens
from models.composer.muon import Muon
from models.composer.network import Composer, NetworkConfig, row_losses
from models.composer.sequences import Drawn, Taught, load_taught
from models.precision import fast_dtype

CONFIGS = Path(__file__).with_name("configs.yaml")
CHECKPOINT_S = 180.0
"""Chosen: what an interruption costs at most."""
WARM_UP = 0.03
"""Share of a stage over which the rate rises. Chosen by hand."""
KL_SHARE = 0.5
"""Share of the heads' loss that is the divergence from the teacher, in distillation. Chosen by hand:
halves (Hinton et al., 2015)."""
HIDDEN_WEIGHT = 0.5
"""Nats for hidden states that explain none of the teacher's variance. Chosen by hand."""


@dataclass(frozen=True)
class Stage:
    """One corpus, its time and its optimiser's settings."""

    corpus: str
    minutes: float
    batch: int
    rate: float
    weight_decay: float


def load_config(name: str, path: Path = CONFIGS) -> tuple[NetworkConfig, list[Stage]]:
    """Network and stages of a config by name."""
    if not path.is_file():
        raise DataError(f"--configs {path}: no such file; leave it out for {CONFIGS.name}")
    configs = yaml.safe_load(path.read_text(encoding="utf-8"))
    if name not in configs:
        raise DataError(f"--config {name}: not one of {', '.join(configs)} ({path.name})")
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


class Likelihood(nn.Module):
    """The loss as one module, so that data-parallel training sees one forward."""

    def __init__(self, model: Composer, teacher_width: int = 0) -> None:
        """``teacher_width``: width of the teacher's hidden states; 0 without a teacher."""
        super().__init__()
        self.model = model
        self.projection = nn.Linear(model.config.width, teacher_width) if teacher_width else None

    def forward(
        self, rows: Tensor, logits: list[Tensor] | None = None, hidden: Tensor | None = None
    ) -> Tensor:
        """Mean negative log likelihood of a row in nats; ``logits`` and ``hidden`` are the teacher's."""
        trunk = self.model.hidden(rows[:, :-1])
        mine = self.model.logits(self.model.contexts_of(trunk), rows)
        loss = row_losses(mine, rows).sum(-1).mean()
        if logits is None or hidden is None or self.projection is None:
            return loss
        kl = torch.zeros((), device=rows.device)
        for family, ours, theirs in zip(SAMPLED, mine, logits, strict=True):
            applies = rows[..., TYPE] == family.row if family.row else rows[..., TYPE] > 0
            wanted = theirs.float().log_softmax(-1)
            each = F.kl_div(ours.float().log_softmax(-1), wanted, reduction="none", log_target=True)
            kl = kl + (each.sum(-1) * applies).mean()
        unexplained = F.mse_loss(self.projection(trunk).float(), hidden) / hidden.var()
        return (1.0 - KL_SHARE) * loss + KL_SHARE * kl + HIDDEN_WEIGHT * unexplained


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


def new_optimisers(likelihood: Likelihood, stage: Stage, dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for tables, heads and vectors.

    After a CPU minute of POP909 the student is at 7.4 nats per note with Muon, at 10.6 with AdamW alone.
    """
    blocks = [p for p in likelihood.model.blocks.parameters() if p.ndim == 2]
    others = [p for p in likelihood.parameters() if not any(p is block for block in blocks)]
    return [
        Muon(blocks, stage.rate, stage.weight_decay, dtype),
        torch.optim.AdamW(others, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate_at(progress: float) -> float:
    """Share of the rate at ``progress`` 0..1 of a stage: a rise, then a cosine to 2 %."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def sequences(work: Path, corpus: str, context: int, distil: bool) -> Drawn | Taught:
    """What a stage is trained on."""
    if distil:
        return load_taught(work, corpus, context)
    return Drawn(load_tokens(work / "tokens.npz", corpus, "train"), corpus, context)


def train(
    name: str,
    work: Path,
    distil: bool = False,
    minutes: float | None = None,
    configs: Path = CONFIGS,
    checkpoint_s: float = CHECKPOINT_S,
) -> None:
    """Run the stages that the checkpoint in ``work`` has not finished."""
    config, stages = load_config(name, configs)
    sources = [sequences(work, stage.corpus, config.context, distil) for stage in stages]
    chosen_on = stages[-1].corpus
    held = load_tokens(work / "tokens.npz", chosen_on, "held")
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu")
    dtype = fast_dtype(device)
    if world > 1:
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.manual_seed(1)
    model = Composer(config)
    first = sources[0]
    single = Likelihood(model, first.hidden.shape[-1] if isinstance(first, Taught) else 0).to(device)
    path, best_path = work / f"{name}-last.pt", work / f"{name}-best.pt"
    state: dict[str, Any] = {"stage": 0, "elapsed_s": 0.0, "step": 0, "best": math.inf}
    saved = torch.load(path, map_location=device, weights_only=True) if path.exists() else None
    if saved:
        model.load_state_dict(saved["model"])
        if single.projection is not None and saved.get("projection"):
            single.projection.load_state_dict(saved["projection"])
        state = saved["state"]
    likelihood: nn.Module = nn.parallel.DistributedDataParallel(single) if world > 1 else single

    while state["stage"] < len(stages):
        stage, source = stages[state["stage"]], sources[state["stage"]]
        budget_s = 60.0 * (minutes if minutes is not None else stage.minutes)
        if state["elapsed_s"] >= budget_s:
            state, saved = {**state, "stage": state["stage"] + 1, "elapsed_s": 0.0}, None
            continue
        optimisers = new_optimisers(single, stage, dtype)
        if saved:
            for optimiser, moments in zip(optimisers, saved["optimisers"], strict=True):
                optimiser.load_state_dict(moments)
            saved = None
        rng = np.random.default_rng([state["step"], rank])
        losses: list[float] = []
        last_s = state["elapsed_s"]
        while True:
            began_s = time.process_time()
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                group["lr"] = stage.rate * rate_at(state["elapsed_s"] / budget_s)
            lesson = source.draw(stage.batch, rng)
            rows = lesson.rows.to(device)
            model.train()
            with torch.autocast(rows.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
                if lesson.logits is None or lesson.hidden is None:
                    loss = likelihood(rows)
                else:
                    loss = likelihood(rows, [x.to(device) for x in lesson.logits], lesson.hidden.to(device))
            single.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(single.parameters(), 1.0)
            for optimiser in optimisers:
                optimiser.step()
            losses.append(float(loss.detach()))
            state["step"] += 1
            state["elapsed_s"] += time.process_time() - began_s
            if world > 1:
                # One clock, so that all processes keep the same rate and end together.
                elapsed = torch.tensor(state["elapsed_s"], dtype=torch.float64, device=device)
                torch.distributed.broadcast(elapsed, 0)
                state["elapsed_s"] = float(elapsed)
            done = state["elapsed_s"] >= budget_s
            if state["elapsed_s"] - last_s < checkpoint_s and not done:
                continue
            last_s = state["elapsed_s"]
            if rank == 0:
                scores = validate(model, held)
                print(
                    f"{name} {stage.corpus} step {state['step']} {state['elapsed_s'] / 60:.1f} min"
                    f" train {np.mean(losses):.3f} " + " ".join(f"{k} {v:.3f}" for k, v in scores.items()),
                    flush=True,
                )
                if stage.corpus == chosen_on and scores["note"] < state["best"]:
                    state["best"] = scores["note"]
                    save_checkpoint(best_path, model, scores=scores)
                save_checkpoint(
                    path, model, optimisers=[o.state_dict() for o in optimisers], state=state,
                    projection=single.projection.state_dict() if single.projection is not None else None,
                )  # fmt: skip
                if done:
                    save_checkpoint(work / f"{name}-{stage.corpus}.pt", model)
            losses = []
            if done:
                break
    if world > 1:
        # Nobody leaves while another still writes: a lost peer aborts the process.
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@command("models.composer.train", KellyError)
def main() -> None:
    """Read the command line and train."""
    parser = Parser(prog="models.composer.train", description=__doc__)
    parser.add_argument("--config", default="student", help="a network of configs.yaml")
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/composer"), help="folder for tokens and checkpoints"
    )
    parser.add_argument("--distil", action="store_true", help="on what models.composer.distil wrote")
    parser.add_argument("--minutes", type=float, help="of every stage, instead of the config's")
    parser.add_argument("--configs", type=path_argument, default=CONFIGS, help="another file of configs")
    arguments = parser.parse_args()
    train(arguments.config, arguments.work, arguments.distil, arguments.minutes, arguments.configs)


if __name__ == "__main__":
    sys.exit(main())
