"""Layers, unpacked once and shared by releases; and a release, put together from them by hard links.

Everything is made beside its place under a name that starts with ``.new-``, synced, and renamed when
complete: a power cut leaves the box without the new thing, never with half of it.
"""

import hashlib
import lzma
import os
import shutil
import tarfile
import venv
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from deploy.box.faults import ReleaseError, printed
from deploy.box.layout import Layout, sync_folder
from deploy.box.manifest import (
    MANIFEST,
    MAX_INDEX_BYTES,
    OBJECTS,
    SIGNATURE,
    IndexedFile,
    Layer,
    Manifest,
    parse_index,
    sha256_of,
)

INDEX: Final = "INDEX"
TREE: Final = "tree"
NEW: Final = ".new-"
MARGIN_BYTES: Final = 64 << 20
"""Left free: logs and sessions go on."""
COMMAND: Final = """#!{python} -Iu
import sys
from firmware_py.__main__ import main
sys.exit(main())
"""


def present_layers(layout: Layout) -> frozenset[str]:
    """sha256 of the layers that are unpacked."""
    try:
        return frozenset(p.name for p in layout.layers.iterdir() if not p.name.startswith("."))
    except OSError:
        return frozenset()


def file_time(sha256: str) -> int:
    """A time that follows from the content.

    numba tells a changed source by its time and size; with one time for all, a change of equal length would
    run the old machine code.
    """
    return 1_000_000_000 + int(sha256[:7], 16)


def _copy(source: IO[bytes], place: Path, file: IndexedFile) -> None:
    digest = hashlib.sha256()
    with place.open("xb") as out:
        while piece := source.read(1 << 20):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != file.sha256:
        raise ReleaseError(f"{file.path} is not the file its index promises; build the bundle again")
    place.chmod(file.mode)
    os.utime(place, (file_time(file.sha256),) * 2)


def _unpack_into(folder: Path, archive: Path, layer: Layer) -> None:
    with tarfile.open(archive, "r:xz") as tar:
        first = tar.next()
        if first is None or first.name != INDEX or not first.isreg() or first.size > MAX_INDEX_BYTES:
            raise ReleaseError(f"layer {layer.name} does not begin with {INDEX}; build the bundle again")
        content = _content(tar, first).read()
        files = parse_index(content, layer)
        (folder / INDEX).write_bytes(content)
        tree = folder / TREE
        tree.mkdir()
        for file in files:
            member = tar.next()
            # Nothing but what the index names is ever written.
            if member is None or not member.isreg() or member.name != file.path or member.size != file.size:
                raise ReleaseError(
                    f"layer {layer.name}: {file.path} is not where its index says; build the bundle again"
                )
            place = tree / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(_content(tar, member), place, file)
        if tar.next() is not None:
            raise ReleaseError(f"layer {layer.name} holds more than its index; build the bundle again")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "a regular file"
    return content


def unpack(layout: Layout, archives: Sequence[tuple[Layer, Path]]) -> None:
    """Layers in the store, every file checked while it is written; none of them where a check fails.

    Raises
    ------
    ReleaseError: one is damaged, not what the manifest promises, or there is no room.
    """
    todo = [(layer, archive) for layer, archive in archives if not (layout.layers / layer.sha256).is_dir()]
    besides = {layer.sha256: layout.layers / f"{NEW}{layer.sha256}" for layer, _ in todo}
    try:
        for layer, archive in todo:
            beside = besides[layer.sha256]
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            try:
                _unpack_into(beside, archive, layer)
            except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError) as error:
                raise ReleaseError(
                    f"layer {layer.name} is damaged ({printed(str(error))}); send the bundle again"
                ) from None
        # Once for all: on an SD card each sync costs. A rename must not reach it before what it names.
        sync()
        for sha256, beside in besides.items():
            beside.rename(layout.layers / sha256)
        if besides:
            sync_folder(layout.layers)
    except OSError as error:
        raise ReleaseError(
            f"cannot unpack into {layout.layers} ({error.strerror}); make room on the box"
        ) from None
    finally:
        for beside in besides.values():
            shutil.rmtree(beside, ignore_errors=True)


def sync() -> None:
    """Everything written so far is on the disk."""
    os.sync()


def needed_bytes(layout: Layout, manifest: Manifest) -> int:
    """Room that installing ``manifest`` takes."""
    present = present_layers(layout)
    return sum(layer.unpacked for layer in manifest.layers if layer.sha256 not in present)


def free_bytes(layout: Layout) -> int:
    """Room on the releases' file system."""
    stat = os.statvfs(layout.home)
    return stat.f_bavail * stat.f_frsize


