"""A bundle's manifest: the contents of a release, each part by its sha256.

Reading is strict: a key too many, a value of another type or out of its limits is a fault, and the first
fault is one line. Nothing is written here.

A layer is a ``tar.xz`` named by its sha256. Its first member is ``INDEX``: one line a file,
``sha256 mode size path``, sorted by path; the manifest holds the sha256 of the index too, so that what was
unpacked can be checked without the archive.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from deploy.box.faults import ReleaseError, printed

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.json.sig"
OBJECTS: Final = "objects"
FORMAT: Final = 1
"""Number of our own format."""
PRODUCT: Final = "kelly-edge"
# Chosen: ten times what releases have, so that a forged one cannot fill memory or disk.
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_INDEX_BYTES: Final = 8 << 20
MAX_LAYERS: Final = 500
MAX_LAYER_BYTES: Final = 2 << 30
PLACES: Final = ("site-packages", "models", "system")
"""Where in a release a layer's files go."""
CHECKS: Final = ("hash", "size")
"""How a start checks a layer's files: our own code and models by hash, libraries by size."""

_SHA: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RELEASE: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,95}")
_INDEX_LINE: Final = re.compile(
    r"([0-9a-f]{64}) (644|755) (0|[1-9][0-9]{0,9}) ([\x21-\x7e][\x20-\x7e]{0,239})"
)


@dataclass(frozen=True)
class Layer:
    """A part of a release; ``size`` is the archive's, ``unpacked`` the sum of its files, both in bytes."""

    name: str
    version: str
    into: str
    checked_by: str
    sha256: str
    size: int
    index_sha256: str
    unpacked: int
    n_files: int
    source_sha256: str


@dataclass(frozen=True)
class Manifest:
    """A release, described. ``counter`` grows from release to release; a box refuses a smaller one."""

    release: str
    version: str
    counter: int
    machine: str
    python: str
    source_date: int
    layers: tuple[Layer, ...]

    @property
    def objects(self) -> dict[str, int]:
        """Archive sha256 to size."""
        return {layer.sha256: layer.size for layer in self.layers}


@dataclass(frozen=True)
class IndexedFile:
    """One file of a layer."""

    path: str
    sha256: str
    mode: int
    size: int


def _text(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _one_of(*choices: object) -> Callable[[object], bool]:
    return lambda value: type(value) is type(choices[0]) and value in choices


_LAYER: Final[Mapping[str, Callable[[object], bool]]] = {
    "name": _text(_NAME),
    "version": _text(re.compile(r"[0-9A-Za-z.+_-]{1,64}")),
    "into": _one_of(*PLACES),
    "checked_by": _one_of(*CHECKS),
    "sha256": _text(_SHA),
    "size": _whole(1, MAX_LAYER_BYTES),
    "index_sha256": _text(_SHA),
    "unpacked": _whole(0, MAX_LAYER_BYTES),
    "n_files": _whole(1, 100_000),
    "source_sha256": _text(_SHA),
}
_MANIFEST: Final[Mapping[str, Callable[[object], bool]]] = {
    "format": _one_of(FORMAT),
    "product": _one_of(PRODUCT),
    "release": _text(_RELEASE),
    "version": _text(re.compile(r"[0-9A-Za-z.+_-]{1,64}")),
    "counter": _whole(0, 2**53),
    "machine": _one_of("aarch64", "x86_64"),
    "python": _text(re.compile(r"3\.[0-9]{1,2}")),
    "source_date": _whole(0, 2**33),
    "layers": lambda value: isinstance(value, list) and 1 <= len(value) <= MAX_LAYERS,
    "sbom": lambda value: value is None or isinstance(value, dict),
}


def _check(value: object, rules: Mapping[str, Callable[[object], bool]], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ReleaseError(f"{MANIFEST}: {what} is not an object; build the bundle again")
    if odd := sorted(set(value) ^ set(rules)):
        how = "is missing" if odd[0] in rules else "is unknown"
        raise ReleaseError(f"{MANIFEST}: {what}: {printed(odd[0])} {how}; build the bundle again")
    for key, is_right in rules.items():
        if not is_right(value[key]):
            raise ReleaseError(
                f"{MANIFEST}: {what}: {key} is {printed(repr(value[key]), 60)}, which cannot be; "
                "build the bundle again"
            )
    return value


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise ValueError("a key stands there twice")
    return keys


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in ``content``.

    Raises
    ------
    ReleaseError: it is not one, with the first fault.
    """
    if len(content) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes; build the bundle again")
    try:
        raw = json.loads(content.decode("utf-8"), object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(
            f"{MANIFEST} is not JSON ({printed(str(error))}); fetch the bundle again"
        ) from None
    if isinstance(raw, dict):
        # Releases of before 0.2, which a box may go back to, have none.
        raw.setdefault("sbom", None)
    top = _check(raw, _MANIFEST, "manifest")
    layers = []
    for number, layer in enumerate(top["layers"]):
        layers.append(Layer(**_check(layer, _LAYER, f"layer {number}")))
    names = [layer.name for layer in layers]
    if len(set(names)) < len(names):
        twin = next(name for name in names if names.count(name) > 1)
        raise ReleaseError(f"{MANIFEST}: layer {twin} is there twice; build the bundle again")
    rest = {key: top[key] for key in _MANIFEST if key not in ("format", "product", "layers", "sbom")}
    return Manifest(layers=tuple(layers), **rest)


def parse_index(content: bytes, layer: Layer) -> list[IndexedFile]:
    """The files of ``layer``, checked against its sha256, sizes and counts.

    Raises
    ------
    ReleaseError: the index is not the one the manifest promises, or names a path outside the release.
    """
    where = f"layer {layer.name}: INDEX"
    if hashlib.sha256(content).hexdigest() != layer.index_sha256:
        raise ReleaseError(f"{where} is damaged; fetch the bundle again")
    files = []
    for line in content.decode("ascii", errors="replace").splitlines():
        match = _INDEX_LINE.fullmatch(line)
        if match is None:
            raise ReleaseError(f"{where}: {printed(line)} is not a file; build the bundle again")
        path = match[4]
        if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
            raise ReleaseError(f"{where}: {printed(path)} leads out of the release; build the bundle again")
        files.append(IndexedFile(path, match[1], int(match[2], 8), int(match[3])))
    paths = [file.path for file in files]
    if paths != sorted(set(paths)):
        raise ReleaseError(f"{where} is not in order; build the bundle again")
    if len(files) != layer.n_files or sum(file.size for file in files) != layer.unpacked:
        raise ReleaseError(f"{where} disagrees with {MANIFEST}; build the bundle again")
    return files
