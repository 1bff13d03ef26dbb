"""The TFLite step: what it keeps of the runtime's memory stays true."""

import importlib.util

import numpy as np
import pytest

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.tflite import RUNTIME_MODULES, TfliteStep

N_STEPS = 500


@pytest.mark.parametrize("runtime", RUNTIME_MODULES)
@pytest.mark.parametrize("name", ["emotion_model", "ddsp_model"])
def test_kept_memory_is_the_runtimes_own_after_many_steps(name: str, runtime: str) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    artefact = load(name)
    model = TfliteStep(artefact.content, runtime, artefact.state)
    interpreter = model._interpreter
    details = {d["name"]: d["index"] for d in interpreter.get_output_details()}
    rng = np.random.default_rng(0)
    for _ in range(N_STEPS):
        values = [rng.normal(0, 1, shape).astype(np.float32) for shape in model.input_shapes.values()]
        results = model.step(*values)
        for output, result in zip(model.outputs, results, strict=True):
            np.testing.assert_array_equal(result, interpreter.get_tensor(details[output]))
    for state_in, state_out in artefact.state:
        inputs = {d["name"]: d["index"] for d in interpreter.get_input_details()}
        kept = interpreter.get_tensor(inputs[state_in])
        np.testing.assert_array_equal(kept, interpreter.get_tensor(details[state_out]))
        assert kept.any(), "the state must move"


def test_results_outlive_the_model() -> None:
    artefact = load("emotion_model")
    model = TfliteStep(artefact.content, "ai_edge_litert", artefact.state)
    (result,) = model.step(np.ones((1, 128), np.float32))
    before = result.copy()
    del model
    np.testing.assert_array_equal(result, before)
