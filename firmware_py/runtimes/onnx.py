"""The composer network in onnxruntime: one thread, no spinning, keys and values bound in place.

The step graph (``models/composer/export.py``) has the inputs ``row`` int64 [11], ``n_rows`` int64 [1],
``keys_<layer>`` and ``values_<layer>`` float32 [n_heads, context, head_size]; its outputs are ``contexts``
[n_heads, head_width] and ``new_keys``, ``new_values`` [n_layers, n_heads, head_size]. The tables of the
heads are constants of the same graph (``start``, ``parent_<i>``, ``weight_<i>``, ``bias_<i>``,
``together``), as are the runs of notes it was trained on (``known_runs``), read once: onnxruntime computes
only the outputs it is asked for.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from firmware_py.runtimes.artefacts import REMEDY, Artefact, golden_vectors, undamaged
from kelly_edge.errors import ArtefactError
from kelly_edge.music.compound_word import FAMILIES, N_FAMILIES, SAMPLED, Rows
from kelly_edge.music.known_runs import KnownRuns
from kelly_edge.music.sampling import PARENT_SLOTS, Floats, HeadTables, KvCache

RUNTIME: Final = "onnxruntime"
HEAD_SIZES: Final = tuple(family.size for family in SAMPLED)


class OnnxComposer:
    """A step graph as a ``ComposerNetwork``."""

    def __init__(self, model: Path | str | bytes) -> None:
        """Open a graph by path or by its bytes.

        Raises
        ------
        ArtefactError: it is no ONNX file or not a step graph of this version's compound words.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        source = model if isinstance(model, bytes) else str(model)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            self.tables, self.known_runs = self._read_tables()
            shapes = {i.name: i.shape for i in self._session.get_inputs()}
            n_heads, self.context, head_size = (int(n) for n in shapes["keys_0"])
            n_layers = sum(name.startswith("keys_") for name in shapes)
        except Exception as error:  # onnxruntime raises its own unrelated classes
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArtefactError(f"not a composer step graph ({what}); {REMEDY}") from None
        self._check_tables()
        self._shape = (n_layers, n_heads, self.context, head_size)
        self._row = np.zeros(N_FAMILIES, np.int64)
        self._n_rows = np.zeros(1, np.int64)
        self._contexts = np.zeros_like(self.tables.start)
        self._new_keys = np.zeros((n_layers, n_heads, head_size), np.float32)
        self._new_values = np.zeros_like(self._new_keys)
        self._binding = self._session.io_binding()
        self._bind("row", self._row)
        self._bind("n_rows", self._n_rows)
        for name, array in (
            ("contexts", self._contexts),
            ("new_keys", self._new_keys),
            ("new_values", self._new_values),
        ):
            self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._bound: KvCache | None = None

    def new_cache(self) -> KvCache:
        """An empty cache, zeros."""
        return KvCache(np.zeros(self._shape, np.float32), np.zeros(self._shape, np.float32))

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        """Read ``row`` as number ``n_rows`` of ``cache``; write the contexts of the row after it."""
        if cache is not self._bound:
            for layer in range(self._shape[0]):
                self._bind(f"keys_{layer}", cache.keys[layer])
                self._bind(f"values_{layer}", cache.values[layer])
            self._bound = cache
        self._row[:] = row
        self._n_rows[0] = n_rows
        self._session.run_with_iobinding(self._binding)
        cache.keys[:, :, n_rows] = self._new_keys
        cache.values[:, :, n_rows] = self._new_values
        np.copyto(contexts, self._contexts)

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _read_tables(self) -> tuple[HeadTables, KnownRuns]:
        names = ["start", "together", "known_runs"]
        names += [f"parent_{i}" for i in range(len(PARENT_SLOTS))]
        names += [f"{kind}_{i}" for kind in ("weight", "bias") for i in range(len(SAMPLED))]
        feed = {
            i.name: np.zeros(i.shape, np.int64 if i.type == "tensor(int64)" else np.float32)
            for i in self._session.get_inputs()
        }
        found = dict(zip(names, self._session.run(names, feed), strict=True))
        tables = HeadTables(
            found["start"],
            tuple(found[f"parent_{i}"] for i in range(len(PARENT_SLOTS))),
            tuple(found[f"weight_{i}"] for i in range(len(SAMPLED))),
            tuple(found[f"bias_{i}"] for i in range(len(SAMPLED))),
            found["together"],
        )
        return tables, KnownRuns(found["known_runs"])

    def _check_tables(self) -> None:
        sizes = tuple(weight.shape[1] for weight in self.tables.weights)
        parents = tuple(len(parent) for parent in self.tables.parents)
        wanted = tuple(FAMILIES[column].size for _, column in PARENT_SLOTS)
        if sizes != HEAD_SIZES or parents != wanted:
            raise ArtefactError(
                f"composer: its heads have {sizes} tokens, compound words {HEAD_SIZES}; {REMEDY}"
            )


def stream_rows(network: OnnxComposer, rows: Rows) -> NDArray[np.float32]:
    """Contexts after each of ``rows`` [n, 11], read from an empty cache: [n, n_heads, head_width]."""
    cache = network.new_cache()
    contexts = np.zeros((len(rows), *network.tables.start.shape), np.float32)
    for i, row in enumerate(rows):
        network.step(row, cache, i, contexts[i])
    return contexts


def open_composer(artefact: Artefact) -> OnnxComposer:
    """The composer network, proved by its golden vectors.

    Raises
    ------
    ArtefactError: the graph or its results differ from the manifest's promise.
    """
    try:
        network = OnnxComposer(artefact.content)
    except ArtefactError as error:
        raise ArtefactError(f"{artefact.path}: {error}") from None
    golden = golden_vectors(artefact)
    with undamaged(artefact.entry_path):
        tolerance = float(artefact.entry["golden_tolerance"][RUNTIME])
        found = stream_rows(network, golden["input/row"].astype(np.int16))
        error_max = float(np.max(np.abs(found - golden[f"output/{RUNTIME}/contexts"])))
    if not error_max <= tolerance:
        raise ArtefactError(
            f"{artefact.path}: contexts are {error_max:.3g} off their golden vector "
            f"(allowed {tolerance:.3g}); {REMEDY}"
        )
    return network
