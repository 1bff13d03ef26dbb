"""libasound and libjack print whole stacks of their own each time a device or server is absent, which the box
asks about twice per second. The box says the same once, in a line of its own.

Each library takes a function that is called with its messages. There may be more than one copy in a process:
python-rtmidi brings a libjack of its own.
"""

import contextlib
import ctypes
from pathlib import Path
from typing import Final

MAPS: Final = Path("/proc/self/maps")
NAMES: Final = ("libasound.so.2", "libjack.so.0")
HANDLERS: Final = ("snd_lib_error_set_handler", "jack_set_error_function", "jack_set_info_function")


def _loaded() -> set[str]:
    """Paths of the copies in this process."""
    try:
        paths = {line.split(maxsplit=5)[-1].strip() for line in MAPS.read_text().splitlines()}
    except OSError:
        return set()
    return {path for path in paths if Path(path).name.startswith(("libasound.", "libasound-", "libjack"))}


def hush_libraries() -> None:
    """Let no copy of libasound or libjack print; call it before they are asked anything."""
    # A C function that does nothing and needs no lock of Python's: JACK calls from a real-time thread.
    nothing = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p)
    for path in {*NAMES, *_loaded()}:
        # A machine without that library has nothing to hush.
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            for handler in HANDLERS:
                with contextlib.suppress(AttributeError):
                    getattr(library, handler)(nothing)
