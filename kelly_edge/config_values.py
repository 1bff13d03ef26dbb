"""Values of a file of the user's, checked against their rules: settings and programmes.

Every fault is one line; all are found before any is reported.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Final, cast

from kelly_edge.config_rules import Rule, Value, shown
from kelly_edge.errors import ConfigError

MAX_FAULTS: Final = 50
"""Faults beyond these are counted, not listed."""


def refuse(faults: Sequence[str]) -> None:
    """Raise a ``ConfigError`` with the faults, one a line, if there are any."""
    if faults:
        more = len(faults) - MAX_FAULTS
        raise ConfigError("\n".join([*faults[:MAX_FAULTS], *([f"and {more} more"] if more > 0 else [])]))


def did_you_mean(word: object, known: Sequence[str]) -> str:
    """The known word that is nearest to a wrong one, as the end of a message; nothing where none is near."""
    close = difflib.get_close_matches(word[:60], known, n=1) if isinstance(word, str) else []
    return f"; did you mean {close[0]}?" if close else ""


def read_value(rule: Rule, kind: type, raw: object) -> tuple[Value | None, str]:
    """``raw`` of a file as a value of ``kind`` within ``rule``, or None and the fault."""
    value = _READERS[kind](raw)
    if value is None:
        return None, f"{shown(raw)} is not {_KINDS[kind]}"
    if rule.choices and value not in rule.choices:
        hint = did_you_mean(value, [c for c in rule.choices if isinstance(c, str)])
        return None, f"{shown(raw)} is not one of {rule.allowed}{hint}"
    if rule.limits and not rule.limits[0] <= cast(float, value) <= rule.limits[1]:
        return None, f"{shown(raw)} is not within {rule.allowed}"
    if rule.check is not None and (fault := rule.check(value)):
        return None, fault
    return value, ""


# --- one reader per type: the value as that type, or None ---------------------------------
def _read_bool(raw: object) -> bool | None:
    return raw if isinstance(raw, bool) else None


def _read_int(raw: object) -> int | None:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else None


def _read_float(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _read_str(raw: object) -> str | None:
    return raw if isinstance(raw, str) else None


def _read_names(raw: object) -> tuple[str, ...] | None:
    if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
        return tuple(raw)
    return None


_READERS: Final[dict[type, Callable[[object], Value | None]]] = {
    bool: _read_bool,
    int: _read_int,
    float: _read_float,
    str: _read_str,
    tuple: _read_names,
}
_KINDS: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    tuple: "a list of texts",
}
