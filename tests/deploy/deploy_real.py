"""A bundle of the instrument itself, for boxes of this machine's kind and this Python.

``deploy build`` makes bundles for a Pi; here the libraries come from the running environment, so that a
booted tree plays what a Pi plays, at this machine's speed.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from deploy_standin import SOURCE_DATE
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.box.manifest import Layer
from deploy.bundle import Bundle, describe, write_bundle
from deploy.interpreter import Interpreter, here
from deploy.layers import Member, is_kept, make_layer, with_compiled
from deploy.project import Project
from deploy.wheelhouse import BOX_EXTRAS, UNUSED

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def libraries(python: Interpreter) -> tuple[Layer, bytes]:
    """The layer of what the instrument needs of this environment; takes a minute."""
    members = {path: member for part in _installed() for path, member in _members(part)}
    return make_layer("libraries", "1", "site-packages", "size", with_compiled(members, python), "0" * 64)


def build_real(work: Path, key: Path, project: Project, library: tuple[Layer, bytes], counter: int) -> Bundle:
    """A signed bundle of ``project`` in ``work``."""
    layers = [library, *project.layers(here())]
    described = [layer for layer, _ in layers]
    manifest = describe(described, project, counter, SOURCE_DATE, os.uname().machine, PYTHON)
    return write_bundle(work / "real", layers, manifest, key)


def _installed() -> Iterator[Distribution]:
    """What a box needs of this environment, but for the project's own."""
    todo, seen = _wanted(distribution("kelly-edge"), ("", *BOX_EXTRAS)), {"kelly-edge", *UNUSED}
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            yield (found := distribution(name))
            todo += _wanted(found)


def _wanted(found: Distribution, extras: Iterable[str] = ("",)) -> list[str]:
    requirements = [Requirement(text) for text in found.requires or ()]
    return [
        str(canonicalize_name(r.name))
        for r in requirements
        if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def _members(found: Distribution) -> Iterator[tuple[str, Member]]:
    for file in found.files or ():
        path, place = Path(str(file.locate())), file.as_posix()
        # Scripts and pages of a manual lie outside of site-packages.
        if path.is_file() and not place.startswith("..") and path.suffix != ".pyc" and is_kept(place):
            yield place, Member(path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
