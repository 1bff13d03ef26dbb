"""A voice's network and its differentiable synthesiser, in torch.

One definition for the small decoder that ships and for the yardstick of magenta's size; see ``CONFIGS``.
Training runs at 24 kHz, the rate of the recordings, with hops of 128 samples: the control rate is that of
the box. Shapes: controls [batch, n_hops, …], sound [batch, n_hops * 128].
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from kelly_edge.contract import N_HARMONICS, N_NOISE_BANDS
from kelly_edge.timbre.controls import BAND_FADE_HZ, BAND_LIMIT_HZ, LOG_10, N_NOISE_TRAINED, N_RAW, NOISE_BIAS

RATE_HZ: Final = 24_000
HOP: Final = 128
N_TAPS: Final = N_NOISE_BANDS - 1
"""FIR taps at half the box's rate: the same length in time."""


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of a decoder."""

    dense: int
    gru: int


CONFIGS: Final = {"student": NetworkConfig(24, 32), "reference": NetworkConfig(512, 512)}


class DecoderNetwork(nn.Module):
    """(pitch, loudness) [batch, n, 2] and state [1, batch, gru] → raw controls [batch, n, 96] and state."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(2, config.dense)
        self.gru = nn.GRU(config.dense, config.gru, batch_first=True)
        self.leave = nn.Linear(config.gru, N_RAW)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See the class."""
        y, state = self.gru(torch.tanh(self.enter(x)), state)
        return self.leave(y), state


def scaled_sigmoid(x: Tensor) -> Tensor:
    """DDSP's 2 sigmoid(x)^ln 10 + 1e-7."""
    return 2.0 * torch.exp(LOG_10 * nn.functional.logsigmoid(x)) + 1e-7


def controls_from(raw: Tensor, f0_hz: Tensor) -> tuple[Tensor, Tensor]:
    """Levels of the harmonics [batch, n, 64] and noise magnitudes [batch, n, 31]: ``timbre.controls``."""
    number = torch.arange(1, N_HARMONICS + 1)
    audible = number * f0_hz[..., None] < BAND_LIMIT_HZ
    weights = scaled_sigmoid(raw[..., 1 : 1 + N_HARMONICS]) * audible
    distribution = weights / weights.sum(-1, keepdim=True).clamp_min(1e-9)
    noise = scaled_sigmoid(raw[..., 1 + N_HARMONICS :] + NOISE_BIAS)
    return scaled_sigmoid(raw[..., :1]) * distribution, noise


def _previous(x: Tensor) -> Tensor:
    return torch.cat([x[:, :1], x[:, :-1]], dim=1)


def synthesise(raw: Tensor, f0_hz: Tensor) -> Tensor:
    """Sound [batch, n * 128] of raw controls [batch, n, 96] at f0 [batch, n]: ``timbre.synth``."""
    batch, n = f0_hz.shape
    levels, noise = controls_from(raw, f0_hz)
    share = torch.arange(1, HOP + 1) / HOP
    with torch.no_grad():
        f0_from = _previous(f0_hz)
        f0 = f0_from[..., None] + share * (f0_hz - f0_from)[..., None]
        cycles = torch.cumsum(f0.reshape(batch, -1).double() / RATE_HZ, dim=1).reshape(batch, n, HOP, 1)
        number = torch.arange(1, N_HARMONICS + 1)
        angle = (torch.frac(cycles) * number).frac().float() * (2.0 * math.pi)
        fade = ((BAND_LIMIT_HZ - f0[..., None] * number) / BAND_FADE_HZ).clamp(0.0, 1.0)
        sines = torch.sin(angle) * fade
    ends = torch.stack([_previous(levels), levels], dim=-1)
    both = torch.matmul(sines, ends)
    tones = both[..., 0] + share * (both[..., 1] - both[..., 0])
    magnitudes = nn.functional.pad(noise, (0, N_TAPS // 2 + 1 - N_NOISE_TRAINED))
    taps = torch.roll(torch.fft.irfft(magnitudes.to(torch.complex64), N_TAPS), N_TAPS // 2, -1)
    taps = taps * torch.hann_window(N_TAPS)
    # White noise at half the rate holds its power in half the band.
    white = (2.0 * torch.rand(batch, n, HOP) - 1.0) * math.sqrt(0.5)
    n_fft = 2 * HOP
    filtered = torch.fft.irfft(torch.fft.rfft(white, n_fft) * torch.fft.rfft(taps, n_fft), n_fft)
    tail = torch.cat([torch.zeros(batch, 1, HOP), filtered[:, :-1, HOP:]], dim=1)
    return (tones + filtered[..., :HOP] + tail).reshape(batch, -1)


FFT_SIZES: Final = (2_048, 1_024, 512, 256, 128, 64)


def multi_scale_spectral_loss(sound: Tensor, target: Tensor) -> Tensor:
    """Mean over sizes of L1 of magnitudes and their logs (Engel et al. 2020, alpha 1); [batch, n] each."""
    total = torch.zeros(())
    for size in FFT_SIZES:
        window = torch.hann_window(size)
        a, b = (
            torch.stft(x, size, size // 4, window=window, return_complex=True).abs() for x in (sound, target)
        )
        total = total + (a - b).abs().mean() + (torch.log(a + 1e-4) - torch.log(b + 1e-4)).abs().mean()
    return total / len(FFT_SIZES)
