"""Which controller turns which knob: learned once, kept in the state folder, outside any release.

``controls.json`` holds its format's number and one object per knob: the control's name, the port's name, the
channel (from 0), the number of the control change or parameter, how it is addressed and how its values are
coded. Format 1, without a number, knew 7-bit control changes alone. The file is replaced whole, so that a
power cut leaves the old map or the new.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from firmware_py.devices.files.kept import UNREADABLE, read_json, replace_file, set_aside, state_root
from firmware_py.ports.learned import CC, SEVEN_BIT, Learned
from kelly_edge.errors import OutputError

FILE: Final = "controls.json"
FORMAT: Final = 2
"""Of ``controls.json``: our own format; 1, of 0.1.0, is read too."""
LEARN_AGAIN: Final = "learn the controls again"


def controls_path(state_setting: str, environment: Mapping[str, str]) -> Path:
    """The file of the learned controls."""
    return state_root(state_setting, environment) / FILE


def read_controls(path: Path) -> tuple[Learned, ...]:
    """The controls learned; none where there is no file.

    Raises
    ------
    OutputError: the file is there and is not such a map.
    """
    try:
        content = read_json(path)
        version = content.get("format", 1)
        found = tuple(
            Learned(
                _text(r["control"]),
                _text(r["port"]),
                int(r["channel"]),
                int(r["number"]),
                _text(r["address"]) if version == FORMAT else CC,
                _text(r["coding"]) if version == FORMAT else SEVEN_BIT,
            )
            for r in content["controls"]
        )
    except FileNotFoundError:
        return ()
    except UNREADABLE as error:
        raise OutputError(
            f"cannot read {path} ({type(error).__name__}); remove it and learn the controls again"
        ) from None
    if version not in (1, FORMAT):
        raise OutputError(f"{path} is of another release's format; remove it and learn the controls again")
    if not all(control.is_possible for control in found):
        raise OutputError(
            f"{path} holds an entry that is no control change; remove it and learn the controls again"
        )
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    # Half a surrogate pair could be printed nowhere.
    value.encode()
    return value


def kept_controls(path: Path, warn: Callable[[str], None]) -> tuple[Learned, ...]:
    """As ``read_controls``; a map that cannot be read is set aside, which is told, and is none."""
    try:
        return read_controls(path)
    except OutputError:
        set_aside(path, LEARN_AGAIN, warn)
        return ()


def with_control(controls: Iterable[Learned], new: Learned) -> tuple[Learned, ...]:
    """``new`` added: a knob has one controller, and a controller (either half of it) one knob."""
    kept = [c for c in controls if c.control != new.control and not c.sources & new.sources]
    return (*kept, new)


def store_controls(path: Path, controls: Iterable[Learned]) -> None:
    """Keep the map.

    Raises
    ------
    OutputError: it cannot be written; the old map stands.
    """
    content = json.dumps({"format": FORMAT, "controls": [asdict(c) for c in controls]}, indent=1) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}); set runtime.state_dir") from None


class ControlsFile:
    """The map in ``path``, read again when it was replaced.

    Parameters
    ----------
    warn: told that a map cannot be read and is set aside; what was read before stands. None: it is left.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._warn = warn
        self._version: tuple[int, int] | None = (-1, -1)

    def changed(self) -> tuple[Learned, ...] | None:
        """The map where it is new since the last call, else None.

        Raises
        ------
        OutputError: the new one cannot be read, and nobody is to be told; once for a map.
        """
        try:
            stat = self._path.stat()
            version: tuple[int, int] | None = (stat.st_ino, stat.st_mtime_ns)
        except OSError:
            version = None
        if version == self._version:
            return None
        self._version = version
        try:
            return read_controls(self._path)
        except OutputError:
            if self._warn is None:
                raise
            set_aside(self._path, LEARN_AGAIN, self._warn)
            self._version = None
            return None
