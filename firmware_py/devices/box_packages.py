"""Packages of the extra ``box``: Linux's sound cards, MIDI ports and pins; some are compiled on installation.

A laptop that only computes files does without them. A module that needs one imports it like this:

    try:
        import rtmidi
    except ImportError as error:
        raise missing_package(error) from None
"""

from kelly_edge.errors import DeviceError


def missing_package(error: ImportError) -> DeviceError:
    """The fault of a package that is not installed, or cannot be loaded, with the remedy."""
    why = f" ({error})" if not isinstance(error, ModuleNotFoundError) else ""
    return DeviceError(f"{error.name or 'a package'} is not installed{why}; pip install 'kelly-edge[box]'")
