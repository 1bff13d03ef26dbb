"""Model files: found, verified against their manifest entries, and proved by golden vectors.

``manifest.yaml`` lists the models of a folder and the aliases (``ddsp_model`` names the default
voice); each model has one entry ``<name>.yaml`` with the sha256 of its file, its tensors, state
pairs and metrics. A model is used only after its bytes, shapes and outputs were checked.
Search order: explicit folder, release folder, the checkout, the user's data folder.

There are two sets: ``research`` is the folder itself, ``free`` its folder ``free``. What both share (the
voices) lies in the folder itself, and the free set's manifest names it under ``shared``.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml
from numpy.typing import NDArray

from firmware_py.runtimes.tflite import TfliteStep
from kelly_edge.errors import ArtefactError
from kelly_edge.shared.printed import printed

MANIFEST: Final = "manifest.yaml"
RESEARCH: Final = "research"
"""The set that is a folder of models itself; any other is the folder in it that has the set's name."""
REMEDY: Final = "install the shipped models again"


DAMAGE: Final = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, EOFError,
    OSError, yaml.YAMLError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""Exceptions that reading a damaged entry or file may raise."""


@contextmanager
def undamaged(path: Path) -> Iterator[None]:
    """Raises ArtefactError in one line where what depends on the entry ``path`` fails on its content."""
    try:
        yield
    except DAMAGE as error:
        reason = printed(" ".join(str(error).split()), 120)
        raise ArtefactError(f"{path} is damaged ({type(error).__name__}: {reason}); {REMEDY}") from None


def search_folders(explicit: str = "", model_set: str = RESEARCH) -> list[tuple[str, Path]]:
    """The folders searched for models of a set, in order, each with its description."""
    data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    folders = [
        ("release", Path(os.environ.get("KELLY_EDGE_RELEASE", "/opt/kelly-edge/current")) / "models"),
        ("repo", Path(__file__).resolve().parents[2] / "models" / "shipped"),
        ("user data", data_home / "kelly-edge" / "models"),
    ]
    if explicit:
        folders.insert(0, ("explicit", Path(explicit)))
    return folders if model_set == RESEARCH else [(origin, path / model_set) for origin, path in folders]


@dataclass(frozen=True)
class Artefact:
    """One verified model: its manifest entry and its bytes."""

    name: str
    path: Path
    origin: str
    entry: Mapping[str, Any]
    content: bytes

    @property
    def entry_path(self) -> Path:
        """The file of its manifest entry."""
        return self.path.parent / f"{self.name}.yaml"

    @property
    def state(self) -> list[tuple[str, str]]:
        """The state pairs (input, output) of the model."""
        return [(pair["input"], pair["output"]) for pair in self.entry.get("state", [])]


def load(name: str, explicit: str = "", model_set: str = RESEARCH) -> Artefact:
    """Find model ``name`` (or an alias) of a set, check its bytes against its entry.

    Raises
    ------
    ArtefactError: not found anywhere, entry unreadable, or bytes not the ones promised.
    """
    for origin, folder in search_folders(explicit, model_set):
        manifest = folder / MANIFEST
        if not manifest.is_file():
            if origin == "explicit":
                raise ArtefactError(f"no {MANIFEST} in {folder}; give runtime.models_dir a folder of models")
            continue
        listing = _read_yaml(manifest)
        with undamaged(manifest):
            resolved = str(dict(listing.get("aliases") or {}).get(name, name))
            is_listed = resolved in list(listing.get("models") or [])
            is_shared = resolved in list(listing.get("shared") or [])
        if is_listed or is_shared:
            return _load_from(folder.parent if is_shared else folder, resolved, origin)
    places = ", ".join(str(folder) for _, folder in search_folders(explicit, model_set))
    raise ArtefactError(f"model {name} is in no manifest of {places}; {REMEDY}")


def files_in_use(explicit: str = "", model_set: str = RESEARCH) -> list[Path]:
    """Every file of the folders that models are taken from; no command may overwrite one."""
    folder = next((f for _, f in search_folders(explicit, model_set) if (f / MANIFEST).is_file()), None)
    if folder is None:
        return []
    folders = [folder] if model_set == RESEARCH else [folder, folder.parent]
    return sorted(path for found in folders for path in found.iterdir() if path.is_file())


def names_of_kind(kind: str, explicit: str = "", model_set: str = RESEARCH) -> list[str]:
    """Names of the models of ``kind`` in the first folder that has a manifest of the set."""
    for _, folder in search_folders(explicit, model_set):
        if (folder / MANIFEST).is_file():
            listing = _read_yaml(folder / MANIFEST)
            with undamaged(folder / MANIFEST):
                found = [(str(name), folder) for name in listing.get("models") or []]
                found += [(str(name), folder.parent) for name in listing.get("shared") or []]
            return [n for n, place in found if _read_yaml(place / f"{n}.yaml").get("kind") == kind]
    return []


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except DAMAGE as error:
        raise ArtefactError(f"cannot read {path} ({type(error).__name__}); {REMEDY}") from None
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} is not a manifest; {REMEDY}")
    return content


def _read_verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"cannot read {path} ({error.strerror}); {REMEDY}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ArtefactError(
            f"{path} is damaged or swapped (sha256 {found[:12]}…, manifest {sha256[:12]}…); {REMEDY}"
        )
    return content


def _load_from(folder: Path, name: str, origin: str) -> Artefact:
    entry = _read_yaml(folder / f"{name}.yaml")
    if missing := [key for key in ("file", "sha256") if key not in entry]:
        raise ArtefactError(f"{folder / name}.yaml has no {missing[0]!r}; {REMEDY}")
    path = folder / str(entry["file"])
    with undamaged(folder / f"{name}.yaml"):
        content = _read_verified(path, str(entry["sha256"]))
    return Artefact(name, path, origin, entry, content)


def golden_vectors(artefact: Artefact) -> dict[str, NDArray[Any]]:
    """The golden vectors of a model: ``input/<name>`` and ``output/<runtime>/<name>``, [steps, …]."""
    with undamaged(artefact.entry_path):
        path = artefact.path.parent / str(artefact.entry["golden"])
        content = _read_verified(path, str(artefact.entry["golden_sha256"]))
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}


def open_tflite(artefact: Artefact, runtime: str) -> TfliteStep:
    """The model in ``runtime``, proved by its golden vectors, state back at zero.

    Raises
    ------
    ArtefactError: shapes or outputs differ from the manifest's promise, or the promise is damaged.
    """
    with undamaged(artefact.entry_path):
        return _proved(artefact, runtime)


def _proved(artefact: Artefact, runtime: str) -> TfliteStep:
    if runtime not in artefact.entry["runtimes"]:
        raise ArtefactError(
            f"{artefact.path} has no golden vectors for {runtime}; set runtime.tflite to one of "
            f"{', '.join(artefact.entry['runtimes'])}"
        )
    try:
        model = TfliteStep(artefact.content, runtime, artefact.state)
    except ArtefactError as error:
        raise ArtefactError(f"{artefact.path}: {error}") from None
    promised = {i["name"]: tuple(i["shape"]) for i in artefact.entry["inputs"]}
    for name, shape in model.input_shapes.items():
        if promised.get(name) != shape:
            raise ArtefactError(
                f"{artefact.path}: input {name} is {shape}, manifest says {promised.get(name)}; {REMEDY}"
            )
    golden = golden_vectors(artefact)
    tolerance = float(artefact.entry["golden_tolerance"][runtime])
    inputs = [golden[f"input/{name}"] for name in model.inputs]
    expected = [golden[f"output/{runtime}/{name}"] for name in model.outputs]
    for step in range(len(inputs[0])):
        results = model.step(*(x[step] for x in inputs))
        for name, result, wanted in zip(model.outputs, results, expected, strict=True):
            error_max = float(np.max(np.abs(result - wanted[step])))
            if not error_max <= tolerance:
                raise ArtefactError(
                    f"{artefact.path}: in {runtime} output {name} is {error_max:.3g} off its golden vector "
                    f"at step {step} (allowed {tolerance:.3g}); use the other runtime or {REMEDY}"
                )
    model.reset()
    return model
