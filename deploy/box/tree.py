"""What a release's folder holds, to the last name: it follows from the signed manifest alone.

Layers' files by their indexes, and the environment around them, which is made here and has the same content
for the same manifest. Whatever else lies below a release is refused: an added ``.pth`` would run each time.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.box.disk import FILE_MODE, FOLDER_MODE, read_bounded, sha256_of
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout
from deploy.box.manifest import (
    MANIFEST,
    MAX_INDEX_BYTES,
    SIGNATURE,
    IndexedFile,
    Layer,
    Manifest,
    parse_index,
)

INDEX: Final = "INDEX"
TREE: Final = "tree"
INTERPRETER: Final = "/usr/bin/python3"
COMMAND: Final = """#!{python} -IBu
import os, sys
if os.geteuid() == 0:
    # Beside the code is the first place where numba writes, and a release takes no other file.
    os.environ.setdefault("NUMBA_CACHE_DIR", "/root/.cache/kelly-edge")
from firmware_py.__main__ import main
sys.exit(main())
"""
"""Isolated: nothing from the environment or a user's folder; and it leaves no compiled module behind."""
EARLIER_COMMAND: Final = """#!{python}
import sys
from firmware_py.__main__ import main
sys.exit(main())
"""
SETTINGS: Final = "home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}\n"
UNITS_FIRST: Final = ("system", "site-packages", "models")
"""In which order layers are checked: root runs what the units say."""


@dataclass(frozen=True)
class Entry:
    """One name below a release: a layer's file, a file or link made here, or what the signature covers.

    ``contents``: what a file made here may hold, the first being what is written.
    """

    layer: Layer | None = None
    file: IndexedFile | None = None
    contents: tuple[bytes, ...] = ()
    link: str = ""
    is_signed: bool = False
    is_optional: bool = False

    @property
    def mode(self) -> int:
        """Permissions of a file; programs that are made here can be run."""
        if self.file is not None:
            return self.file.mode
        return FOLDER_MODE if self.contents and self.contents[0].startswith(b"#!") else FILE_MODE


def layer_files(layout: Layout, layer: Layer) -> list[IndexedFile]:
    """The files of an unpacked layer.

    Raises
    ------
    ReleaseError: its index is gone or damaged.
    """
    try:
        content = read_bounded(layout.layers / layer.sha256 / INDEX, MAX_INDEX_BYTES)
    except OSError as error:
        raise ReleaseError(
            f"layer {layer.name} is not in the store ({error.strerror}); push the release again"
        ) from None
    return parse_index(content, layer)


def entries(layout: Layout, manifest: Manifest) -> dict[str, Entry]:
    """Every name below the release, by its path in it; folders follow from them.

    Raises
    ------
    ReleaseError: an index is gone or damaged, or two layers hold one path.
    """
    python = layout.releases / manifest.release / "venv/bin/python3"
    texts = (COMMAND, EARLIER_COMMAND)
    found = {
        MANIFEST: Entry(is_signed=True),
        SIGNATURE: Entry(is_signed=True),
        "venv/bin/python3": Entry(link=INTERPRETER),
        "venv/bin/kelly-edge": Entry(contents=tuple(text.format(python=python).encode() for text in texts)),
        "venv/pyvenv.cfg": Entry(contents=(SETTINGS.format(version=manifest.python).encode(),)),
        # Python's own venv made these until the environment became part of what is checked.
        "venv/bin/python": Entry(link="python3", is_optional=True),
        f"venv/bin/python{manifest.python}": Entry(link="python3", is_optional=True),
        "venv/lib64": Entry(link="lib", is_optional=True),
    }
    places = {
        "site-packages": f"venv/lib/python{manifest.python}/site-packages",
        "models": "models",
        "system": "system",
    }
    for layer in sorted(manifest.layers, key=lambda la: (UNITS_FIRST.index(la.into), la.checked_by)):
        for file in layer_files(layout, layer):
            path = f"{places[layer.into]}/{file.path}"
            if path in found:
                raise ReleaseError(f"two layers hold {Path(path).name}; build the bundle again")
            found[path] = Entry(layer=layer, file=file)
    if clash := next((path for path in folders_of(found) if path in found), None):
        raise ReleaseError(f"{Path(clash).name} is a file and a folder; build the bundle again")
    return found


def folders_of(found: dict[str, Entry]) -> set[str]:
    """The folders that the required names lie in."""
    folders: set[str] = set()
    for path, entry in found.items():
        parent = path.rpartition("/")[0]
        while parent and parent not in folders and not entry.is_optional:
            folders.add(parent)
            parent = parent.rpartition("/")[0]
    return folders


