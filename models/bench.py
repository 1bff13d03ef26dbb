"""``python -m models.bench``: the box's bench, with the emotion network's peers in onnxruntime beside it.

The peers are built here from the shipped RTNeural file (the same weights): float32, and onnxruntime's dynamic
INT8. They need the package onnx; TensorFlow Lite's float file is shipped and in the box's own bench.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware_py.commands.costs import Subject, emotion_subject, measure, print_costs, subjects
from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.rtneural import weights_in
from firmware_py.settings import Settings
from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, seconds_argument

Float32 = NDArray[np.float32]


class OnnxEmotion:
    """``EmotionNetwork`` in onnxruntime, one thread, state bound in and out."""

    def __init__(self, path: Path, n_hidden: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._state = [np.zeros((1, n_hidden), np.float32) for _ in range(2)]

    def step(self, features: Float32) -> Float32:
        """float32 [128] to float32 [64]."""
        h, c = self._state
        emotion, *self._state = self._session.run(None, {"features": features[None], "h": h, "c": c})
        result: Float32 = emotion[0]
        return result

    def reset(self) -> None:
        """Zero state."""
        for state in self._state:
            state[:] = 0.0


def onnx_model(layout: dict[str, Any]) -> Any:
    """One step of an RTNeural file's network as ONNX: (features, h, c) to (emotion, h_next, c_next)."""
    from onnx import TensorProto, checker, helper, numpy_helper

    dense, lstm, out = weights_in(layout)
    n_hidden = lstm[1].shape[0]
    constants = {
        "dense_w": dense[0], "dense_b": dense[1], "lstm_w": np.concatenate(lstm[:2]), "lstm_b": lstm[2],
        "out_w": out[0], "out_b": out[1],
    }  # fmt: skip
    steps: list[tuple[str, list[str], list[str]]] = [
        ("MatMul", ["features", "dense_w"], ["d0"]), ("Add", ["d0", "dense_b"], ["d1"]),
        ("Tanh", ["d1"], ["d2"]), ("MatMul", ["joined", "lstm_w"], ["g0"]),
        ("Add", ["g0", "lstm_b"], ["g1"]), ("Sigmoid", ["i0"], ["i"]), ("Sigmoid", ["f0"], ["f"]),
        ("Tanh", ["g2"], ["g"]), ("Sigmoid", ["o0"], ["o"]), ("Mul", ["f", "c"], ["kept"]),
        ("Mul", ["i", "g"], ["new"]), ("Add", ["kept", "new"], ["c_next"]), ("Tanh", ["c_next"], ["t"]),
        ("Mul", ["o", "t"], ["h_next"]), ("MatMul", ["h_next", "out_w"], ["e0"]),
        ("Add", ["e0", "out_b"], ["emotion"]),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins, outs) for op, ins, outs in steps]
    nodes.insert(3, helper.make_node("Concat", ["d2", "h"], ["joined"], axis=1))
    nodes.insert(6, helper.make_node("Split", ["g1"], ["i0", "f0", "g2", "o0"], axis=1))
    sizes = {"features": dense[0].shape[0], "h": n_hidden, "c": n_hidden}
    outputs = {"emotion": out[0].shape[1], "h_next": n_hidden, "c_next": n_hidden}
    graph = helper.make_graph(
        nodes,
        "emotion",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n, size in sizes.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def peers(folder: Path) -> list[Subject]:
    """The shipped emotion network in onnxruntime; files go to ``folder``. Raises DataError."""
    try:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise DataError(f"no {error.name}; pip install onnx onnxruntime") from None
    layout = json.loads(load("emotion_model").path.with_suffix(".json").read_text(encoding="utf-8"))
    n_hidden = len(layout["layers"][1]["weights"][1])
    float_file, int8_file = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(onnx_model(layout), str(float_file))
    quantize_dynamic(str(float_file), str(int8_file), weight_type=QuantType.QInt8, per_channel=True)
    return [
        emotion_subject("float32, onnxruntime", OnnxEmotion(float_file, n_hidden)),
        emotion_subject("int8, onnxruntime", OnnxEmotion(int8_file, n_hidden)),
    ]


@command("models.bench", KellyError)
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the box's subjects and the peers in one run; print."""
    parser = Parser(prog="models.bench", description=__doc__)
    parser.add_argument("--seconds", type=seconds_argument, default=1.0, help="to spend on each subject")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        costs = measure([*subjects(Settings()), *peers(Path(folder))], args.seconds)
    costs.sort(key=lambda cost: cost.stage)
    if args.json:
        print(json.dumps([vars(cost) for cost in costs], indent=2))
    else:
        print_costs(costs, "Cost of every stage on this machine, peers beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
