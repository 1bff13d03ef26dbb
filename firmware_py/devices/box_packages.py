"""Packages of the extra ``box``: Linux's sound cards, MIDI ports and pins; some are compiled on installation.

A laptop that only computes files does without them. A module that needs one imports it like this:

    try:
        import rtmidi
    except ImportError as error:
        raise missing_package(error) from None
"""

import importlib.util
from collections.abc import Iterable

from kelly_edge.errors import DeviceError


def missing_package(error: ImportError, extra: str = "box") -> DeviceError:
    """The fault of a package that is not installed, or cannot be loaded, with the remedy."""
    why = f" ({error})" if not isinstance(error, ModuleNotFoundError) else ""
    return DeviceError(
        f"{error.name or 'a package'} is not installed{why}; pip install 'kelly-edge[{extra}]'"
    )


def need_packages(modules: Iterable[str], extra: str = "box") -> None:
    """Report at once the missing packages that would end each process after its start.

    Raises
    ------
    DeviceError: one of the modules is not installed.
    """
    for name in modules:
        try:
            is_there = importlib.util.find_spec(name) is not None
        except ValueError:  # loaded by something that gave it no spec
            is_there = True
        if not is_there:
            raise missing_package(ModuleNotFoundError(name=name), extra)
