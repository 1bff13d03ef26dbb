"""The emotion network from RTNeural's JSON, in numpy and float32: the precision that INT8 is judged by.

Independent of torch and of TensorFlow Lite; the layout is Keras's (dense W [in, out]; lstm W [in, 4 h],
U [h, 4 h], b [4 h], gates i f g o).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import ArtefactError

Float32 = NDArray[np.float32]


def weights_in(layout: dict[str, Any]) -> tuple[list[Float32], list[Float32], list[Float32]]:
    """Weights of the dense, the lstm and the last dense layer in a file's content. Raises ArtefactError."""
    try:
        dense, lstm, out = (
            [np.asarray(w, np.float32) for w in layer["weights"]] for layer in layout["layers"]
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ArtefactError(
            f"not an RTNeural file of dense, lstm, dense ({error}); export it again"
        ) from None
    return dense, lstm, out


class RtneuralEmotion:
    """``EmotionNetwork`` from the content of an RTNeural file."""

    def __init__(self, layout: dict[str, Any]) -> None:
        self._dense, self._lstm, self._out = weights_in(layout)
        self.reset()

    def reset(self) -> None:
        """Zero state."""
        n = self._lstm[1].shape[0]
        self._h, self._c = np.zeros(n, np.float32), np.zeros(n, np.float32)

    def step(self, features: Float32) -> Float32:
        """float32 ``[128]`` to float32 ``[64]``."""
        dense = np.tanh(features @ self._dense[0] + self._dense[1])
        gates = dense @ self._lstm[0] + self._h @ self._lstm[1] + self._lstm[2]
        i, f, g, o = np.split(gates, 4)

        def sigmoid(x: Float32) -> Float32:
            return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)

        self._c = sigmoid(f) * self._c + sigmoid(i) * np.tanh(g)
        self._h = sigmoid(o) * np.tanh(self._c)
        return np.asarray(self._h @ self._out[0] + self._out[1], np.float32)


def open_rtneural(path: Path) -> RtneuralEmotion:
    """The network of a file. Raises ArtefactError."""
    try:
        layout = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"cannot read {path} ({error}); give the emotion_model.json of an export"
        ) from None
    return RtneuralEmotion(layout)
