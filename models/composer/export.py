"""Export a trained composer: the INT8 step graph that the box runs, or the full-sequence graph.

``python -m models.composer.export --work DIR [--checkpoint FILE.pt] [--draft FILE | --full FILE]`` takes
DIR/student-best.pt unless told otherwise; ``--into free`` ships into the free set what was trained on
``models.free.data``. ``--step FILE.onnx`` takes the weights of a step graph instead, so
that no checkpoint is needed: ``--ship-full`` ships the full graph of the step graph that is shipped.

- Step graph: one row in, the contexts of the next row and this row's keys and values out. Scores on the
  past and on the new key are computed apart ("split cache"), so no cache is copied; the matrices are INT8
  (dynamic quantisation, per channel). The tables of the heads stay float32 and are outputs of the graph,
  as is the set of runs of notes in the training data (``known_runs``).
- Full graph (for a plug-in): ``tokens`` int64 [batch, sequence, 11] → ``logits`` float32
  [batch, sequence, n]: the heads side by side, in the order of ``compound_word.SAMPLED``. Logits at a
  place are of that row's families given the rows before it and its own families decided before.

  Matrices are kept in float16 and computed with in float32.

Both are checked against torch before they are written.
"""

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from firmware_py.devices.files.output import refuse_to_overwrite
from firmware_py.runtimes.onnx import RUNTIME, OnnxComposer, stream_rows
from kelly_edge.errors import ArtefactError, KellyError
from kelly_edge.music.compound_word import FAMILIES, N_FAMILIES, SAMPLED, Rows
from kelly_edge.music.known_runs import KnownRuns
from kelly_edge.shared.command_line import Parser, command, path_argument
from models.composer.data import load_tokens, training_runs
from models.composer.network import Composer, NetworkConfig
from models.composer.train import load_model
from models.shipping import SHIPPED, folder_of, ship

# ONNX: the version of operators that onnxruntime 1.20 reads whole; then, on contexts of order 1, what float
# arithmetic in another order may change, chosen a thousand times its rounding.
OPSET = 17
FLOAT_TOLERANCE = 1e-3
GOLDEN_ROWS = 24
"""Chosen: some bars' worth."""
GOLDEN_TOLERANCE = 0.25
"""On contexts of order 1: INT8 rounds otherwise on another CPU, and what it rounds feeds the next row.
Chosen above what was measured (docs/decisions/0008: .05 on ARM), below what a broken kernel does (.52)."""
KNOWN_BYTES = 1 << 21
"""Two a run; two of a thousand other runs are taken for known ones. Counted: 1.04 million runs."""
HALF_TOLERANCE = 0.05
"""On logits of order 10: float16 keeps three digits of a weight. Chosen: ten times that rounding."""
HALF_FROM = 1_024
"""Numbers from which a table is kept in float16. Chosen: smaller tables save nothing."""
NAME, FULL_NAME = "transformer_model", "transformer_model_full"
DTYPES = {"tensor(int64)": "int64", "tensor(float)": "float32", "tensor(uint8)": "uint8"}


ORIGINS = {
    "research": {
        "licence": "non-commercial: trained on EMOPIA (CC BY-NC-SA 4.0) and POP909 (MIT)",
        "data": ["POP909 (MIT)", "EMOPIA 2.1 (CC BY-NC-SA 4.0)"],
    },
    "free": {
        "licence": "MIT: trained on POP909 (MIT) and OpenScore Lieder (CC0 1.0) alone",
        "data": ["POP909 (MIT)", "OpenScore Lieder Corpus (CC0 1.0)"],
    },
}
"""What each set's networks were trained on."""


class StepGraph(nn.Module):
    """One row through the trunk with a cache; inputs and outputs as ``firmware_py.runtimes.onnx`` says."""

    def __init__(self, model: Composer) -> None:
        super().__init__()
        self.model = model

    def forward(self, row: Tensor, n_rows: Tensor, *cache: Tensor) -> tuple[Tensor, ...]:
        """row [11], n_rows [1], then keys and values of each layer [n_heads, context, head_size]."""
        model, config = self.model, self.model.config
        head_size = config.width // config.n_heads
        x = model.token(row + model.offsets).sum(0, keepdim=True) + model.position(n_rows)
        past = torch.arange(config.context) >= n_rows
        bias = past.to(torch.float32) * -1e9
        new_keys, new_values = [], []
        for layer, block in enumerate(model.blocks):
            keys, values = cache[2 * layer], cache[2 * layer + 1]
            query, key, value = block.qkv(block.norm_1(x)).view(3, config.n_heads, head_size).unbind(0)
            query = query * head_size**-0.5
            scores = torch.matmul(keys, query.unsqueeze(-1)).squeeze(-1) + bias
            own = (query * key).sum(-1, keepdim=True)
            weights = torch.softmax(torch.cat([scores, own], -1), -1)
            y = torch.matmul(weights[:, None, :-1], values).squeeze(1) + weights[:, -1:] * value
            x = x + block.out(y.reshape(1, -1))
            x = x + block.feed_forward(x)
            new_keys.append(key)
            new_values.append(value)
        contexts = model.contexts(model.norm(x)).view(len(SAMPLED), config.head_width)
        return contexts, torch.stack(new_keys), torch.stack(new_values)


