"""The network of ``kelly_edge.rhythm.bar_evidence`` while it learns, and the module of its numbers."""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from kelly_edge.rhythm.bar import N_CELLS, PRIOR
from kelly_edge.rhythm.bar_evidence import N_COMPARED

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
N_UNITS: Final = 32
"""Chosen: small enough for 10 µs per beat."""
N_EPOCHS, N_PER_STEP, RATE = 12, 48, 8e-3
"""Passes, pieces per step and highest rate of learning. Chosen on songs held out of the practice."""
DROPPED: Final = 0.25
"""Share of the numbers left out while learning. Chosen by hand."""


class Table(NamedTuple):
    """Inputs [n, N_COMPARED], cells [n] (-1 unknown) and weight of a piece."""

    inputs: Float32
    cells: Ints
    weight: float


class BarModel(torch.nn.Module):
    """``bar_evidence.BarNetwork`` while it learns."""

    def __init__(self, mean: Float32, scale: Float32) -> None:
        super().__init__()
        self.mean, self.scale = torch.tensor(mean), torch.tensor(scale)
        self.units = torch.nn.GRU(N_COMPARED, N_UNITS, batch_first=True)
        self.cells = torch.nn.Linear(N_UNITS, N_CELLS)
        self.drop = torch.nn.Dropout(DROPPED)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log likelihoods of the beats of several pieces: [n_pieces, n, N_CELLS]."""
        units, _ = self.units(self.drop((inputs - self.mean) / self.scale))
        return torch.as_tensor(self.cells(self.drop(units)))

    def parts(self) -> list[Floats]:
        """The arrays of ``BarNetwork``, which reads inputs as they are."""
        gru, scale, mean = self.units, self.scale.numpy(), self.mean.numpy()
        layers = (gru.weight_ih_l0, gru.bias_ih_l0, gru.weight_hh_l0, gru.bias_hh_l0)
        arrays = [p.detach().numpy().astype(float) for p in (*layers, self.cells.weight, self.cells.bias)]
        arrays[0] = arrays[0] / scale
        arrays[1] = arrays[1] - arrays[0] @ mean
        return arrays


def _batch(tables: Sequence[Table]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    longest = max(len(table.cells) for table in tables)
    inputs = np.zeros((len(tables), longest, N_COMPARED), np.float32)
    cells = np.full((len(tables), longest), -1)
    weights = np.zeros((len(tables), longest), np.float32)
    for i, table in enumerate(tables):
        n = len(table.cells)
        inputs[i, :n], cells[i, :n], weights[i, :n] = table.inputs, table.cells, table.weight
    return torch.tensor(inputs), torch.tensor(cells), torch.tensor(weights * (cells >= 0))


def log_share(tables: Sequence[Table]) -> torch.Tensor:
    """How often each cell comes, [N_CELLS]: what the network says is evidence, no belief."""
    count = np.zeros(N_CELLS)
    for table in tables:
        count += np.bincount(table.cells[table.cells >= 0], minlength=N_CELLS) * table.weight
    return torch.tensor(np.log(0.9 * count / count.sum() + 0.1 * np.array(PRIOR)), dtype=torch.float32)


def fit(tables: Sequence[Table], n_epochs: int = N_EPOCHS) -> BarModel:
    """Cross-entropy over the cells, above their share."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    known = np.concatenate([table.inputs[table.cells >= 0] for table in tables])
    model, share = BarModel(known.mean(0), known.std(0) + 0.05), log_share(tables)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-3)
    n_steps = n_epochs * (len(tables) // N_PER_STEP + 1)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=n_steps + 1)
    rng = np.random.default_rng(0)
    for epoch in range(n_epochs):
        order, losses = rng.permutation(len(tables)), []
        for begin in range(0, len(tables), N_PER_STEP):
            inputs, cells, weights = _batch([tables[i] for i in order[begin : begin + N_PER_STEP]])
            said = (model(inputs) + share).reshape(-1, N_CELLS)
            each = torch.nn.functional.cross_entropy(said, cells.clamp(min=0).reshape(-1), reduction="none")
            loss = (each * weights.reshape(-1)).sum() / weights.sum().clamp(min=1.0)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            losses.append(loss.detach().item())
        print(f"epoch {epoch + 1}: {np.mean(losses):.3f} nats", file=sys.stderr, flush=True)
    return model.eval()


def judge(model: BarModel, tables: Sequence[Table], share: torch.Tensor) -> tuple[float, float]:
    """Mean loss in nats, and share of the beats whose likeliest cell is right."""
    with torch.no_grad():
        inputs, cells, _ = _batch(tables)
        said, known = (model(inputs) + share)[cells >= 0], cells[cells >= 0]
        loss = torch.nn.functional.cross_entropy(said, known)
        return float(loss), float((said.argmax(1) == known).float().mean())


def module_text(parts: Sequence[Floats]) -> str:
    """The Python module of the numbers."""
    rows, row = [], ""
    for number in np.concatenate([part.reshape(-1) for part in parts]):
        word = f"{number:.3g}"
        if len(row) + len(word) + 1 > 108:
            rows.append(row)
            row = ""
        row = f"{row} {word}" if row else word
    numbers = "\n".join([*rows, row])
    return f'''"""Numbers of ``bar_evidence``'s network, written by ``python -m models.ensemble.fit_bars``."""

import numpy as np

from kelly_edge.rhythm.bar import N_CELLS
from kelly_edge.rhythm.bar_evidence import N_COMPARED, BarNetwork


def _network(n_units: int, text: str) -> BarNetwork:
    gates = 3 * n_units
    shapes = [(gates, N_COMPARED), (gates,), (gates, n_units), (gates,), (N_CELLS, n_units), (N_CELLS,)]
    parts = np.split(np.array(text.split(), np.float32), np.cumsum([np.prod(s) for s in shapes])[:-1])
    return BarNetwork(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))


BAR = _network(
    {N_UNITS},
    """
{numbers}
""",
)
'''
