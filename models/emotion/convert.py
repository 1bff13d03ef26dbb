"""Weights to a TensorFlow Lite file: ``python convert.py WEIGHTS.npz OUT.tflite``.

Runs in its own environment (tensorflow-cpu 2.15.1, numpy; nothing of this project), because TensorFlow is
needed for this only. One step of the network with the LSTM's state as explicit float32 tensors: matrix
products in INT8 (static scales from ``calibration``), everything between them in float32, so that the state
does not drift. WEIGHTS.npz holds dense_w [128, 256], dense_b, lstm_w [384, 512] (input above recurrent, gates
i f g o), lstm_b, out_w [128, 64], out_b, and calibration inputs x, h, c [n, …] from a contiguous stream;
without those the file is float32.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray

FLOAT_OPS = ["MUL", "ADD", "LOGISTIC", "TANH", "SPLIT", "CONCATENATION", "STRIDED_SLICE", "RESHAPE"]
"""All but the products. The dense layer's tanh as a table of INT8 costs less, but x86 and ARM then differ."""


def convert(source: Path, target: Path) -> None:
    """Build, calibrate and quantise if there is what to calibrate on, write."""
    w = dict(np.load(source))
    hidden = w["out_w"].shape[0]
    # TensorFlow 2.15 has one INT8 scale a matrix; columns of unit size, scaled back in float after the split
    # (before it, the converter would undo this), come to a scale per column.
    size = np.abs(w["lstm_w"]).max(0)

    class Step(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([1, w["dense_w"].shape[0]], tf.float32, name="features"),
                tf.TensorSpec([1, hidden], tf.float32, name="h"),
                tf.TensorSpec([1, hidden], tf.float32, name="c"),
            ]
        )
        def step(self, features, h, c):  # type: ignore[no-untyped-def]
            dense = tf.tanh(tf.matmul(features, w["dense_w"]) + w["dense_b"])
            gates = tf.matmul(tf.concat([dense, h], 1), w["lstm_w"] / size) + w["lstm_b"] / size
            i, f, g, o = (
                x * scale for x, scale in zip(tf.split(gates, 4, 1), np.split(size, 4), strict=True)
            )
            c_next = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            h_next = tf.sigmoid(o) * tf.tanh(c_next)
            emotion = tf.matmul(h_next, w["out_w"]) + w["out_b"]
            return {"emotion": emotion, "h_next": h_next, "c_next": c_next}

    def calibration() -> Iterator[dict[str, NDArray[np.float32]]]:
        for x, h, c in zip(w["x"], w["h"], w["c"], strict=True):
            yield {"features": x[None], "h": h[None], "c": c[None]}

    module = Step()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.step.get_concrete_function()], module)
    if "x" not in w:
        target.write_bytes(converter.convert())
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=FLOAT_OPS)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=calibration, debug_options=options
    )
    target.write_bytes(debugger.get_nondebug_quantized_model())


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
