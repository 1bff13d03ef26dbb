"""Layers, unpacked once and shared by releases; and a release, put together from them by hard links.

Everything is made beside its place under a name that starts with ``.new-``, synced, and renamed when
complete: a power cut leaves the box without the new thing, never with half of it. What is damaged is mended
file by file, in the store and in every release that shares it: a rename each, so a cut leaves it no worse.
"""

import hashlib
import lzma
import os
import shutil
import tarfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from deploy.box.archive import PIECE_BYTES, Unpacked
from deploy.box.disk import FOLDER_MODE, read_bounded, readable_by_all, sync_folder, write_whole
from deploy.box.faults import ReleaseError, printed
from deploy.box.layout import Layout
from deploy.box.manifest import (
    MANIFEST,
    MAX_INDEX_BYTES,
    MAX_MANIFEST_BYTES,
    OBJECTS,
    SIGNATURE,
    IndexedFile,
    Layer,
    Manifest,
    parse_index,
)
from deploy.box.tree import (
    EXTRA,
    INDEX,
    TREE,
    Entry,
    entries,
    folders_of,
    is_linked,
    layer_is_whole,
    make_way,
    place,
    wrong_names,
)
from deploy.box.trust import RUNNING_ONE, read_manifest

NEW: Final = ".new-"
MARGIN_BYTES: Final = 64 << 20
"""Left free: logs and sessions go on. Chosen: as ``session.store.RESERVE_BYTES``."""
MEND_PASSES: Final = 3
"""Chosen: a disk that rots faster is broken."""
HEADERS_BYTES: Final = 4 << 10
"""What a tar may add to a file: its header, an extended one, and padding. POSIX pax: blocks of 512 bytes."""


@dataclass(frozen=True)
class Installed:
    """What installing did: ``is_new``, and the ``mended`` releases, which held damage."""

    is_new: bool
    mended: frozenset[str] = frozenset()


def present_layers(layout: Layout) -> frozenset[str]:
    """sha256 of the layers that are unpacked."""
    try:
        return frozenset(p.name for p in layout.layers.iterdir() if not p.name.startswith("."))
    except OSError:
        return frozenset()


def wanting_layers(layout: Layout, manifest: Manifest) -> list[Layer]:
    """The layers of ``manifest`` that this box lacks or holds damaged: every byte is read."""
    present = present_layers(layout)
    return [
        layer for layer in manifest.layers if layer.sha256 not in present or not layer_is_whole(layout, layer)
    ]


def file_time(sha256: str) -> int:
    """A time that follows from the content.

    numba tells a changed source by its time and size; with one time for all, a change of equal length would
    run the old machine code.
    """
    return 1_000_000_000 + int(sha256[:7], 16)


def _copy(source: IO[bytes], target: Path, file: IndexedFile) -> None:
    digest = hashlib.sha256()
    with target.open("xb") as out:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != file.sha256:
        raise ReleaseError(f"{file.path} is not the file its index promises; build the bundle again")
    target.chmod(file.mode)
    os.utime(target, (file_time(file.sha256),) * 2)


def _unpack_into(folder: Path, archive: Path, layer: Layer) -> None:
    longest = layer.unpacked + MAX_INDEX_BYTES + (layer.n_files + 8) * HEADERS_BYTES
    with closing(Unpacked(archive, longest)) as content:
        stream: Any = content
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            _unpack_tar(folder, tar, layer)


def _unpack_tar(folder: Path, tar: tarfile.TarFile, layer: Layer) -> None:
    first = tar.next()
    if first is None or first.name != INDEX or not first.isreg() or first.size > MAX_INDEX_BYTES:
        raise ReleaseError(f"layer {layer.name} does not begin with {INDEX}; build the bundle again")
    index = _content(tar, first)
    content = b"".join(iter(lambda: index.read(PIECE_BYTES), b""))
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
        target = tree / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        _copy(_content(tar, member), target, file)
    if tar.next() is not None:
        raise ReleaseError(f"layer {layer.name} holds more than its index; build the bundle again")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    assert content is not None, "a regular file"
    return content


