"""Which release runs, on a box that has releases."""

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

COMPILED: Final = Path("/var/cache/kelly-edge-compiled")
"""A folder for each release, written by ``kelly-edge-compile.service`` alone."""
MADE_FOR: Final = "made-for"
"""Tells the processor and the content; written when all is compiled."""
SEALED: Final = "firmware_py.compiled.SealedCache"


def release_name(prefix: str = sys.prefix) -> str:
    """Of the release that runs: its environment is ``releases/NAME/venv``."""
    return Path(prefix).resolve().parent.name


def use_compiled(environment: MutableMapping[str, str], root: Path = COMPILED) -> None:
    """Let numba read the functions compiled for this release, and write nothing; before numba is imported.

    A unit says so itself; a command by hand, as root too, must leave no compiled code in the release.
    """
    if "NUMBA_CACHE_DIR" not in environment and (root / release_name() / MADE_FOR).is_file():
        environment["NUMBA_CACHE_DIR"] = str(root)
        environment["NUMBA_CACHE_LOCATOR_CLASSES"] = SEALED
