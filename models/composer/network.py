"""The composer network: a GPT over compound words whose heads decide a row family by family.

One definition for the teacher and the student (configs.yaml). The trunk reads rows (the sum of the
embeddings of their tokens, learned positions, pre-norm blocks as GPT-2) and gives, for the next row, a
context vector a head. A head is ``relu(context + sum of parent embeddings) @ W``: parents are the
families of the row decided before it (``compound_word.FAMILIES``), so pitch knows its position, duration
its pitch, and a row costs one pass through the trunk.

Shapes: rows int64 [batch, n_rows, 11]; contexts [batch, n_rows, n_heads, head_width]. The context at
index i is computed from the rows before row i; that of row 0 is learned.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kelly_edge.music.compound_word import COLUMN, FAMILIES, NOTE, OFFSETS, POSITION, SAMPLED, TYPE


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of a network; ``context`` is the number of rows it sees."""

    n_layers: int
    width: int
    n_heads: int = 8
    context: int = 512
    head_width: int = 128
    dropout: float = 0.1


PARENT_SLOTS = [(i, COLUMN[parent]) for i, family in enumerate(SAMPLED) for parent in family.parents]
"""(head, column of the parent) of every parent table, in the order of ``Heads.parent``."""


PITCH_HEAD = [family.name for family in SAMPLED].index("pitch")


def struck_together(rows: Tensor) -> Tensor:
    """1 where a row is a note on the position of the note before it, else 0; [..., n, 11] → [..., n].

    Such a note lies above the note before, any other may begin anew in the bass. The head of the pitch is
    told which it is (``sampling.HeadTables.together``): adding up position and context hides it.
    """
    before = torch.cat([torch.zeros_like(rows[..., :1, :]), rows[..., :-1, :]], -2)
    both = (rows[..., TYPE] == NOTE) & (before[..., TYPE] == NOTE)
    return (both & (rows[..., POSITION] == before[..., POSITION])).long()


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention; all [batch, n_heads, n, head_size].

    On a processor in bfloat16 the products written out train a quarter faster than torch's fused kernel.
    """
    if query.is_cuda:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True)
    n, scale = query.shape[-2], query.shape[-1] ** -0.5
    ahead = torch.full((n, n), -math.inf, dtype=query.dtype).triu(1)
    q, k, v = (x.flatten(0, 1) for x in (query, key, value))
    scores = torch.baddbmm(ahead.expand(len(q), n, n), q, k.transpose(1, 2), alpha=scale)
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(-1)
    return torch.bmm(weights, v).view(value.shape)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, as GPT-2."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.dropout = config.dropout
        self.norm_1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm_2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half of the block, without the residual."""
        y: Tensor = self.down(F.gelu(self.up(self.norm_2(x))))
        return y

    def forward(self, x: Tensor) -> Tensor:
        """x [batch, n, width] → the same shape."""
        batch, n, width = x.shape
        shape = (batch, n, 3, self.n_heads, width // self.n_heads)
        qkv = self.qkv(self.norm_1(x)).view(shape).permute(2, 0, 3, 1, 4)
        y = attend(qkv[0], qkv[1], qkv[2])
        y = self.out(y.transpose(1, 2).reshape(batch, n, width))
        x = x + F.dropout(y, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(x), self.dropout, self.training)


class Composer(nn.Module):
    """Trunk and heads; ``forward`` gives contexts, ``logits`` the distributions of known rows."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.token = nn.Embedding(OFFSETS[-1], config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.start = nn.Parameter(torch.zeros(len(SAMPLED), config.head_width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.width)
        self.contexts = nn.Linear(config.width, len(SAMPLED) * config.head_width)
        self.parent = nn.ParameterList(
            nn.Parameter(torch.zeros(FAMILIES[column].size, config.head_width)) for _, column in PARENT_SLOTS
        )
        self.together = nn.Parameter(torch.zeros(2, config.head_width))
        self.heads = nn.ModuleList(nn.Linear(config.head_width, family.size) for family in SAMPLED)
        self.register_buffer("offsets", torch.tensor(OFFSETS[:-1]), persistent=False)
        self.apply(self._initialise)
        for block in self.blocks:
            for layer in (block.out, block.down):
                nn.init.normal_(layer.weight, std=0.02 / (2 * config.n_layers) ** 0.5)

    @staticmethod
    def _initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def embed(self, rows: Tensor, first: int = 0) -> Tensor:
        """Rows [batch, n, 11] at positions ``first``.. → [batch, n, width]."""
        places = torch.arange(first, first + rows.shape[1], device=rows.device)
        x: Tensor = self.token(rows + self.offsets).sum(-2) + self.position(places)
        return x

    def hidden(self, rows: Tensor) -> Tensor:
        """The trunk's output [batch, n, width], normalised."""
        x = F.dropout(self.embed(rows), self.config.dropout, self.training)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [batch, n, 11] → their contexts [batch, n, n_heads, head_width]; the last row is not read."""
        return self.contexts_of(self.hidden(rows[:, :-1]))

    def contexts_of(self, hidden: Tensor) -> Tensor:
        """Hidden states of rows 0..n-2 [batch, n - 1, width] → the contexts of rows 0..n-1."""
        y = self.contexts(hidden).unflatten(-1, (len(SAMPLED), self.config.head_width))
        return torch.cat([self.start.expand(len(y), 1, -1, -1).to(y.dtype), y], 1)

    def logits(self, contexts: Tensor, rows: Tensor) -> list[Tensor]:
        """Logits a head [batch, n, size] of ``rows``, given their contexts and their own parents."""
        sums = list(contexts.unbind(-2))
        for (head, column), table in zip(PARENT_SLOTS, self.parent, strict=True):
            sums[head] = sums[head] + F.embedding(rows[..., column], table)
        sums[PITCH_HEAD] = sums[PITCH_HEAD] + F.embedding(struck_together(rows), self.together)
        return [head(F.relu(y)) for head, y in zip(self.heads, sums, strict=True)]


def row_losses(logits: list[Tensor], rows: Tensor) -> Tensor:
    """Negative log likelihood in nats of each family of ``rows``: [batch, n, n_heads].

    It is 0 where a family does not apply; a padding row (type 0) costs nothing.
    """
    losses = []
    for family, scores in zip(SAMPLED, logits, strict=True):
        target = rows[..., COLUMN[family.name]]
        applies = rows[..., TYPE] == family.row if family.row else rows[..., TYPE] > 0
        loss = F.cross_entropy(scores.float().flatten(0, -2), target.flatten(), reduction="none")
        losses.append(loss.view(target.shape) * applies)
    return torch.stack(losses, -1)