def unpack(layout: Layout, archives: Sequence[tuple[Layer, Path]]) -> None:
    """Layers in the store, every file checked while it is written; none of them where a check fails.

    A layer that is there already is mended.

    Raises
    ------
    ReleaseError: one is damaged, not what the manifest promises, or there is no room.
    """
    besides = {layer.sha256: layout.layers / f"{NEW}{layer.sha256}" for layer, _ in archives}
    try:
        for layer, archive in archives:
            beside = besides[layer.sha256]
            shutil.rmtree(beside, ignore_errors=True)
            with readable_by_all():
                beside.mkdir(parents=True)
                _unpack_checked(beside, archive, layer)
        # Once for all: on an SD card each sync costs. A rename must not reach it before what it names.
        sync()
        for layer, _ in archives:
            beside, target = besides[layer.sha256], layout.layers / layer.sha256
            if target.is_dir() and not target.is_symlink():
                _mend_layer(target, beside)
            else:
                target.unlink(missing_ok=True)
                beside.rename(target)
        if besides:
            sync_folder(layout.layers)
    except OSError as error:
        raise ReleaseError(
            f"cannot unpack into {layout.layers} ({error.strerror}); make room on the box"
        ) from None
    finally:
        for beside in besides.values():
            shutil.rmtree(beside, ignore_errors=True)


