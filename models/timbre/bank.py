"""The bank of harmonics for training: the box's recurrence (``kelly_edge.timbre.synth``) with a gradient.

Pitch is given, so only levels are learned: the sound is linear in them, and its gradient is the same sum
taken the other way. Written out in numba because a tensor of every sine of every sample costs twenty times
the rest of a training step.
"""

import math
from typing import Any, Final

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from kelly_edge.timbre.controls import BAND_FADE_HZ, BAND_LIMIT_HZ

Float64 = NDArray[np.float64]
REORDER: Final = {"reassoc", "contract", "nsz"}
"""Sums may be reordered, so that they vectorise."""


@njit(cache=True, fastmath=REORDER)
def _sines(f0_from: float, f0_to: float, cycles: float, rate_hz: float, hop: Float64) -> float:
    """Rows f0, s[k-1], s[k], 2 cos θ of a hop [4, n], ready for the first harmonic; the phase after it."""
    n = hop.shape[1]
    for i in range(n):
        f0_hz = f0_from + (i + 1.0) / n * (f0_to - f0_from)
        cycles += f0_hz / rate_hz
        cycles -= math.floor(cycles)
        theta = 2.0 * math.pi * cycles
        hop[0, i], hop[1, i] = f0_hz, 0.0
        hop[2, i], hop[3, i] = math.sin(theta), 2.0 * math.cos(theta)
    return cycles


@njit(cache=True, fastmath=REORDER)
def _next(hop: Float64) -> None:
    """To the next harmonic."""
    for i in range(hop.shape[1]):
        s = hop[3, i] * hop[2, i] - hop[1, i]
        hop[1, i] = hop[2, i]
        hop[2, i] = s


@njit(cache=True, fastmath=REORDER)
def _forward(ends: NDArray[np.float32], f0: NDArray[np.float32], rate_hz: float, out: Float64) -> None:
    """Levels before and after each hop, ``ends`` [batch, n, 2, harmonics], at ``f0`` [batch, n], played."""
    n_samples = out.shape[2]
    hop = np.empty((4, n_samples))
    for b in range(f0.shape[0]):
        cycles = 0.0
        for t in range(f0.shape[1]):
            start_hz, end_hz = float(f0[b, max(t - 1, 0)]), float(f0[b, t])
            cycles = _sines(start_hz, end_hz, cycles, rate_hz, hop)
            for k in range(ends.shape[3]):
                if (k + 1) * min(start_hz, end_hz) >= BAND_LIMIT_HZ:
                    break
                before, rise = float(ends[b, t, 0, k]), float(ends[b, t, 1, k] - ends[b, t, 0, k]) / n_samples
                for i in range(n_samples):
                    fade = min(max((BAND_LIMIT_HZ - (k + 1) * hop[0, i]) / BAND_FADE_HZ, 0.0), 1.0)
                    out[b, t, i] += (before + (i + 1.0) * rise) * fade * hop[2, i]
                _next(hop)


@njit(cache=True, fastmath=REORDER)
def _backward(grad: NDArray[np.float32], f0: NDArray[np.float32], rate_hz: float, to: Float64) -> None:
    """Gradient of the sound [batch, n, samples] to that of ``ends``, into ``to``."""
    n_samples = grad.shape[2]
    hop = np.empty((4, n_samples))
    for b in range(f0.shape[0]):
        cycles = 0.0
        for t in range(f0.shape[1]):
            start_hz, end_hz = float(f0[b, max(t - 1, 0)]), float(f0[b, t])
            cycles = _sines(start_hz, end_hz, cycles, rate_hz, hop)
            for k in range(to.shape[3]):
                if (k + 1) * min(start_hz, end_hz) >= BAND_LIMIT_HZ:
                    break
                whole = after = 0.0
                for i in range(n_samples):
                    fade = min(max((BAND_LIMIT_HZ - (k + 1) * hop[0, i]) / BAND_FADE_HZ, 0.0), 1.0)
                    part = grad[b, t, i] * fade * hop[2, i]
                    whole += part
                    after += (i + 1.0) / n_samples * part
                to[b, t, 0, k] = whole - after
                to[b, t, 1, k] = after
                _next(hop)


class HarmonicBank(torch.autograd.Function):
    """Levels before and after each hop [batch, n, 2, harmonics], f0 [batch, n] → sound [batch, n, hop]."""

    @staticmethod
    def forward(ctx: Any, ends: Tensor, f0_hz: Tensor, rate_hz: int, hop: int) -> Tensor:
        """See the class."""
        ctx.save_for_backward(f0_hz)
        ctx.rate_hz, ctx.shape = float(rate_hz), tuple(ends.shape)
        out = np.zeros((*f0_hz.shape, hop))
        _forward(ends.detach().contiguous().numpy(), f0_hz.contiguous().numpy(), ctx.rate_hz, out)
        return torch.from_numpy(out.astype(np.float32))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """Of the levels; the pitch is not learned."""
        (f0_hz,) = ctx.saved_tensors
        to = np.zeros(ctx.shape)
        _backward(grads[0].contiguous().numpy(), f0_hz.contiguous().numpy(), ctx.rate_hz, to)
        return torch.from_numpy(to.astype(np.float32)), None, None, None