class FullGraph(nn.Module):
    """All rows at once, without a cache."""

    def __init__(self, model: Composer) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [batch, n, 11] → logits [batch, n, all heads' sizes]."""
        model = self.model
        x = model.embed(tokens)
        n = tokens.shape[1]
        ahead = torch.triu(torch.full((n, n), -1e9), 1)
        for block in model.blocks:
            qkv = block.qkv(block.norm_1(x)).unflatten(-1, (3, block.n_heads, -1)).permute(2, 0, 3, 1, 4)
            scores = torch.matmul(qkv[0], qkv[1].transpose(-1, -2)) * qkv.shape[-1] ** -0.5 + ahead
            y = torch.matmul(torch.softmax(scores, -1), qkv[2]).transpose(1, 2).flatten(-2)
            x = x + block.out(y)
            x = x + block.feed_forward(x)
        contexts = model.contexts(model.norm(x)).unflatten(-1, (len(SAMPLED), -1))
        start = model.start.expand(tokens.shape[0], 1, -1, -1)
        contexts = torch.cat([start, contexts[:, :-1]], 1)
        return torch.cat(model.logits(contexts, tokens), -1)


def head_tables(model: Composer) -> dict[str, NDArray[np.float32]]:
    """The tables of the heads by their output names; see ``sampling.HeadTables`` for shapes."""
    tables = {"start": model.start, "together": model.together}
    tables |= {f"parent_{i}": table for i, table in enumerate(model.parent)}
    tables |= {f"weight_{i}": head.weight.t() for i, head in enumerate(model.heads)}
    tables |= {f"bias_{i}": head.bias for i, head in enumerate(model.heads)}
    return {name: table.detach().contiguous().numpy() for name, table in tables.items()}


def add_tables(source: Path, model: Composer, known: KnownRuns, path: Path) -> None:
    """Copy the graph in ``source`` to ``path`` with the head tables and known runs as constant outputs."""
    import onnx

    proto = onnx.load(str(source))
    tables: dict[str, NDArray[Any]] = {**head_tables(model), "known_runs": known.bits}
    for name, table in tables.items():
        tensor = onnx.numpy_helper.from_array(table, f"table_{name}")
        proto.graph.initializer.append(tensor)
        proto.graph.node.append(onnx.helper.make_node("Identity", [tensor.name], [name]))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, table.shape))
    path.write_bytes(proto.SerializeToString())