def _unpack_checked(beside: Path, archive: Path, layer: Layer) -> None:
    try:
        _unpack_into(beside, archive, layer)
    except (tarfile.TarError, lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
        raise ReleaseError(
            f"layer {layer.name} is damaged ({printed(str(error))}); send the bundle again"
        ) from None


def _mend_layer(target: Path, whole: Path) -> None:
    """Move every file of ``whole`` into ``target``: releases still link to the old ones, and play on."""
    for path in sorted(p for p in whole.rglob("*") if p.is_file()):
        name = path.relative_to(whole).as_posix()
        with readable_by_all():
            make_way(target, name)
        path.replace(target / name)
    sync()


def sync() -> None:
    """Everything written so far is on the disk."""
    os.sync()


def needed_bytes(layers: Collection[Layer]) -> int:
    """Room that unpacking ``layers`` takes."""
    return sum(layer.unpacked for layer in layers)


def free_bytes(layout: Layout) -> int:
    """Room on the releases' file system."""
    stat = os.statvfs(layout.home)
    return stat.f_bavail * stat.f_frsize


def install(layout: Layout, bundle: Path, manifest: Manifest, margin_bytes: int = MARGIN_BYTES) -> Installed:
    """Put a verified bundle among the releases, or mend the release where it is there already.

    Every byte that is reused is read first. A layer that turns out damaged is replaced, and every release
    that shares it is linked to the new one.

    Raises
    ------
    ReleaseError: no room, or a layer is not what it should be. The box is as it was then.
    """
    is_new = manifest.release not in layout.installed()
    todo = wanting_layers(layout, manifest)
    needed, free = needed_bytes(todo) + margin_bytes, free_bytes(layout)
    if (todo or is_new) and needed > free:
        raise ReleaseError(
            f"{layout.home} has {free >> 20} MiB free and {manifest.release} needs {needed >> 20}; "
            "make room on the box"
        )
    _open_to_all(layout)
    unpack(layout, [(layer, bundle / OBJECTS / layer.sha256) for layer in todo])
    if is_new:
        _assemble(layout, bundle, manifest)
    else:
        # The same release may have been signed with another key.
        _copy_signed(bundle, layout.releases / manifest.release)
    return Installed(is_new, frozenset(_mended(layout, manifest)))


def _mended(layout: Layout, manifest: Manifest) -> Iterator[str]:
    """Mend the release, and those with another file than the store's; names of those that held damage.

    Not those alone whose layers were replaced just now: the power may have gone after an earlier replacement.
    """
    for release in layout.installed():
        if release == manifest.release:
            if mend_release(layout, manifest):
                yield release
            continue
        # Another release's own damage is no reason to refuse this one.
        with suppress(ReleaseError):
            root = layout.releases / release
            other = read_manifest(root, layout.allowed_signers, RUNNING_ONE)
            if not is_linked(layout, root, entries(layout, other)) and mend_release(layout, other):
                yield release


def _open_to_all(layout: Layout) -> None:
    """The services, which are other users, reach the releases, whatever umask an earlier program had."""
    with readable_by_all():
        for folder in (layout.home, layout.layers, layout.releases):
            folder.mkdir(parents=True, exist_ok=True)
    for folder in (layout.home, layout.layers.parent, layout.layers, layout.releases):
        folder.chmod(FOLDER_MODE)


def _copy_signed(bundle: Path, release: Path) -> None:
    for name in (SIGNATURE, MANIFEST):
        try:
            content = read_bounded(bundle / name, MAX_MANIFEST_BYTES)
        except OSError as error:
            raise ReleaseError(f"cannot read {bundle / name} ({error.strerror}); send it again") from None
        if not _holds(release / name, content):
            with suppress(OSError):
                make_way(release, name)
            write_whole(release / name, content)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_bounded(path, len(content)) == content
    except (OSError, ReleaseError):
        return False


def mend_release(layout: Layout, manifest: Manifest) -> bool:
    """Make an installed release what its manifest says, from whole layers; whether anything was wrong.

    Raises
    ------
    ReleaseError: there is no room, or an index in the store is damaged.
    """
    root = layout.releases / manifest.release
    wanted = entries(layout, manifest)
    was_wrong = False
    try:
        # Behind a link that stood for a folder all looks well until the link is gone.
        for _ in range(MEND_PASSES):
            if not (wrong := list(wrong_names(layout, root, wanted, deep=True))):
                break
            was_wrong = True
            with readable_by_all():
                _mend_names(layout, root, wanted, wrong)
        if was_wrong:
            sync()
    except OSError as error:
        raise ReleaseError(f"cannot mend {root} ({error.strerror}); make room on the box") from None
    finally:
        remove_leftovers(layout)
    return was_wrong


def _mend_names(
    layout: Layout, root: Path, wanted: dict[str, Entry], wrong: Sequence[tuple[str, str]]
) -> None:
    folders = {"", *folders_of(wanted)}
    for path, what in sorted(wrong, key=lambda item: item[1] != EXTRA):
        if what == EXTRA:
            make_way(root, path)
            (root / path).unlink(missing_ok=True)
        elif path in folders:
            make_way(root, f"{path}/any".lstrip("/"))
            (root / path).chmod(FOLDER_MODE)
            os.chown(root / path, layout.home.lstat().st_uid, -1)
        elif not wanted[path].is_signed:
            place(layout, root, path, wanted[path], layout.releases / f"{NEW}name")


def _assemble(layout: Layout, bundle: Path, manifest: Manifest) -> None:
    target = layout.releases / manifest.release
    beside = layout.releases / f"{NEW}{manifest.release}"
    wanted = entries(layout, manifest)
    try:
        shutil.rmtree(beside, ignore_errors=True)
        with readable_by_all():
            beside.mkdir(parents=True)
            for path, entry in wanted.items():
                if not entry.is_signed and not entry.is_optional:
                    place(layout, beside, path, entry, layout.releases / f"{NEW}name")
        _copy_signed(bundle, beside)
        sync()
        beside.rename(target)
        sync_folder(layout.releases)
    except OSError as error:
        raise ReleaseError(f"cannot build {target} ({error.strerror}); make room on the box") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_release(layout: Layout, manifest: Manifest, deep: bool) -> None:
    """Nothing, where the release's folder holds the manifest's files and nothing else.

    Ours are checked by hash, libraries by size; the units, of which root runs some, come first.

    Parameters
    ----------
    deep: libraries by hash too.

    Raises
    ------
    ReleaseError: the first name that is not right.
    """
    root = layout.releases / manifest.release
    try:
        for path, what in wrong_names(layout, root, entries(layout, manifest), deep):
            raise ReleaseError(f"{root / printed(path, 200)} {what}; push {manifest.release} again")
    except OSError as error:
        raise ReleaseError(f"cannot read {root} ({error.strerror}); push {manifest.release} again") from None


def remove_leftovers(layout: Layout) -> None:
    """What a power cut or a full disk left half-made."""
    for folder in (layout.layers, layout.releases):
        for path in folder.glob(f"{NEW}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def uploads(layout: Layout) -> list[Path]:
    """Bundles that are on their way in, whole or in part."""
    try:
        return sorted(p for p in layout.incoming.iterdir() if p.is_dir() and not p.is_symlink())
    except OSError:
        return []


def remove_uploads(layout: Layout, before_s: float) -> None:
    """Delete uploads to which nothing was added since ``before_s``, in seconds since 1970."""
    for folder in uploads(layout):
        with suppress(OSError):
            newest_s = max(p.lstat().st_mtime for p in (folder, *folder.rglob("*")))
            if newest_s < before_s:
                shutil.rmtree(folder, ignore_errors=True)


def remove_all_but(layout: Layout, releases: set[str], layers: set[str] | None) -> list[str]:
    """Delete other releases and layers (None: keep all layers); names of the releases that went."""
    gone = [name for name in layout.installed() if name not in releases]
    for name in gone:
        _remove(layout.releases, name)
    for sha256 in present_layers(layout) - (present_layers(layout) if layers is None else layers):
        _remove(layout.layers, sha256)
    return gone


def _remove(folder: Path, name: str) -> None:
    # Renamed first, and the name on the disk, so that a half-deleted thing is never taken for a whole one.
    with suppress(OSError):
        hidden = folder / f"{NEW}{name}"
        (folder / name).rename(hidden)
        sync_folder(folder)
        shutil.rmtree(hidden, ignore_errors=True)
