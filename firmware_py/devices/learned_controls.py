"""Which controller turns which knob: learned once, kept in the state folder, outside any release.

``controls.json`` holds its format's number and one object per knob: the control's name, the port's name, the
channel (from 0), the number of the control change or parameter, how it is addressed and how its values are
coded. Format 1, without a number, knew 7-bit control changes alone. The file is replaced whole, so that a
power cut leaves the old map or the new.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from firmware_py.devices.kept import UNREADABLE, read_json, replace_file, set_aside, state_root
from kelly_edge.errors import OutputError
from kelly_edge_text.printed import printed

FILE: Final = "controls.json"
FORMAT: Final = 2
LEARN_AGAIN: Final = "learn the controls again"
N_CHANNELS, N_NUMBERS = 16, 120
"""Control changes from 120 on are mode messages, no controllers."""
N_COARSE: Final = 32
"""Control changes below are the coarse halves (MSB) of 14-bit ones, whose fine halves (LSB) are 32 higher."""
NO_PARAMETER: Final = 0x3FFF
"""NRPN or RPN 127/127 selects none."""

CC, NRPN, RPN = "cc", "nrpn", "rpn"
"""How a controller is addressed: a control change of its own, or a (non-)registered parameter number that
control changes 98 to 101 select and data entry (6, 38, 96, 97) sets."""
SEVEN_BIT = "7-bit"
MSB_FIRST, LSB_FIRST = "14-bit, MSB first", "14-bit, LSB first"
LSB_ONLY = "7-bit in the LSB"
TWOS_COMPLEMENT, BINARY_OFFSET, SIGN_MAGNITUDE = "two's complement", "binary offset", "sign-magnitude"
INCREMENTS = "increments"
SWITCH = "switch"
PAIRS: Final = (MSB_FIRST, LSB_FIRST)
RELATIVE: Final = (TWOS_COMPLEMENT, BINARY_OFFSET, SIGN_MAGNITUDE)
"""Codings of the steps of an endless encoder: -1 is 127, 63 or 65."""
CODINGS: Final = {
    CC: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH),
    NRPN: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH, LSB_ONLY, INCREMENTS),
    RPN: (SEVEN_BIT, *PAIRS, *RELATIVE, SWITCH, LSB_ONLY, INCREMENTS),
}


Source = tuple[str, int, str, int]
"""Port, channel, address and number."""


@dataclass(frozen=True)
class Learned:
    """``control`` is turned by ``number`` on ``channel`` (0..15) of ``port``.

    ``number`` is a control change (0..119; of a 14-bit one the coarse half, 0..31) or the number of an NRPN
    or RPN (0..16382), as ``address`` says; ``coding`` is one of ``CODINGS`` of that address.
    """

    control: str
    port: str
    channel: int
    number: int
    address: str = CC
    coding: str = SEVEN_BIT

    @property
    def sources(self) -> frozenset[Source]:
        """Where it is turned: port, channel, address and number of everything that it listens to."""
        numbers = [self.number]
        if self.address == CC and self.coding in PAIRS:
            numbers.append(self.number + N_COARSE)
        return frozenset((self.port, self.channel, self.address, number) for number in numbers)

    @property
    def is_possible(self) -> bool:
        """Whether MIDI has such a controller."""
        n_numbers = N_COARSE if self.coding in PAIRS else N_NUMBERS
        return (
            0 <= self.channel < N_CHANNELS
            and self.coding in CODINGS.get(self.address, ())
            and 0 <= self.number < (n_numbers if self.address == CC else NO_PARAMETER)
        )

    @property
    def description(self) -> str:
        """The controller as a person knows it."""
        return described(self.port, self.channel, self.address, self.number, self.coding)


def described(port: str, channel: int, address: str, number: int, coding: str) -> str:
    """A controller as a person knows it; ``coding`` may be empty, where it is not known."""
    is_pair = address == CC and coding in PAIRS
    what = (
        f"control change {number}" + (f" with {number + N_COARSE}" if is_pair else "")
        if address == CC
        else f"{address.upper()} {number}"
    )
    kinds = {**dict.fromkeys(RELATIVE, "endless encoder, "), SWITCH: "button or pedal: "}
    how = f" ({kinds.get(coding, '')}{coding})" if coding not in ("", SEVEN_BIT) else ""
    return f"{what}{how}, channel {channel + 1}, {printed(port)}"


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
        raise OutputError(f"{path} holds what is no control change; remove it and learn the controls again")
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
