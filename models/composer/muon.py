"""Muon (Jordan et al., 2024) in a precision of one's choice.

``torch.optim.Muon`` computes its Newton-Schulz iterations in bfloat16 alone. A processor without
instructions for it takes five times as long for them as for the rest of a step.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch import Tensor

# As in Muon (Jordan et al., 2024): Nesterov momentum, and the quintic Newton-Schulz iteration.
MOMENTUM: Final = 0.95
COEFFICIENTS: Final = (3.4445, -4.775, 2.0315)
N_ITERATIONS: Final = 5
LIKE_ADAMW: Final = 0.2
"""RMS of an update against the rate, so that rates of AdamW may be used (Liu et al., 2025). The measured
RMS of AdamW's updates there."""


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """About the nearest matrix whose singular values are 1, by iterations in ``dtype``."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(N_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """For matrices; Nesterov momentum, weight decay apart from the gradient."""

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, dtype: torch.dtype) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update; see ``torch.optim.Optimizer``."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                state["momentum_buffer"].lerp_(p.grad, 1.0 - MOMENTUM)
                update = orthogonal(p.grad.lerp(state["momentum_buffer"], MOMENTUM), self._dtype)
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * LIKE_ADAMW * math.sqrt(max(p.shape)))
