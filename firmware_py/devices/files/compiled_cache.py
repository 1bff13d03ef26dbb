"""numba's cache of compiled functions: a file that a power cut left half-written must not stop ``dsp``.

numba replaces the files whole but does not wait for the disk, and passes on any exception of unpickling.
"""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final


def _read_index(file: BinaryIO) -> Any:
    # The version, and then the index itself, pickled into bytes of their own.
    return pickle.load(file), pickle.loads(file.read())


READERS: Final[dict[str, Callable[[BinaryIO], Any]]] = {"*.nbi": _read_index, "*.nbc": pickle.load}
"""The files of ``numba.core.caching``, each read as numba reads it: no more is run than numba would run."""


def forget_damaged(folder: Path, warn: Callable[[str], None]) -> int:
    """Remove the files of the cache in ``folder`` that cannot be read; returns how many, which is told."""
    n_damaged = 0
    for pattern, read in READERS.items():
        for path in folder.rglob(pattern):
            try:
                with path.open("rb") as file:
                    read(file)
            except Exception:
                # Damaged pickles raise anything at all.
                n_damaged += 1
                with contextlib.suppress(OSError):
                    path.unlink()
    if n_damaged:
        warn(f"{n_damaged} damaged files of compiled code in {folder} are removed; they are compiled again")
    return n_damaged
