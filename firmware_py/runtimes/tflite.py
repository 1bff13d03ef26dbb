"""One TensorFlow Lite model, stepped with its state fed back: ai-edge-litert or tflite-runtime.

The two runtimes share the interpreter's interface but not their arithmetic: the same file gives
different (each deterministic) outputs in them, and some files that one loads make the other compute
garbage without a word. Hence golden vectors per (model, runtime), see ``artefacts``.
"""

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.errors import ArtefactError

RUNTIME_MODULES: Final = {
    "ai_edge_litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
}


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep stderr to one line a fault: the runtimes announce their delegate there, past Python's streams."""
    kept = os.dup(2)
    silence = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silence)


class TfliteStep:
    """``outputs = step(inputs)`` with the state tensors carried over inside.

    Parameters
    ----------
    model: the bytes of a ``.tflite`` file.
    runtime: a key of ``RUNTIME_MODULES``.
    state: pairs (input name, output name); each output is the next step's input, zero at first.

    Attributes
    ----------
    inputs, outputs: names of the tensors that are not state, in the file's order.
    """

    def __init__(self, model: bytes, runtime: str, state: Sequence[tuple[str, str]] = ()) -> None:
        try:
            module = importlib.import_module(RUNTIME_MODULES[runtime])
        except ImportError as error:
            raise ArtefactError(
                f"runtime {runtime} is not installed ({error}); set runtime.tflite to the other of "
                f"{', '.join(RUNTIME_MODULES)} or install it"
            ) from None
        try:
            with _without_chatter():
                self._interpreter: Any = module.Interpreter(model_content=model, num_threads=1)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtefactError(
                f"{runtime} refuses the model: {str(error).splitlines()[0]}; install the shipped file again"
            ) from None
        ins = {d["name"]: d for d in self._interpreter.get_input_details()}
        outs = {d["name"]: d for d in self._interpreter.get_output_details()}
        for name_in, name_out in state:
            if name_in not in ins or name_out not in outs:
                raise ArtefactError(
                    f"the model has no state {name_in} <- {name_out} (it has {sorted(ins)}, {sorted(outs)}); "
                    "install the shipped file again"
                )
        tensor = self._interpreter.tensor
        state_in, state_out = {a for a, _ in state}, {b for _, b in state}
        self.inputs = tuple(n for n in ins if n not in state_in)
        self.outputs = tuple(n for n in outs if n not in state_out)
        # Each of these returns a fresh view when called; a kept view would make invoke() refuse.
        self._in_views = [tensor(ins[n]["index"]) for n in self.inputs]
        self._out_views = [tensor(outs[n]["index"]) for n in self.outputs]
        self._state_views = [(tensor(ins[a]["index"]), tensor(outs[b]["index"])) for a, b in state]
        self.input_shapes = {n: tuple(int(s) for s in ins[n]["shape"]) for n in self.inputs}
        self._results = tuple(np.zeros(outs[n]["shape"], outs[n]["dtype"]) for n in self.outputs)
        self.reset()

    def reset(self) -> None:
        """Zero state: the beginning of a stream."""
        for view_in, _ in self._state_views:
            view_in()[:] = 0

    def step(self, *values: NDArray[Any] | float) -> tuple[NDArray[Any], ...]:
        """One step; ``values`` in the order of ``inputs``. The next step overwrites the arrays returned."""
        for view, value in zip(self._in_views, values, strict=True):
            view()[:] = value
        self._interpreter.invoke()
        for result, view in zip(self._results, self._out_views, strict=True):
            result[:] = view()
        for view_in, view_out in self._state_views:
            view_in()[:] = view_out()
        return self._results
