"""A voice's network and its differentiable synthesiser, in torch.

One definition for the small decoder that ships and for the yardstick of magenta's size; see ``CONFIGS``.
Training runs at 24 kHz, the rate of the recordings, with hops of 128 samples: the control rate is that of
the box. Shapes: controls [batch, n_hops, …], sound [batch, n_hops * 128].
"""

import math
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from kelly_edge.contract import N_HARMONICS, N_NOISE_BANDS, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LOUDNESS_FLOOR_DB, a_weighting_filter
from kelly_edge.timbre.controls import BAND_LIMIT_HZ, LOG_10, N_NOISE_TRAINED, N_RAW, NOISE_BIAS
from models.timbre.bank import HarmonicBank

# Chosen: half the box's rate and hop; the recordings reach 12 kHz.
RATE_HZ: Final = 24_000
HOP: Final = 128
N_TAPS: Final = N_NOISE_BANDS - 1
"""FIR taps at half the box's rate: the same length in time. Follows from the synthesiser's."""


@dataclass(frozen=True)
class NetworkConfig:
    """Widths of a decoder, and the learning rate that suits them."""

    dense: int
    gru: int
    learning_rate: float


CONFIGS: Final = {"student": NetworkConfig(24, 32, 4e-3), "reference": NetworkConfig(512, 512, 1e-3)}


FIRST_AMPLITUDE: Final = -2.0
"""Raw amplitude of an untrained voice: 0.015. Chosen: nearly silent, so that notes are learned from below."""


class DecoderNetwork(nn.Module):
    """(pitch, loudness) [batch, n, 2] and state [1, batch, gru] → raw controls [batch, n, 96] and state."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.enter = nn.Linear(2, config.dense)
        self.gru = nn.GRU(config.dense, config.gru, batch_first=True)
        self.leave = nn.Linear(config.gru, N_RAW)
        # A voice that begins far too loud is driven into silence, and learns to answer in noise alone.
        nn.init.constant_(self.leave.bias[:1], FIRST_AMPLITUDE)

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
    ends = torch.stack([_previous(levels), levels], dim=-2)
    tones = cast(Tensor, HarmonicBank.apply(ends, f0_hz, RATE_HZ, HOP))
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
"""As in DDSP (Engel et al., 2020)."""
LOUDNESS_FFT: Final = 512
"""Its hops are those of the controls, and its length that of the loudness meter's window. Chosen for that
reason."""
SOUNDING_DB: Final = -60.0
"""Loudness from which a hop counts in the loss. Chosen: as the voice's gate."""
LOUDNESS_WEIGHT: Final = 0.05
"""Of a decibel in the loss: 3 dB count as much as a sixth of the spectral loss of a good voice. Chosen by
hand."""


def _magnitudes(sound: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size)
    return torch.stft(sound, size, size // 4, window=window, return_complex=True).abs()


def _spectral(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean() + (torch.log(a + 1e-4) - torch.log(b + 1e-4)).abs().mean()


def multi_scale_spectral_loss(sound: Tensor, target: Tensor) -> Tensor:
    """Mean over sizes of L1 of magnitudes and their logs (Engel et al. 2020, alpha 1); [batch, n] each."""
    pairs = ((_magnitudes(sound, size), _magnitudes(target, size)) for size in FFT_SIZES)
    return torch.stack([_spectral(a, b) for a, b in pairs]).mean()


def _a_weights() -> Tensor:
    """Power gains of the box's A-weighting at the bins of ``LOUDNESS_FFT``, each for both its signs."""
    b, a = a_weighting_filter(SAMPLE_RATE_HZ)
    z = np.exp(2j * np.pi * np.fft.rfftfreq(LOUDNESS_FFT, 1.0 / RATE_HZ) / SAMPLE_RATE_HZ)
    gains = np.square(np.abs(np.polyval(b, z) / np.polyval(a, z)), dtype=np.float64)
    gains[1:-1] *= 2.0
    return torch.from_numpy(gains / LOUDNESS_FFT).float()


def _loudness_db(magnitudes: Tensor) -> Tensor:
    """A-weighted loudness on DDSP's scale of magnitudes [batch, 257, n]."""
    power = (magnitudes.square() * _a_weights()[:, None]).sum(dim=1)
    return 10.0 * torch.log10(power + 10.0 ** (LOUDNESS_FLOOR_DB / 10.0))


def _loudness_apart(a: Tensor, b: Tensor) -> Tensor:
    wanted_db = _loudness_db(b)
    sounding = (wanted_db > SOUNDING_DB).float()
    return ((_loudness_db(a) - wanted_db).abs() * sounding).sum() / sounding.sum().clamp_min(1.0)


def loudness_l1_db(sound: Tensor, target: Tensor) -> Tensor:
    """Mean distance of loudness where ``target`` [batch, n] sounds, in decibels."""
    return _loudness_apart(*(_magnitudes(x, LOUDNESS_FFT) for x in (sound, target)))


def training_loss(sound: Tensor, target: Tensor) -> Tensor:
    """What a voice learns from: the spectral loss, and ``LOUDNESS_WEIGHT`` for each decibel apart.

    The spectral loss alone leaves a voice too quiet: where a recording is noisier than the model, the
    logarithms of its bins are best met by their median, which lies below their power.
    """
    pairs = {size: (_magnitudes(sound, size), _magnitudes(target, size)) for size in FFT_SIZES}
    spectral = torch.stack([_spectral(a, b) for a, b in pairs.values()]).mean()
    return spectral + LOUDNESS_WEIGHT * _loudness_apart(*pairs[LOUDNESS_FFT])
