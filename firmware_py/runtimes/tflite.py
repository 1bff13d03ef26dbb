"""One TensorFlow Lite model, stepped with its state fed back: ai-edge-litert or tflite-runtime.

The two runtimes share the interpreter's interface but not their arithmetic: the same file gives
different (each deterministic) outputs in them, and some files that one loads make the other compute
garbage without any error. Hence golden vectors per (model, runtime), see ``artefacts``.
"""

import ctypes
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
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
    arguments: one array per input, for callers that fill them without ``step``.
    invoke: the runtime's: ``results`` and the next state from ``arguments`` and the state.
    carried: (state, next state) as bytes; who invokes copies each second into its first.
    results: one array per output: the runtime's own memory, overwritten by every step.
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
        state_in, state_out = {a for a, _ in state}, {b for _, b in state}
        self.inputs = tuple(n for n in ins if n not in state_in)
        self.outputs = tuple(n for n in outs if n not in state_out)
        self.input_shapes = {n: tuple(int(s) for s in ins[n]["shape"]) for n in self.inputs}
        # The tensors stand still from the first invocation on: every step then copies, and asks for nothing.
        self._interpreter.invoke()
        self.arguments = tuple(self._memory(ins[n]) for n in self.inputs)
        self.results = tuple(
            self._memory(outs[n]).reshape([int(s) for s in outs[n]["shape"]]) for n in self.outputs
        )
        self._state_ins = [self._memory(ins[a]) for a, _ in state]
        # Bytes from memory to memory: a third of the instructions that numpy takes for arrays this small.
        self.carried: list[tuple[memoryview, memoryview]] = [
            (target.data.cast("B"), self._memory(outs[b]).data.cast("B"))
            for target, (_, b) in zip(self._state_ins, state, strict=True)
        ]
        self.invoke: Callable[[], None] = self._interpreter.invoke
        self.reset()

    def _memory(self, detail: dict[str, Any]) -> NDArray[Any]:
        """The tensor's memory as an array that the runtime does not count as a reference.

        A view that ``Interpreter.tensor`` gives would make ``invoke`` refuse, and a fresh one per step costs
        more than a small model's arithmetic. The array keeps the interpreter alive.
        """
        view: NDArray[Any] = self._interpreter.tensor(detail["index"])()
        shape, dtype, address = view.shape, view.dtype, view.ctypes.data
        del view
        raw: Any = (ctypes.c_byte * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
        raw.owner = self._interpreter
        # Without the batch of one, assigning a row needs no broadcasting.
        return np.frombuffer(raw, dtype).reshape(shape[1:] if shape[:1] == (1,) else shape)

    def reset(self) -> None:
        """Zero state: the beginning of a stream."""
        for tensor in self._state_ins:
            tensor[...] = 0

    def step(self, *values: NDArray[Any] | float) -> tuple[NDArray[Any], ...]:
        """One step; ``values`` in the order of ``inputs``. The next step overwrites the arrays returned."""
        for tensor, value in zip(self.arguments, values, strict=True):
            tensor[...] = value
        self.invoke()
        for state, following in self.carried:
            state[:] = following
        return self.results
