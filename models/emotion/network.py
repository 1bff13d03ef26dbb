"""The emotion network in torch: 128 → Dense 256 + tanh → LSTM 128 → Dense 64 (238,912 parameters).

The architecture is the training guide's. A clip of features runs through at once in training
(``forward``), or step by step with the state carried (``step``); both give the same numbers.
``rtneural`` writes the Keras-layout JSON that RTNeural loads.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kelly_edge.contract import N_EMOTION, N_FEATURES
from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.emotion.symbolic import N_DESCRIPTORS
from kelly_edge.emotion.vector import slice_of
from kelly_edge.errors import DataError

# Units. Chosen: the width that the network was designed with.
N_DENSE: Final = 256
N_HIDDEN: Final = 128
State = tuple[Tensor, Tensor]


class EmotionLstm(nn.Module):
    """Features ``[batch, n, 128]`` to emotion vectors ``[batch, n, 64]`` and the state after them."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dense = nn.Linear(N_FEATURES, N_DENSE)
        self.lstm = nn.LSTM(N_DENSE, N_HIDDEN, batch_first=True)
        self.out = nn.Linear(N_HIDDEN, N_EMOTION)
        self.dropout = nn.Dropout(dropout)
        # A training-only read-out: what gives the learned embedding something to carry.
        embedding = slice_of("embedding")
        self.read_out = nn.Linear(embedding.stop - embedding.start, N_DESCRIPTORS)

    def forward(self, features: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Whole sequences; ``state`` is (h, c), each ``[1, batch, 128]``, zero when None."""
        hidden = self.dropout(torch.tanh(self.dense(features)))
        sequence, state = self.lstm(hidden, state)
        return self.out(self.dropout(sequence)), state

    def descriptors(self, emotion: Tensor) -> Tensor:
        """The read-out of the embedding, ``[…, 16]``; not exported."""
        result: Tensor = self.read_out(emotion[..., slice_of("embedding")])
        return result

    def n_parameters(self) -> int:
        """Parameters of the exported part, counting the LSTM's two biases as the one they are."""
        parts = [*self.dense.parameters(), *self.out.parameters(), *self.lstm.parameters()]
        return sum(p.numel() for p in parts) - 4 * N_HIDDEN


def load_run(run: Path) -> EmotionLstm:
    """The trained network of a run's folder. Raises DataError."""
    network = EmotionLstm()
    try:
        network.load_state_dict(torch.load(run / "emotion_model.pt", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"no trained network in {run} ({error}); run python -m models.emotion.train"
        ) from None
    return network.eval()


def run_clips(
    network: EmotionLstm, clips: list[NDArray[np.float32]], batch: int = 64
) -> list[NDArray[np.float32]]:
    """Emotion vectors ``[n, 64]`` of whole clips ``[n, 128]``, each from zero state."""
    result: list[NDArray[np.float32]] = [np.zeros((0, N_EMOTION), np.float32)] * len(clips)
    order = np.argsort([len(x) for x in clips], kind="stable")
    with torch.no_grad():
        for first in range(0, len(order), batch):
            rows = order[first : first + batch]
            padded = torch.zeros(len(rows), len(clips[rows[-1]]), N_FEATURES)
            for i, row in enumerate(rows):
                padded[i, : len(clips[row])] = torch.from_numpy(clips[row])
            emotion, _ = network(padded)
            for i, row in enumerate(rows):
                result[row] = emotion[i, : len(clips[row])].numpy().copy()
    return result


def calibrated(network: EmotionLstm, scale: float, valence: float, arousal: float) -> EmotionLstm:
    """A copy whose quadrants' log odds are ``scale`` × (log odds + the two biases along their signs).

    It all lies in the last layer, so that whoever reads the outputs needs to know nothing of it.
    """
    result = EmotionLstm()
    result.load_state_dict(network.state_dict())
    bias = torch.tensor(SIGNS @ [valence, arousal], dtype=torch.float32)
    with torch.no_grad():
        for name, shift in (("quadrant", bias), ("valence", valence), ("arousal", arousal)):
            rows = slice_of(name)
            result.out.bias[rows] = scale * (result.out.bias[rows] + shift)
            result.out.weight[rows] *= scale
    return result.eval()


def rtneural(network: EmotionLstm) -> dict[str, Any]:
    """The network in RTNeural's (Keras) layout: transposes, and the sum of the LSTM's two biases."""

    def dense(layer: nn.Linear, activation: str) -> dict[str, Any]:
        weights = [layer.weight.detach().T.tolist(), layer.bias.detach().tolist()]
        return {
            "type": "dense",
            "activation": activation,
            "shape": [None, None, layer.out_features],
            "weights": weights,
        }

    lstm = network.lstm
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach()
    weights = [lstm.weight_ih_l0.detach().T.tolist(), lstm.weight_hh_l0.detach().T.tolist(), bias.tolist()]
    return {
        "in_shape": [None, None, N_FEATURES],
        "layers": [
            dense(network.dense, "tanh"),
            {"type": "lstm", "activation": "", "shape": [None, None, N_HIDDEN], "weights": weights},
            dense(network.out, ""),
        ],
    }
