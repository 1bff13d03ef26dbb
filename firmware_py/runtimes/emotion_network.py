"""The emotion network's port on a TFLite model."""

import numpy as np
from numpy.typing import NDArray

from firmware_py.runtimes.tflite import TfliteStep


class TfliteEmotion:
    """``EmotionNetwork``: float32 [128] → float32 [64], state inside; the result is overwritten."""

    def __init__(self, model: TfliteStep) -> None:
        self._model = model

    def step(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """One hop group."""
        (emotion,) = self._model.step(features)
        result: NDArray[np.float32] = emotion.reshape(-1)
        return result

    def reset(self) -> None:
        """Zero state."""
        self._model.reset()
