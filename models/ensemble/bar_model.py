"""The network of ``kelly_edge.rhythm.bar_evidence`` while it learns, and the module of its numbers.

It learns within the filter of ``kelly_edge.rhythm.bar``: what counts is the belief after each beat, of which
the network's word is a part beside accents and harmony, and which earlier words have shaped. A network that
is asked for the beat by itself says the same thing beat after beat, and is believed too much.
"""

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from kelly_edge.rhythm.bar import N_CELLS, PRIOR, bar_weights, next_beat
from kelly_edge.rhythm.bar_evidence import N_COMPARED
from models.ensemble.heard_beats import ACCENTS_SAY, HARMONY_SAYS, Steps

Float32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
N_UNITS: Final = 32
"""Chosen: small enough for 10 µs per beat."""
N_NETWORKS: Final = 4
"""Begun from other numbers; their answers are averaged. Chosen: more are hardly better."""
N_EPOCHS, N_PER_STEP, RATE = 16, 48, 6e-3
"""Passes, stretches per step and highest rate of learning. Chosen on songs held out."""
DROPPED: Final = 0.3
"""Share of the numbers left out while learning. Chosen by hand."""
DECAY: Final = 1e-2
"""Of the weights (AdamW). Chosen by hand."""
ALONE: Final = 0.3
"""Weight of the network's answer by itself, beside that of the belief. Chosen by hand."""
CROPPED, CROPPED_MOST = 0.7, 0.4
"""Share of the stretches that begin later in a pass, and by how much of their length at most, so that no song
is known by its beginning. Chosen by hand."""
LEAST_STEPS: Final = 16
"""Steps that are left at least. Chosen: four bars."""
TRUSTS: Final = (0.2, 0.4, 0.3, 0.3)
"""In accents, harmony and the network, and the power of the belief that is judged, where learning begins.
Evidence of neighbouring beats is alike, so that a belief is too sure, and judged as it is it would only
learn to doubt. Chosen: as the box had them (docs/decisions/0049)."""
ACCENTS, HARMONY, WORD, POWER = range(4)
# By definition, the places of TRUSTS.


class Stretch(NamedTuple):
    """Beats heard at one tempo: n of them, and ``steps`` of the filter; none where only notes are known."""

    inputs: Float32  # [n, N_COMPARED]
    cells: Ints  # [n], -1 where not known
    weight: float
    steps: Steps

    def later(self, step: int) -> "Stretch":
        """From a step on."""
        steps = self.steps.some(step, len(self.steps.beat))
        first = int(steps.beat[steps.beat >= 0].min(initial=len(self.cells)))
        moved = np.where(steps.beat >= 0, steps.beat - first, -1)
        return Stretch(self.inputs[first:], self.cells[first:], self.weight, steps._replace(beat=moved))


class Batch(NamedTuple):
    """Stretches side by side."""

    inputs: torch.Tensor  # [b, n, N_COMPARED]
    cells: torch.Tensor  # [b, n]
    weights: torch.Tensor  # [b, n], 0 where the cell is not known
    beat: torch.Tensor  # [b, t]
    before: torch.Tensor  # [b, t, 2, N_CELLS]
    after: torch.Tensor  # [b, t, 2, N_CELLS]