def wrong_names(
    layout: Layout, root: Path, wanted: dict[str, Entry], deep: bool
) -> Iterator[tuple[str, str]]:
    """Paths below ``root`` that are not as ``wanted``, and what they are: damaged or missing, or too many.

    Parameters
    ----------
    deep: libraries by hash too, not by size.
    """
    owner = layout.home.lstat().st_uid
    folders = folders_of(wanted)
    empty = {"venv/include", f"venv/include/{_python_of(wanted)}"}
    for path, entry in wanted.items():
        if not _is_right(root / path, entry, owner, deep):
            yield path, DAMAGED
    for folder in ("", *sorted(folders)):
        if not _is_folder(root / folder, owner):
            yield folder, DAMAGED
    yield from ((path, EXTRA) for path in _others(root, "", {*wanted, *folders}, empty))


DAMAGED: Final = "is damaged or missing"
EXTRA: Final = "does not belong there"


def _python_of(wanted: dict[str, Entry]) -> str:
    return next(path for path in wanted if path.startswith("venv/bin/python3.")).rpartition("/")[2]


def _others(root: Path, folder: str, known: set[str], empty: set[str]) -> Iterator[str]:
    """Names that nothing accounts for; ``empty``: folders that may be there and hold nothing else."""
    with os.scandir(root / folder) as items:
        for item in items:
            path = f"{folder}/{item.name}".lstrip("/")
            if path not in known and path not in empty:
                yield path
            elif item.is_dir(follow_symlinks=False):
                yield from _others(root, path, known, empty)
            elif path in empty:
                yield path


def _is_folder(path: Path, owner: int) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == FOLDER_MODE and found.st_uid == owner
    )


def _is_right(path: Path, entry: Entry, owner: int, deep: bool) -> bool:
    try:
        found = path.lstat()
        if found.st_uid != owner:
            return False
        if entry.link:
            return stat.S_ISLNK(found.st_mode) and os.readlink(path) == entry.link
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != entry.mode:
            return False
        if entry.contents:
            longest = max(len(content) for content in entry.contents)
            return read_bounded(path, longest) in entry.contents
        if entry.file is None or entry.layer is None:
            return True
        by_hash = deep or entry.layer.checked_by == "hash"
        return found.st_size == entry.file.size and (not by_hash or sha256_of(path) == entry.file.sha256)
    except FileNotFoundError:
        return entry.is_optional
    except (OSError, ReleaseError):
        return False


def layer_is_whole(layout: Layout, layer: Layer) -> bool:
    """Whether an unpacked layer is what the manifest promises, every byte of it."""
    owner = layout.home.lstat().st_uid
    try:
        files = layer_files(layout, layer)
    except ReleaseError:
        return False
    tree = layout.layers / layer.sha256 / TREE
    return all(_is_right(tree / file.path, Entry(layer=layer, file=file), owner, deep=True) for file in files)


def is_linked(layout: Layout, root: Path, wanted: dict[str, Entry]) -> bool:
    """Whether every layer's file below ``root`` is the store's own, not a copy or an earlier one."""
    for path, entry in wanted.items():
        if entry.layer is not None and entry.file is not None:
            source = layout.layers / entry.layer.sha256 / TREE / entry.file.path
            try:
                if not os.path.samestat((root / path).lstat(), source.lstat()):
                    return False
            except OSError:
                return False
    return True


def place(layout: Layout, root: Path, path: str, entry: Entry, beside: Path) -> None:
    """Make ``path`` below ``root`` what it should be, by one rename; ``beside`` is a name on the same disk.

    Raises
    ------
    OSError: the disk refuses.
    """
    target = root / path
    make_way(root, path)
    beside.unlink(missing_ok=True)
    if entry.file is not None and entry.layer is not None:
        source = layout.layers / entry.layer.sha256 / TREE / entry.file.path
        if target.exists() and target.samefile(source):
            return
        os.link(source, beside)
    elif entry.link:
        beside.symlink_to(entry.link)
    else:
        with beside.open("xb") as file:
            file.write(entry.contents[0])
            os.fchmod(file.fileno(), entry.mode)
    beside.replace(target)


def make_way(root: Path, path: str) -> None:
    """The folders above ``path`` are folders, and it is none itself."""
    place = root
    for part in path.split("/")[:-1]:
        place /= part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(exist_ok=True)
    target = root / path
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
