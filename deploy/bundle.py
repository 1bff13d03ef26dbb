"""A bundle: a folder with a signed manifest and the layers it names; made whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from deploy.box.disk import read_bounded, sync_folder, write_whole
from deploy.box.manifest import (
    FORMAT,
    MANIFEST,
    MAX_MANIFEST_BYTES,
    OBJECTS,
    PRODUCT,
    SIGNATURE,
    Layer,
    Manifest,
    parse_manifest,
)
from deploy.box.trust import NAMESPACE, SIGNER
from deploy.commands import run
from deploy.errors import DeployError
from deploy.interpreter import interpreter_for
from deploy.layers import wheel_layer
from deploy.project import SHIPPED, Project
from deploy.sbom import bill_of_materials
from deploy.target import Target
from deploy.wheelhouse import Wheel, wheelhouse

SBOM: Final = "sbom.json"
"""A copy of the manifest's contents, for programs that read it."""
TOOL: Final = "kelly-edge-release"
TOOL_SHARES: Final = (
    "kelly_edge/__init__.py",
    "kelly_edge/shared/__init__.py",
    "kelly_edge/shared/printed.py",
)
"""What the box's program shares with the rest of the project."""
EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The first time a zip can hold. The ZIP format's (PKWARE APPNOTE)."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on the laptop."""

    folder: Path
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of its layers."""
        return sum(self.manifest.objects.values())

    def parts(self) -> list[tuple[str, str, int, int]]:
        """Name, version, bytes packed and unpacked of each layer, the largest first."""
        rows = [(la.name, la.version, la.size, la.unpacked) for la in self.manifest.layers]
        return sorted(rows, key=lambda row: -row[2])


def open_bundle(folder: Path) -> Bundle:
    """A bundle by its folder, or by the folder it was built into.

    Raises
    ------
    DeployError: there is none.
    """
    if not os.path.lexists(folder / MANIFEST):
        inside = sorted(folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []
        if len(inside) != 1:
            raise DeployError(f"{folder} holds {len(inside)} bundles; name one, or build one")
        folder = inside[0].parent
    return Bundle(folder, parse_manifest(read_bounded(folder / MANIFEST, MAX_MANIFEST_BYTES)))


def describe(
    layers: Sequence[Layer],
    project: Project,
    counter: int,
    source_date: int,
    machine: str,
    python: str,
    wheels: Sequence[Wheel] = (),
) -> bytes:
    """The manifest as it is signed; the release's name follows from its contents.

    Parameters
    ----------
    wheels: what the libraries were made from; the bill of materials has their licences from them.
    """
    content: dict[str, Any] = {
        "format": FORMAT,
        "product": PRODUCT,
        "version": project.version,
        "counter": counter,
        "machine": machine,
        "python": python,
        "source_date": source_date,
        "layers": [asdict(layer) for layer in sorted(layers, key=lambda layer: layer.name)],
        "sbom": bill_of_materials(layers, project.version, wheels, project.folder / SHIPPED),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["release"] = f"{project.version}-{counter}-{digest[:12]}"
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def sign(manifest: Path, key: Path) -> None:
    """``manifest.json.sig`` by an Ed25519 key: the same bytes give the same signature.

    Raises
    ------
    DeployError: there is no such key, or ssh-keygen refuses it.
    """
    if not key.is_file():
        raise DeployError(f"there is no key {key}; make one with `python -m deploy keys`")
    remedy = f"check that {key} is an Ed25519 key without a passphrase, or in the agent"
    run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, manifest], remedy=remedy)


def sign_again(bundle: Bundle, key: Path) -> Path:
    """Sign a bundle with another key; its signature's path. The release stays the same.

    Raises
    ------
    DeployError: there is no such key, or ssh-keygen refuses it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        manifest = Path(scratch) / MANIFEST
        manifest.write_bytes((bundle.folder / MANIFEST).read_bytes())
        sign(manifest, key)
        write_whole(bundle.folder / SIGNATURE, (Path(scratch) / SIGNATURE).read_bytes())
    return bundle.folder / SIGNATURE