def _write(
    graph: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    names: tuple[list[str], list[str]],
    **more: object,
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's remarks on constant shapes, which are meant
        torch.onnx.export(
            graph.eval(), inputs, str(path), input_names=names[0], output_names=names[1],
            opset_version=OPSET, dynamo=False, **more,
        )  # fmt: skip


def export_step(model: Composer, known: KnownRuns, path: Path, int8: bool = True) -> None:
    """Write the step graph, INT8 unless told otherwise; checked against torch in float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    config = model.config
    shape = (config.n_heads, config.context, config.width // config.n_heads)
    cache = tuple(torch.zeros(shape) for _ in range(2 * config.n_layers))
    inputs = ["row", "n_rows"]
    inputs += [f"{kind}_{layer}" for layer in range(config.n_layers) for kind in ("keys", "values")]
    outputs = ["contexts", "new_keys", "new_values"]
    with tempfile.TemporaryDirectory() as folder:
        plain, full, quantised = (Path(folder) / f"{name}.onnx" for name in ("plain", "float", "int8"))
        row = torch.zeros(N_FAMILIES, dtype=torch.long)
        _write(StepGraph(model), (row, torch.zeros(1, dtype=torch.long), *cache), plain, (inputs, outputs))
        add_tables(plain, model, known, full)
        check_step(model, full)
        if not int8:
            path.write_bytes(full.read_bytes())
            return
        # The quantiser advises pre-processing on the root logger; the graph is already folded.
        logging.getLogger().setLevel(logging.ERROR)
        # Unsigned: with signed weights onnxruntime's sums overflow on x86 without VNNI (docs/decisions/0008).
        quantize_dynamic(
            plain, quantised, weight_type=QuantType.QUInt8, per_channel=True,
            extra_options={"WeightSymmetric": True},
        )  # fmt: skip
        add_tables(quantised, model, known, path)


@torch.no_grad()
def check_step(model: Composer, path: Path) -> None:
    """Raise ``ArtefactError`` unless the float step graph streams what torch computes at once."""
    rows = sample_rows(24, model.config.context)
    expected = model(torch.from_numpy(rows.astype(np.int64))[None])[0, 1:].numpy()
    error = float(np.abs(stream_rows(OnnxComposer(path), rows)[:-1] - expected).max())
    if error > FLOAT_TOLERANCE:
        raise ArtefactError(f"{path.name}: step graph is {error:.2g} off torch (allowed {FLOAT_TOLERANCE})")


def sample_rows(n_rows: int, context: int) -> Rows:
    """Rows of arbitrary legal tokens, the same at every call: [n_rows, 11]."""
    rng = np.random.default_rng(5)
    sizes = [family.size for family in FAMILIES]
    return rng.integers(0, sizes, (min(n_rows, context), len(sizes))).astype(np.int16)


def composer_of(step_graph: Path) -> Composer:
    """The network of a step graph, INT8 or float, in float32: exactly the weights that the graph holds.

    Raises
    ------
    ArtefactError: the file is no step graph of this version's network.
    """
    import onnx

    tables = OnnxComposer(step_graph).tables
    proto = onnx.load(str(step_graph))
    held = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in proto.graph.input}
    n_heads, context, head_size = shapes["keys_0"]
    n_layers = sum(name.startswith("keys_") for name in shapes)
    config = NetworkConfig(n_layers, n_heads * head_size, n_heads, context, tables.start.shape[1], 0.0)
    model = Composer(config)
    heads: dict[str, NDArray[np.float32]] = {"start": tables.start, "together": tables.together}
    heads |= {f"parent.{i}": table for i, table in enumerate(tables.parents)}
    heads |= {f"heads.{i}.weight": table.T for i, table in enumerate(tables.weights)}
    heads |= {f"heads.{i}.bias": table for i, table in enumerate(tables.biases)}
    weights = {}
    for name, parameter in model.named_parameters():
        found = heads.get(name)
        if found is None:
            found = _held(held, f"model.{name}")
        if found is None or found.shape != tuple(parameter.shape):
            raise ArtefactError(f"{step_graph}: holds no {name} of this network; give a step graph")
        weights[name] = torch.from_numpy(np.array(found, np.float32, order="C"))
    model.load_state_dict(weights)
    return model.eval()


def _held(held: dict[str, NDArray[Any]], name: str) -> NDArray[Any] | None:
    """The weights ``name`` among a graph's tables, as torch has them; None where there are none."""
    for key, is_transposed in ((name, False), (f"{name}_Transposed", True)):
        found = held.get(key)
        if f"{key}_quantized" in held:
            numbers, zero = held[f"{key}_quantized"], held[f"{key}_zero_point"]
            scale = held[f"{key}_scale"]
            found = ((numbers.astype(np.int32) - zero.astype(np.int32)) * scale).astype(np.float32)
        if found is not None:
            return found.T if is_transposed else found
    return None


def _to_half(path: Path) -> None:
    """Keep the large tables of the graph at ``path`` in float16, cast where they are used."""
    import onnx

    proto = onnx.load(str(path))
    casts = []
    for tensor in proto.graph.initializer:
        table = onnx.numpy_helper.to_array(tensor)
        if table.dtype == np.float32 and table.size >= HALF_FROM:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(table.astype(np.float16), f"{name}_half"))
            casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    path.write_bytes(proto.SerializeToString())


def export_full(model: Composer, path: Path) -> None:
    """Write the full-sequence graph, dynamic batch and sequence; checked against torch."""
    import onnxruntime

    tokens = torch.from_numpy(sample_rows(16, model.config.context).astype(np.int64))[None]
    axes = {0: "batch", 1: "sequence"}
    _write(
        FullGraph(model), (tokens,), path, (["tokens"], ["logits"]),
        dynamic_axes={"tokens": axes, "logits": axes},
    )  # fmt: skip
    _to_half(path)
    longer = torch.cat([tokens, tokens], 1).repeat(2, 1, 1)
    with torch.no_grad():
        expected = torch.cat(model.logits(model(longer), longer), -1).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    error = float(np.abs(session.run(["logits"], {"tokens": longer.numpy()})[0] - expected).max())
    if error > HALF_TOLERANCE:
        raise ArtefactError(f"{path.name}: full graph is {error:.2g} off torch (allowed {HALF_TOLERANCE})")


def read_known(work: Path) -> KnownRuns:
    """The runs of the training data in ``work``."""
    return KnownRuns.of(training_runs(work / "tokens.npz"), KNOWN_BYTES)


