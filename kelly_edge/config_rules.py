"""What a setting may be: its limits or choices, unit and meaning, and how a message names a value."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kelly_edge.shared.printed import printed

Value = bool | int | float | str | tuple[str, ...]
KEY: Final = "setting"
"""Where a field's metadata holds its rule."""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def shown(value: object) -> str:
    """A value as a message names it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return printed(value) if value.strip() else repr(value)
    if isinstance(value, list | tuple):
        return "a list" if isinstance(value, list) else "a section"
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"
    return printed(str(value))


@dataclass(frozen=True)
class Rule:
    """What a setting may be. ``check`` returns a fault's text, or nothing."""

    doc: str
    unit: str = ""
    limits: tuple[float, float] | None = None
    choices: tuple[Value, ...] = ()
    check: Callable[[Any], str] | None = None
    is_path: bool = False

    @property
    def allowed(self) -> str:
        """Limits or choices as text: ``0..600 s``, ``64, 128, 256``, or nothing."""
        if self.choices:
            return ", ".join(shown(choice) for choice in self.choices)
        if self.limits:
            low, high = map(_number, self.limits)
            return f"{low}..{high} {self.unit}".rstrip()
        return ""

    @property
    def documentation(self) -> str:
        """The meaning, then in brackets the limits or choices and the unit."""
        unit = "" if self.unit and self.allowed.endswith(self.unit) else self.unit
        bounds = f"{self.allowed} {unit}".strip()
        return f"{self.doc} ({bounds})" if bounds else self.doc


def setting(
    default: Value,
    doc: str,
    unit: str = "",
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[Value, ...] = (),
    check: Callable[[Any], str] | None = None,
    is_path: bool = False,
) -> Any:
    """A field of a section: its default and its rule.

    Any, as dataclasses.field is: each field's annotation says its type, and a test compares the two.
    """
    return field(default=default, metadata={KEY: Rule(doc, unit, limits, choices, check, is_path)})


def printable_fault(text: str) -> str:
    """The fault of a text that cannot be printed, or nothing."""
    return "" if text.isprintable() else "holds a control character"


def name_fault(name: str) -> str:
    """The fault of a name that is empty or cannot be printed, or nothing."""
    return "is empty" if not name.strip() else printable_fault(name)