def write_bundle(out: Path, layers: Iterable[tuple[Layer, bytes]], manifest: bytes, key: Path) -> Bundle:
    """The bundle in ``out / RELEASE``; nothing there where something goes wrong.

    Raises
    ------
    DeployError: it cannot be written or signed.
    """
    described = parse_manifest(manifest)
    place, beside = out / described.release, out / f".new-{described.release}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        (beside / OBJECTS).mkdir(parents=True)
        for layer, archive in layers:
            (beside / OBJECTS / layer.sha256).write_bytes(archive)
        (beside / MANIFEST).write_bytes(manifest)
        sbom = json.loads(manifest).get("sbom", {})
        (beside / SBOM).write_text(json.dumps(sbom, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        sign(beside / MANIFEST, key)
        assert (beside / SIGNATURE).is_file(), "ssh-keygen wrote it"
        write_tool(beside / TOOL)
        os.sync()
        shutil.rmtree(place, ignore_errors=True)
        beside.rename(place)
        sync_folder(out)
    except OSError as error:
        raise DeployError(
            f"cannot write {place} ({error.strerror}); make room or give another --out"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Bundle(place, described)


def write_tool(path: Path) -> Path:
    """The box's program as one file: a zip that Python runs (as zipapp does).

    Its bytes follow from its code alone, not from a date: a push and a provisioning of one checkout agree.
    """
    checkout = Path(__file__).resolve().parents[1]
    sources = [*sorted((checkout / "deploy/box").glob("*.py")), *(checkout / name for name in TOOL_SHARES)]
    modules = {source.relative_to(checkout).as_posix(): source.read_bytes() for source in sources}
    start = b"import sys\nfrom deploy.box.__main__ import main\nsys.exit(main())\n"
    with path.open("wb") as file:
        # Isolated: root's Python takes no code from a home, an environment or the folder it is called in.
        file.write(b"#!/usr/bin/python3 -I\n")
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in {"__main__.py": start, "deploy/__init__.py": b"", **modules}.items():
                info = zipfile.ZipInfo(name, EARLIEST)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, content)
    path.chmod(0o755)
    return path


def build(project: Project, target: Target, out: Path, cache: Path, key: Path, counter: int | None) -> Bundle:
    """Build the project's bundle for a Pi (aarch64).

    Raises
    ------
    DeployError: something it needs is missing; nothing is left in ``out`` then.
    """
    if not key.is_file():
        raise DeployError(f"there is no key {key}; make one with `python -m deploy keys`")
    source_date = project.source_date()
    python = interpreter_for(target, cache)
    wheels = wheelhouse(project.folder, target, python, cache, source_date)
    layers = [*(wheel_layer(wheel, cache, python) for wheel in wheels), *project.layers(python)]
    number = project.counter() if counter is None else counter
    described = [layer for layer, _ in layers]
    manifest = describe(described, project, number, source_date, "aarch64", target.python, wheels)
    return write_bundle(out, layers, manifest, key)


def make_keys(key: Path) -> Path:
    """An Ed25519 signing key at ``key`` and, beside it, the file of allowed signers a box is given.

    Raises
    ------
    DeployError: there is a key already.
    """
    if key.exists():
        raise DeployError(f"{key} is there already; keep it, boxes trust it")
    key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", SIGNER, "-f", key])
    return allowed_signers(key)


def allowed_signers(key: Path) -> Path:
    """The file that says whose releases a box takes, made from ``key``'s public half."""
    public = key.with_name(key.name + ".pub")
    if not public.is_file():
        raise DeployError(f"there is no {public}; make keys with `python -m deploy keys`")
    kind, value, *_ = public.read_text(encoding="utf-8").split()
    path = key.with_name(key.name + ".allowed_signers")
    path.write_text(f'{SIGNER} namespaces="{NAMESPACE}" {kind} {value}\n', encoding="utf-8")
    return path