def ship_student(
    checkpoint: Path, work: Path, metrics: dict[str, object], model_set: str = "research"
) -> Path:
    """Export, quantise and put the student into a set with golden vectors and its entry."""
    import onnxruntime

    model = load_model(checkpoint)
    path = work / "transformer_model.onnx"
    export_step(model, read_known(work), path)
    network = OnnxComposer(path)
    corpus = "emopia" if model_set == "research" else model_set
    rows = load_tokens(work / "tokens.npz", corpus, "val")[0][:GOLDEN_ROWS]
    contexts = stream_rows(network, rows)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    layers = range(model.config.n_layers)
    tensors = {
        side: [{"name": t.name, "shape": list(t.shape), "dtype": DTYPES[t.type]} for t in found]
        for side, found in (("inputs", session.get_inputs()), ("outputs", session.get_outputs()))
    }
    pairs = [(kind, layer) for layer in layers for kind in ("keys", "values")]
    entry = {
        "name": NAME,
        "kind": "composer",
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "precision": "int8",
        "runtimes": [RUNTIME],
        **tensors,
        # New keys and values are appended at row n_rows of the caches, not fed back whole.
        "state": [{"input": f"{kind}_{layer}", "output": f"new_{kind}"} for kind, layer in pairs],
        "golden_tolerance": {RUNTIME: GOLDEN_TOLERANCE},
        "metrics": metrics,
        **ORIGINS[model_set],
        "card": f"{NAME}.md",
    }
    golden: dict[str, NDArray[np.generic]] = {
        "input/row": rows.astype(np.int64),
        f"output/{RUNTIME}/contexts": contexts,
    }
    return ship(entry, path, golden, folder_of(model_set))


def ship_full(folder: Path = SHIPPED, model_set: str = "research") -> Path:
    """Put the full graph of the step graph in ``folder`` beside it, with golden vectors and its entry."""
    import onnxruntime

    model = composer_of(folder / f"{NAME}.onnx")
    with np.load(folder / f"{NAME}.golden.npz") as golden:
        tokens = golden["input/row"][None]
    path = folder / f"{FULL_NAME}.onnx"
    export_full(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"tokens": tokens})[0]
    entry = {
        "name": FULL_NAME,
        "kind": "composer_full",
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "precision": "float16",
        "runtimes": [RUNTIME],
        "inputs": [{"name": "tokens", "shape": ["batch", "sequence", N_FAMILIES], "dtype": "int64"}],
        "outputs": [{"name": "logits", "shape": ["batch", "sequence", logits.shape[-1]], "dtype": "float32"}],
        "golden_tolerance": {RUNTIME: FLOAT_TOLERANCE},
        "metrics": {},
        **ORIGINS[model_set],
        "card": f"{FULL_NAME}.md",
    }
    return ship(entry, path, {"input/tokens": tokens, f"output/{RUNTIME}/logits": logits}, folder)


@command("models.composer.export", KellyError)
def main() -> None:
    """Read the command line and export."""
    parser = Parser(prog="models.composer.export", description=__doc__)
    parser.add_argument(
        "--checkpoint",
        type=path_argument,
        help="default: student-best.pt, or free-best.pt, of the work folder",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--draft", type=path_argument, help="write the INT8 step graph here, ship nothing")
    what.add_argument("--float", type=path_argument, help="write the float step graph here, ship nothing")
    what.add_argument("--full", type=path_argument, help="write the full-sequence graph here, ship nothing")
    what.add_argument("--ship-full", action="store_true", help="ship the full graph of the shipped model")
    parser.add_argument("--into", choices=ORIGINS, default="research", help="which set to ship into")
    parser.add_argument("--step", type=path_argument, help="with --full: a step graph for a checkpoint")
    parser.add_argument(
        "--work", type=path_argument, default=Path("out/composer"), help="folder with tokens.npz"
    )
    parser.add_argument(
        "--metrics", type=path_argument, help="JSON of models.composer.evaluate for the manifest entry"
    )
    arguments = parser.parse_args()
    name = "student" if arguments.into == "research" else arguments.into
    checkpoint = arguments.checkpoint or arguments.work / f"{name}-best.pt"
    outputs = [p for p in (arguments.draft, arguments.float, arguments.full) if p]
    metrics_file = [arguments.metrics] if arguments.metrics else []
    refuse_to_overwrite(outputs, [checkpoint, arguments.work / "tokens.npz", *metrics_file])
    if arguments.ship_full:
        print(ship_full(folder_of(arguments.into), arguments.into))
    elif arguments.full:
        model = composer_of(arguments.step) if arguments.step else load_model(checkpoint)
        export_full(model, arguments.full)
    elif arguments.draft or arguments.float:
        target = arguments.draft or arguments.float
        known = read_known(arguments.work)
        export_step(load_model(checkpoint), known, target, int8=bool(arguments.draft))
    else:
        metrics = json.loads(arguments.metrics.read_text(encoding="utf-8")) if arguments.metrics else {}
        print(ship_student(checkpoint, arguments.work, metrics, arguments.into))


if __name__ == "__main__":
    sys.exit(main())
