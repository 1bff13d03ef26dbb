"""Weights of a voice to a TensorFlow Lite file: ``python convert.py WEIGHTS.npz OUT.tflite``.

Runs in its own environment (tensorflow-cpu 2.15.1, numpy; nothing of this project), because TensorFlow is
needed for this only. One step with the GRU's state as an explicit float32 tensor: matrix products in INT8
(static scales from the calibration stream), everything between them in float32, so that neither the state
nor the controls lose resolution. WEIGHTS.npz holds enter_w [2, dense], enter_b, gru_x [dense, 3 gru], gru_bx,
gru_h [gru, 3 gru], gru_bh (gates r z n as in torch), leave_w [gru, 96], leave_b, and calibration inputs
x, h [n, …].
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

FLOAT_OPS = ["MUL", "ADD", "SUB", "LOGISTIC", "TANH", "SPLIT", "STRIDED_SLICE", "RESHAPE"]


def convert(source: Path, target: Path) -> None:
    """Build, calibrate, quantise, write."""
    w = dict(np.load(source))
    hidden = w["leave_w"].shape[0]

    class Step(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([1, w["enter_w"].shape[0]], tf.float32, name="controls"),
                tf.TensorSpec([1, hidden], tf.float32, name="h"),
            ]
        )
        def step(self, controls, h):  # type: ignore[no-untyped-def]
            dense = tf.tanh(tf.matmul(controls, w["enter_w"]) + w["enter_b"])
            x_r, x_z, x_n = tf.split(tf.matmul(dense, w["gru_x"]) + w["gru_bx"], 3, 1)
            h_r, h_z, h_n = tf.split(tf.matmul(h, w["gru_h"]) + w["gru_bh"], 3, 1)
            update = tf.sigmoid(x_z + h_z)
            new = tf.tanh(x_n + tf.sigmoid(x_r + h_r) * h_n)
            h_next = new + update * (h - new)
            return {"raw": tf.matmul(h_next, w["leave_w"]) + w["leave_b"], "h_next": h_next}

    def calibration() -> Iterator[dict[str, NDArray[np.float32]]]:
        for x, h in zip(w["x"], w["h"], strict=True):
            yield {"controls": x[None], "h": h[None]}

    module = Step()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.step.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=FLOAT_OPS)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=calibration, debug_options=options
    )
    target.write_bytes(debugger.get_nondebug_quantized_model())


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
