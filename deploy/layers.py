"""Layers: deterministic ``tar.xz`` archives with an index, made from wheels or folders.

The same files give the same bytes: sorted, owned by nobody in particular, dated 0, one compressor setting,
one thread. A wheel's layer depends on the wheel alone and is kept by its hash.
"""

import hashlib
import io
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.box.manifest import Layer
from deploy.errors import DeployError
from deploy.interpreter import Interpreter
from deploy.wheelhouse import Wheel

RECIPE: Final = "2"
"""Changes when a wheel's layer would come out differently; kept layers of another recipe are made again."""
PRESET: Final = 1
"""xz: level 6 takes three times as long and saves a tenth. Measured on our layers."""
LEFT_OUT: Final = re.compile(
    r".*\.(pyx|pxd|pyi|h|c|cpp|hpp|f|f90|a|lib|exe)|.*/tests?/.*"
    r"|.*\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)"
    r"|onnxruntime/(transformers|tools|quantization)/.*|numpy/(f2py|distutils)/.*|numba/(cuda|testing)/.*"
)
"""For building, testing and other machines; nothing on the box imports them.

numba/cuda also holds headers under a licence of NVIDIA's.
"""
KEPT: Final = re.compile(r"numpy/(f2py|distutils)/__init__\.py")


def model_name(tail: str) -> str:
    """How the layer of a model is named whose file, or file without its ending, is ``tail`` in the models'
    folder.

    Those of the free set begin with the name of its folder.
    """
    return tail.partition(".")[0].replace("_", "-").replace("/", "-")


@dataclass(frozen=True)
class Member:
    """One file of a layer."""

    content: bytes
    mode: int = 0o644


def with_compiled(members: Mapping[str, Member], python: Interpreter) -> dict[str, Member]:
    """The members and a ``.pyc`` for each module that compiles; another is never imported on a box."""
    sources = {path: member.content for path, member in members.items() if path.endswith(".py")}
    everything = dict(members)
    for path, content in python.compile_all(sources).items():
        folder, _, name = path.rpartition("/")
        everything[f"{folder}/__pycache__/{name[:-3]}.{python.tag}.pyc".lstrip("/")] = Member(content)
    return everything


def pack(members: Mapping[str, Member]) -> tuple[bytes, bytes]:
    """The archive of ``members`` (path to member) and its index."""
    paths = sorted(members)
    lines = []
    for path in paths:
        content = members[path].content
        lines.append(f"{hashlib.sha256(content).hexdigest()} {members[path].mode:o} {len(content)} {path}\n")
    index = "".join(lines).encode("ascii")
    packed = io.BytesIO()
    with (
        lzma.open(packed, "wb", format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=PRESET) as out,
        tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, member in (("INDEX", Member(index)), *((p, members[p]) for p in paths)):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(member.content), member.mode
            tar.addfile(info, io.BytesIO(member.content))
    return packed.getvalue(), index


def make_layer(
    name: str, version: str, into: str, checked_by: str, members: Mapping[str, Member], source_sha256: str
) -> tuple[Layer, bytes]:
    """A layer and its archive."""
    if odd := next((p for p in members if not p.isascii() or not p.isprintable()), None):
        raise DeployError(f"{name}: the path {odd!r} is not plain ASCII; rename it")
    archive, index = pack(members)
    layer = Layer(
        name=name,
        version=version,
        into=into,
        checked_by=checked_by,
        sha256=hashlib.sha256(archive).hexdigest(),
        size=len(archive),
        index_sha256=hashlib.sha256(index).hexdigest(),
        unpacked=sum(len(member.content) for member in members.values()),
        n_files=len(members),
        source_sha256=source_sha256,
    )
    return layer, archive


def wheel_members(path: Path, keep: Callable[[str], bool] = lambda _: True) -> dict[str, Member]:
    """What installing a wheel puts into site-packages; its scripts and headers are left out."""
    members = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            place = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", info.filename)
            if info.is_dir() or re.match(r"[^/]+\.data/", place) or not keep(place):
                continue
            is_program = bool(stat.S_IMODE(info.external_attr >> 16) & 0o100)
            members[place] = Member(archive.read(info), 0o755 if is_program else 0o644)
    return members


def is_kept(path: str) -> bool:
    """Whether a box needs a file of a wheel."""
    return LEFT_OUT.fullmatch(path) is None or KEPT.fullmatch(path) is not None


def wheel_layer(wheel: Wheel, cache: Path, python: Interpreter) -> tuple[Layer, bytes]:
    """The layer of a wheel: from the cache, or made and kept there."""
    digest = hashlib.sha256(wheel.path.read_bytes()).hexdigest()
    # Compiled modules depend on the interpreter to the last number.
    folder = cache / "layers" / f"{wheel.name}-{digest[:16]}-{python.version}-{RECIPE}"
    archive_path, index_path = folder / "layer.tar.xz", folder / "INDEX"
    if index_path.is_file() and archive_path.is_file():
        return _kept_layer(wheel, archive_path.read_bytes(), index_path.read_bytes())
    members = with_compiled(wheel_members(wheel.path, is_kept), python)
    layer, archive = make_layer(
        wheel.name, wheel.version, "site-packages", "size", members, wheel.source_sha256
    )
    folder.mkdir(parents=True, exist_ok=True)
    archive_path.write_bytes(archive)
    index_path.write_bytes(pack_index(archive))
    return layer, archive


def pack_index(archive: bytes) -> bytes:
    """The index at the head of an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r|xz") as tar:
        first = tar.next()
        content = tar.extractfile(first) if first is not None else None
        if content is None:
            raise DeployError("an archive has no index; empty the build cache")
        return content.read()


def _kept_layer(wheel: Wheel, archive: bytes, index: bytes) -> tuple[Layer, bytes]:
    sizes = [int(line.split(b" ", 3)[2]) for line in index.splitlines()]
    layer = Layer(
        name=wheel.name,
        version=wheel.version,
        into="site-packages",
        checked_by="size",
        sha256=hashlib.sha256(archive).hexdigest(),
        size=len(archive),
        index_sha256=hashlib.sha256(index).hexdigest(),
        unpacked=sum(sizes),
        n_files=len(sizes),
        source_sha256=wheel.source_sha256,
    )
    return layer, archive
