"""A voice's decoder on a TFLite model."""

import numpy as np

from firmware_py.runtimes.tflite import TfliteStep
from kelly_edge.timbre.controls import Controls, decoder_inputs, fill_controls


class TfliteDecoder:
    """``Decoder``: (f0, loudness) through the model to controls; the state is in the model's step."""

    def __init__(self, model: TfliteStep) -> None:
        self._model = model
        self._inputs = np.zeros((1, 2), np.float32)

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        """One hop."""
        self._inputs[0] = decoder_inputs(f0_hz, loudness_db)
        (raw,) = self._model.step(self._inputs)
        fill_controls(raw.reshape(-1), f0_hz, controls)

    def reset(self) -> None:
        """Zero state."""
        self._model.reset()
