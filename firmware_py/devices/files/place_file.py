"""What was learned of the place the box stands in, kept between sessions in the state folder: ``place.json``.

The file is replaced whole, so that a power cut leaves the old memory or the new.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from firmware_py.devices.files.kept import UNREADABLE, read_json, replace_file, set_aside, state_root
from kelly_edge.emotion.place import PlaceMemory
from kelly_edge.errors import OutputError

FILE: Final = "place.json"
FORMAT: Final = 1
"""Number of our own format."""
LEARN_AGAIN: Final = "the place is learned again"


def place_path(state_setting: str, environment: Mapping[str, str]) -> Path:
    """The file of the place."""
    return state_root(state_setting, environment) / FILE


def kept_place(path: Path, warn: Callable[[str], None] | None = None) -> PlaceMemory:
    """The memory in ``path``; an empty one where there is none, or where it cannot be read.

    Parameters
    ----------
    warn: told that the file cannot be read and is set aside. None: it is left where it is.
    """
    try:
        content = read_json(path)
        memory = PlaceMemory(float(content["minutes"]), float(content["arousal"]))
        if content["format"] != FORMAT or not memory.is_sane:
            raise ValueError("not a place of this release")
    except FileNotFoundError:
        return PlaceMemory()
    except UNREADABLE:
        if warn is not None:
            set_aside(path, LEARN_AGAIN, warn)
        return PlaceMemory()
    return memory


def store_place(path: Path, memory: PlaceMemory) -> None:
    """Keep ``memory``.

    Raises
    ------
    OutputError: it cannot be written; the old file stands.
    """
    content = json.dumps({"format": FORMAT, **asdict(memory)}) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}); set runtime.state_dir") from None
