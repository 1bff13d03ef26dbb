"""Put a trained model into a folder of shipped models: the file, its entry and the manifest.

Everything that can be computed from the files (hashes, sizes, tensors) is computed here, so that an
entry cannot disagree with what it describes.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from firmware_py.devices.files.output import refuse_to_overwrite
from firmware_py.runtimes.artefacts import MANIFEST, RESEARCH
from firmware_py.runtimes.tflite import RUNTIME_MODULES, TfliteStep

SHIPPED = Path(__file__).resolve().parent / "shipped"


def folder_of(model_set: str) -> Path:
    """Where the models of a set lie, ``research`` or ``free``."""
    return SHIPPED if model_set == RESEARCH else SHIPPED / model_set


def stream_tflite(
    model: bytes, runtime: str, state: list[tuple[str, str]], inputs: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Stream ``inputs`` (name → [steps, …]) through a model; name → [steps, …] of each output."""
    step = TfliteStep(model, runtime, state)
    n_steps = len(next(iter(inputs.values())))
    rows = [[r.copy() for r in step.step(*(inputs[n][i] for n in step.inputs))] for i in range(n_steps)]
    return {name: np.stack([row[k] for row in rows]) for k, name in enumerate(step.outputs)}


def tflite_golden(
    model: bytes,
    state: list[tuple[str, str]],
    inputs: Mapping[str, NDArray[Any]],
    runtimes: tuple[str, ...] = tuple(RUNTIME_MODULES),
) -> dict[str, NDArray[Any]]:
    """Golden arrays ``input/<name>`` and ``output/<runtime>/<name>`` for the given inputs."""
    golden = {f"input/{name}": values for name, values in inputs.items()}
    for runtime in runtimes:
        outputs = stream_tflite(model, runtime, state, inputs)
        golden |= {f"output/{runtime}/{name}": values for name, values in outputs.items()}
    return golden


def tflite_tensors(model: bytes) -> dict[str, list[dict[str, Any]]]:
    """``inputs`` and ``outputs`` of a TFLite file as manifest rows (name, shape, dtype)."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    return {
        side: [
            {"name": d["name"], "shape": [int(n) for n in d["shape"]], "dtype": np.dtype(d["dtype"]).name}
            for d in details
        ]
        for side, details in (
            ("inputs", interpreter.get_input_details()),
            ("outputs", interpreter.get_output_details()),
        )
    }


def refuse_to_ship_onto(sources: Iterable[Path], names: Iterable[str], folder: Path = SHIPPED) -> None:
    """No file of the models ``names`` in ``folder``, nor its manifest, may be one of ``sources``.

    Raises
    ------
    OutputError: one of them is.
    """
    written = [path for name in names for path in folder.glob(f"{name}.*")]
    refuse_to_overwrite([folder / MANIFEST, *written], sources)


def ship(
    entry: dict[str, Any], model: Path, golden: Mapping[str, NDArray[Any]], folder: Path = SHIPPED
) -> Path:
    """Copy ``model`` into ``folder``, write its golden vectors, entry and line in the manifest.

    ``entry`` needs name, kind, n_parameters, precision, runtimes, golden_tolerance, metrics, licence,
    data, card (and state for models that carry one; inputs and outputs for other than TFLite files).
    Returns the path of the entry.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = str(entry["name"])
    target = folder / f"{name}{model.suffix}"
    if model.resolve() != target.resolve():
        shutil.copyfile(model, target)
    content = target.read_bytes()
    golden_path = folder / f"{name}.golden.npz"
    # The stubs type the keywords of savez_compressed as its own flags, not as arrays.
    np.savez_compressed(golden_path, **golden)  # type: ignore[arg-type]
    tensors = tflite_tensors(content) if model.suffix == ".tflite" else {}
    full = {
        **entry,
        **tensors,
        "file": target.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "golden": golden_path.name,
        "golden_sha256": hashlib.sha256(golden_path.read_bytes()).hexdigest(),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(full, sort_keys=True, allow_unicode=True, width=110), encoding="utf-8")
    manifest = _read_manifest(folder)
    manifest["models"] = sorted({*manifest["models"], name})
    _write_manifest(folder, manifest)
    return path


def set_alias(alias: str, name: str, folder: Path = SHIPPED) -> None:
    """Let ``alias`` (a name of the training guide) stand for the model ``name``."""
    manifest = _read_manifest(folder)
    manifest["aliases"][alias] = name
    _write_manifest(folder, manifest)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    manifest = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"models": [], "aliases": {}, **manifest}


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / MANIFEST).write_text(yaml.safe_dump(manifest, sort_keys=True), encoding="utf-8")
