"""The bench's peers compute what the shipped float file computes: else their times would compare nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.rtneural import RtneuralEmotion


def test_the_onnx_peer_follows_the_float_file(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the workshop's package onnx is not installed")
    from models.bench import OnnxEmotion, onnx_model

    layout = json.loads(load("emotion_model").path.with_suffix(".json").read_text(encoding="utf-8"))
    onnx.save(onnx_model(layout), str(tmp_path / "float.onnx"))
    found, wanted = OnnxEmotion(tmp_path / "float.onnx", 128), RtneuralEmotion(layout)
    for row in np.random.default_rng(0).normal(0, 1, (200, 128)).astype(np.float32):
        np.testing.assert_allclose(found.step(row), wanted.step(row), atol=1e-4)
