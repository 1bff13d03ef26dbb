"""The emotion network in torch: 128 → Dense 256 + tanh → LSTM 128 → Dense 64 (238,912 parameters).

The architecture is the training guide's. A clip of features runs through at once in training
(``forward``), or step by step with the state carried (``step``); both give the same numbers.
``rtneural`` writes the Keras-layout JSON that RTNeural loads.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn

from kelly_edge.contract import N_EMOTION, N_FEATURES
from kelly_edge.emotion.vector import slice_of
from models.emotion.symbolic import N_DESCRIPTORS

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