def install(layout: Layout, bundle: Path, manifest: Manifest, margin_bytes: int = MARGIN_BYTES) -> bool:
    """Put a verified bundle among the releases; whether it was not there before.

    Raises
    ------
    ReleaseError: no room, or a layer is not what it should be. The box is as it was then.
    """
    if (layout.releases / manifest.release).is_dir():
        return False
    needed, free = needed_bytes(layout, manifest) + margin_bytes, free_bytes(layout)
    if needed > free:
        raise ReleaseError(
            f"{layout.home} has {free >> 20} MiB free and {manifest.release} needs {needed >> 20}; "
            "make room on the box"
        )
    unpack(layout, [(layer, bundle / OBJECTS / layer.sha256) for layer in manifest.layers])
    _assemble(layout, bundle, manifest)
    return True


def _assemble(layout: Layout, bundle: Path, manifest: Manifest) -> None:
    place = layout.releases / manifest.release
    beside = layout.releases / f"{NEW}{manifest.release}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        site = _make_venv(beside, place, manifest.python)
        places = {"site-packages": site, "models": beside / "models", "system": beside / "system"}
        for layer in manifest.layers:
            for file in layer_files(layout, layer):
                target = places[layer.into] / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(layout.layers / layer.sha256 / TREE / file.path, target)
        for name in (SIGNATURE, MANIFEST):
            shutil.copyfile(bundle / name, beside / name)
        sync()
        beside.rename(place)
        sync_folder(layout.releases)
    except FileExistsError as error:
        raise ReleaseError(
            f"two layers hold {Path(error.filename2 or '').name}; build the bundle again"
        ) from None
    except OSError as error:
        raise ReleaseError(f"cannot build {place} ({error.strerror}); make room on the box") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _make_venv(folder: Path, final: Path, python: str) -> Path:
    """An isolated environment without pip; returns its site-packages."""
    place = folder / "venv"
    venv.EnvBuilder(symlinks=True, with_pip=False).create(place)
    for script in (place / "bin").glob("[Aa]ctivate*"):
        # They hold the path the environment was made at, and nobody activates one on a box.
        script.unlink()
    (place / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n"
    )
    command = place / "bin/kelly-edge"
    command.write_text(COMMAND.format(python=final / "venv/bin/python3"))
    command.chmod(0o755)
    return place / "lib" / f"python{python}" / "site-packages"


def layer_files(layout: Layout, layer: Layer) -> list[IndexedFile]:
    """The files of an unpacked layer.

    Raises
    ------
    ReleaseError: its index is gone or damaged.
    """
    try:
        content = (layout.layers / layer.sha256 / INDEX).read_bytes()
    except OSError as error:
        raise ReleaseError(
            f"layer {layer.name} is not in the store ({error.strerror}); push the release again"
        ) from None
    return parse_index(content, layer)


def check_release(layout: Layout, manifest: Manifest, deep: bool) -> None:
    """Nothing, where the release's files are the manifest's: ours by hash, libraries by size.

    Parameters
    ----------
    deep: libraries by hash too.

    Raises
    ------
    ReleaseError: the first file that is not.
    """
    release = layout.releases / manifest.release
    places = {
        "site-packages": release / "venv/lib" / f"python{manifest.python}" / "site-packages",
        "models": release / "models",
        "system": release / "system",
    }
    for layer in manifest.layers:
        for file in layer_files(layout, layer):
            path = places[layer.into] / file.path
            try:
                stat = path.lstat()
                is_right = stat.st_size == file.size and (
                    (layer.checked_by == "size" and not deep) or sha256_of(path) == file.sha256
                )
            except OSError:
                is_right = False
            if not is_right:
                raise ReleaseError(f"{path} is damaged or missing; push {manifest.release} again")


def remove_leftovers(layout: Layout) -> None:
    """What a power cut or a full disk left half-made."""
    for folder in (layout.layers, layout.releases):
        for path in folder.glob(f"{NEW}*"):
            shutil.rmtree(path, ignore_errors=True)


def remove_all_but(layout: Layout, releases: set[str], layers: set[str]) -> list[str]:
    """Delete other releases and layers; names of the releases that went."""
    gone = [name for name in layout.installed() if name not in releases]
    for name in gone:
        # Renamed first, so that a half-deleted release is never taken for a whole one.
        with suppress(OSError):
            hidden = layout.releases / f"{NEW}{name}"
            (layout.releases / name).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
    for sha256 in present_layers(layout) - layers:
        with suppress(OSError):
            hidden = layout.layers / f"{NEW}{sha256}"
            (layout.layers / sha256).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
    return gone
