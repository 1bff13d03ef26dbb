"""The emotion network's port on a TFLite model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.runtimes.tflite import TfliteStep


class TfliteEmotion:
    """``EmotionNetwork``: float32 [128] → float32 [64], state inside; the result is overwritten."""

    def __init__(self, model: TfliteStep) -> None:
        self._model = model
        # Buffer to buffer: numpy's own assignment takes 500 instructions more.
        self._features: Any = model.arguments[0].data
        self._run = model.run
        self._emotion: NDArray[np.float32] = model.results[0].reshape(-1)

    def step(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """One hop group."""
        self._features[:] = features
        self._run()
        return self._emotion

    def reset(self) -> None:
        """Zero state."""
        self._model.reset()