class BarModel(torch.nn.Module):
    """One network of ``bar_evidence.BarNetwork`` while it learns; reads standardised inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.units = torch.nn.GRU(N_COMPARED, N_UNITS, batch_first=True)
        self.cells = torch.nn.Linear(N_UNITS, N_CELLS)
        self.drop = torch.nn.Dropout(DROPPED)
        self.trusts = torch.nn.Parameter(torch.tensor(TRUSTS))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log likelihoods of the beats of several stretches: [b, n, N_CELLS]."""
        units, _ = self.units(self.drop(inputs))
        return torch.as_tensor(self.cells(self.drop(units)))

    def beliefs(self, said: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Log probabilities of the cells after each step's word, [b, t, N_CELLS], by what was ``said``."""
        beat, trusts = batch.beat, self.trusts
        places = beat.clamp(min=0)[:, :, None].expand(*beat.shape, N_CELLS)
        word = trusts[WORD] * said.gather(1, places) * (beat >= 0)[:, :, None]
        befores, afters = (
            (trusts[ACCENTS] * part[:, :, ACCENTS_SAY] + trusts[HARMONY] * part[:, :, HARMONY_SAYS])
            for part in (batch.before, batch.after)
        )
        weights, beliefs = torch.tensor(bar_weights()).expand(len(beat), N_CELLS), []
        for evidence, after in zip((befores + word).unbind(1), afters.unbind(1), strict=True):
            belief = torch.log_softmax(weights + evidence, 1)
            beliefs.append(belief)
            weights = torch.log(torch.softmax(belief + after, 1) @ CHANGE + 1e-9)
        return torch.stack(beliefs, 1)


def _change() -> torch.Tensor:
    """Probability of each cell a beat after each other, as ``bar.next_beat`` has it: [N_CELLS, N_CELLS]."""
    rows, scratch = [], np.zeros(N_CELLS, np.float32)
    for cell in range(N_CELLS):
        weights = np.full(N_CELLS, -90.0, np.float32)
        weights[cell] = 0.0
        next_beat(weights, scratch)
        rows.append(np.exp(weights))
    return torch.tensor(np.array(rows))


CHANGE: Final = _change()


def batch_of(stretches: Sequence[Stretch]) -> Batch:
    """Stretches, filled up with beats and steps of which nothing is known."""
    b, n = len(stretches), max(len(stretch.cells) for stretch in stretches)
    t = max(len(stretch.steps.beat) for stretch in stretches)
    inputs, cells = np.zeros((b, n, N_COMPARED), np.float32), np.full((b, n), -1)
    weights, beat = np.zeros((b, n), np.float32), np.full((b, t), -1)
    before, after = (np.zeros((b, t, 2, N_CELLS), np.float32) for _ in range(2))
    for i, stretch in enumerate(stretches):
        n, t = len(stretch.cells), len(stretch.steps.beat)
        inputs[i, :n], cells[i, :n], weights[i, :n] = stretch.inputs, stretch.cells, stretch.weight
        before[i, :t], after[i, :t], beat[i, :t], _ = stretch.steps
    weights *= cells >= 0
    return Batch(*(torch.tensor(part) for part in (inputs, cells, weights, beat, before, after)))


def log_share(stretches: Sequence[Stretch]) -> torch.Tensor:
    """How often each cell comes, [N_CELLS]: what the network says is evidence, no belief."""
    count = np.zeros(N_CELLS)
    for stretch in stretches:
        count += np.bincount(stretch.cells[stretch.cells >= 0], minlength=N_CELLS) * stretch.weight
    return torch.tensor(np.log(0.9 * count / count.sum() + 0.1 * np.array(PRIOR)), dtype=torch.float32)


def _loss(log_probability: torch.Tensor, cells: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    right = log_probability.gather(2, cells.clamp(min=0)[:, :, None])[:, :, 0]
    return -(right * weights).sum() / weights.sum().clamp(min=1.0)


def loss_of(model: BarModel, batch: Batch, share: torch.Tensor) -> torch.Tensor:
    """Mean nats of the belief after each beat, and of the network's answer alone above the cells' share."""
    said = model(batch.inputs)
    alone = _loss(torch.log_softmax(said + share, 2), batch.cells, batch.weights)
    if not batch.beat.shape[1]:
        return alone
    judged = torch.log_softmax(model.trusts[POWER] * model.beliefs(said, batch), 2)
    at = batch.beat.clamp(min=0)
    weights = batch.weights.gather(1, at) * (batch.beat >= 0)
    return _loss(judged, batch.cells.gather(1, at), weights) + ALONE * alone


def _groups(stretches: Sequence[Stretch], rng: np.random.Generator) -> list[list[Stretch]]:
    """Steps of a pass: stretches of about the same length together, many of them begun later."""
    groups = []
    for is_heard in (True, False):
        of_kind = [s for s in stretches if bool(len(s.steps.beat)) == is_heard]
        order = np.argsort([len(s.cells) * (1.0 + 0.3 * rng.random()) for s in of_kind])
        for begin in range(0, len(order), N_PER_STEP):
            groups.append([_cropped(of_kind[i], rng) for i in order[begin : begin + N_PER_STEP]])
    return [groups[i] for i in rng.permutation(len(groups))]


def _cropped(stretch: Stretch, rng: np.random.Generator) -> Stretch:
    n = len(stretch.steps.beat)
    step = int(rng.random() * CROPPED_MOST * n) if rng.random() < CROPPED else 0
    return stretch.later(step) if n - step >= LEAST_STEPS else stretch


def fit(stretches: Sequence[Stretch], seed: int, n_epochs: int = N_EPOCHS) -> BarModel:
    """A network that has learned; the same stretches and seed give the same numbers on the same machine."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    model, share, rng = BarModel(), log_share(stretches), np.random.default_rng(seed)
    weights = [p for name, p in model.named_parameters() if name != "trusts"]
    parameters = [{"params": weights}, {"params": [model.trusts], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(parameters, RATE, weight_decay=DECAY)
    n_steps = n_epochs * (len(stretches) // N_PER_STEP + 2)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, [RATE, 0.3 * RATE], total_steps=n_steps + 1)
    for epoch in range(n_epochs):
        losses = []
        for group in _groups(stretches, rng):
            loss = loss_of(model, batch_of(group), share)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            rate.step()
            losses.append(loss.detach().item())
        print(f"network {seed}, epoch {epoch + 1}: {np.mean(losses):.3f}", file=sys.stderr, flush=True)
    return model.eval()


def judge(models: Sequence[BarModel], stretches: Sequence[Stretch]) -> float:
    """Share of the beats whose likeliest cell is right, by the filter with what the networks say together."""
    with torch.no_grad():
        batch = batch_of(stretches)
        said = torch.stack([model.trusts[WORD] * model(batch.inputs) for model in models]).mean(0)
        belief = models[0].beliefs(said / models[0].trusts[WORD], batch)
        cells = batch.cells.gather(1, batch.beat.clamp(min=0))
        known = (batch.beat >= 0) & (cells >= 0)
        return float((belief.argmax(2) == cells)[known].float().mean())


def network_parts(models: Sequence[BarModel], mean: Float32, scale: Float32) -> list[Floats]:
    """The arrays of ``BarNetwork``, which reads inputs as they are: ``mean`` and ``scale`` are theirs."""
    rows = []
    for model in models:
        gru, word = model.units, model.trusts[WORD].detach() / len(models)
        layers = (gru.weight_ih_l0, gru.bias_ih_l0, gru.weight_hh_l0, gru.bias_hh_l0)
        cells = (word * model.cells.weight, word * model.cells.bias)
        arrays = [part.detach().numpy().astype(float) for part in (*layers, *cells)]
        arrays[0] = arrays[0] / scale
        arrays[1] = arrays[1] - arrays[0] @ mean
        rows.append(arrays)
    return [np.stack(column) for column in zip(*rows, strict=True)]


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
    return f'''"""Numbers of the networks of ``bar_evidence``, written by ``models.ensemble.fit_bars``."""

import numpy as np

from kelly_edge.rhythm.bar import N_CELLS
from kelly_edge.rhythm.bar_evidence import N_COMPARED, BarNetwork


def _network(n: int, n_units: int, text: str) -> BarNetwork:
    gates = 3 * n_units
    shapes = [(gates, N_COMPARED), (gates,), (gates, n_units), (gates,), (N_CELLS, n_units), (N_CELLS,)]
    sizes = np.cumsum([n * np.prod(shape) for shape in shapes])[:-1]
    parts = np.split(np.array(text.split(), np.float32), sizes)
    return BarNetwork(*(part.reshape(n, *shape) for part, shape in zip(parts, shapes, strict=True)))


BAR = _network(
    {parts[0].shape[0]},
    {N_UNITS},
    """
{numbers}
""",
)
'''
