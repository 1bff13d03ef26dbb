"""Where numba keeps compiled functions on a box: apart for each release, and only read by the processes
that play.

numba's files are pickles: whoever may write them runs code in whoever reads them. ``kelly-edge compile``
writes them, as a user of its own; the services are given ``SealedCache`` and cannot. Units name these classes
in ``NUMBA_CACHE_LOCATOR_CLASSES``, and the folder in ``NUMBA_CACHE_DIR``.
"""

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from numba.core import caching, config

from firmware_py.devices.files.kept import replace_file
from firmware_py.devices.files.release import MADE_FOR, release_name
from firmware_py.devices.session.log import warn
from kelly_edge.errors import OutputError

SAME_CORE: Final = ("processor", "bogomips", "cpu mhz", "apicid", "initial apicid", "core id", "physical id")
"""Lines of /proc/cpuinfo that differ between the cores of one processor, or from moment to moment."""


def _setting(name: str) -> str:
    """One of numba's, which it reads from the environment."""
    return str(getattr(config, name))


class ReleaseCache(caching.UserProvidedCacheLocator):  # type: ignore[misc]
    """``NUMBA_CACHE_DIR / RELEASE``: read and written."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)  # type: ignore[no-untyped-call]
        subfolder = self.get_suitable_cache_subpath(py_file)  # type: ignore[no-untyped-call]
        self._cache_path = os.path.join(_setting("CACHE_DIR"), release_name(), subfolder)


class SealedCache(ReleaseCache):
    """The same, read only: what is not there, or damaged, is compiled for this process alone, with a line.

    numba refuses a folder that it cannot write, has no setting for one, and fails on a damaged file.
    """

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        caching.Cache.save_overload = _keep_to_itself  # type: ignore[method-assign]
        caching.Cache.load_overload = _load_if_sound  # type: ignore[method-assign]

    def ensure_cache_path(self) -> None:
        """Nobody has to write here."""


def _keep_to_itself(cache: object, signature: object, compiled: Any) -> None:
    """Stands for ``Cache.save_overload``, which numba calls whenever it has compiled."""
    name = compiled.fndesc.unique_name
    warn(f"{name} is compiled for this process alone: it was not compiled ahead, or its file is damaged")


_load: Final = caching.Cache.load_overload


def _load_if_sound(cache: caching.Cache, signature: object, context: object) -> object:
    """Stands for ``Cache.load_overload``."""
    try:
        return _load(cache, signature, context)  # type: ignore[no-untyped-call]
    except Exception:  # a damaged pickle may raise anything
        return None


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A name for the processor: another board's functions would be compiled again at every start."""
    try:
        first = cpuinfo.read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        first = ""
    lines = [line for line in first.splitlines() if line.partition(":")[0].strip().lower() not in SAME_CORE]
    return hashlib.sha256("\n".join([os.uname().machine, *lines]).encode()).hexdigest()[:16]


def _seal(folder: Path) -> str:
    """The processor, and every byte that was compiled for it."""
    digest = hashlib.sha256(processor().encode())
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MADE_FOR:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def is_compiled(folder: Path) -> bool:
    """Whether all is compiled in ``folder`` for this processor, and undamaged."""
    try:
        return (folder / MADE_FOR).read_text(encoding="ascii") == _seal(folder)
    except (OSError, UnicodeDecodeError):
        return False


def release_folder() -> Path:
    """Where the functions of the release that runs are.

    Raises
    ------
    OutputError: the environment does not say where, or in what way.
    """
    locator = f"{__name__}.{ReleaseCache.__name__}"
    if not _setting("CACHE_DIR") or locator != _setting("CACHE_LOCATOR_CLASSES"):
        raise OutputError(
            f"compile needs NUMBA_CACHE_DIR and NUMBA_CACHE_LOCATOR_CLASSES={locator}; "
            "`systemctl start kelly-edge-compile` sets them"
        )
    return Path(_setting("CACHE_DIR")) / release_name()


def begin(folder: Path) -> None:
    """An empty ``folder``; those of releases that are gone go too.

    Raises
    ------
    OutputError: it cannot be written.
    """
    releases = Path(sys.prefix).resolve().parents[1]
    try:
        for other in folder.parent.iterdir() if folder.parent.is_dir() else ():
            if other == folder or not (releases / other.name).is_dir():
                shutil.rmtree(other)
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"cannot write {folder} ({error.strerror}); run it as its unit does") from None


def finish(folder: Path) -> int:
    """Note that all is compiled; how many functions are.

    Raises
    ------
    OutputError: it cannot be written.
    """
    try:
        replace_file(folder / MADE_FOR, _seal(folder).encode(), 0o644)
    except OSError as error:
        with suppress(OSError):
            (folder / MADE_FOR).unlink()
        raise OutputError(f"cannot write {folder} ({error.strerror}); free space") from None
    return len(list(folder.rglob("*.nbc")))
