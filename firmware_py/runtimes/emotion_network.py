"""The emotion network's port on a TFLite model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.runtimes.tflite import TfliteStep


class TfliteEmotion:
    """``EmotionNetwork``: float32 [128] → float32 [64], state inside; the result is overwritten.

    Attributes
    ----------
    step: one hop group. A function of its own, buffer to buffer: with methods, look-ups and a loop over the
    state the 100 thousand instructions of a step on a Cortex-A72 were a thousand more.
    """

    def __init__(self, model: TfliteStep) -> None:
        heard: Any = model.arguments[0].data
        emotion: NDArray[np.float32] = model.results[0].reshape(-1)
        invoke, ((h, h_next), (c, c_next)) = model.invoke, model.carried

        def step(features: NDArray[np.float32], /) -> NDArray[np.float32]:
            heard[:] = features
            invoke()
            h[:] = h_next
            c[:] = c_next
            return emotion

        self.step: Callable[[NDArray[np.float32]], NDArray[np.float32]] = step
        self._model = model

    def reset(self) -> None:
        """Zero state."""
        self._model.reset()
