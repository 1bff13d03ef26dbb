"""Entries of a settings file and overrides of the command line, checked against the table of ``config``.

Every fault is found before any is reported; each is one line that says the fault and the place.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, cast

from kelly_edge.config import Settings, Value, rules, shown
from kelly_edge.errors import ConfigError
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed

MAX_FAULTS: Final = 50
"""Faults beyond these are counted, not listed. Chosen: two screens of lines; more are read by nobody."""


@dataclass(frozen=True)
class Override:
    """One ``section.name=value`` of the command line.

    ``text`` is what stands behind the ``=`` (None without one), ``value`` what it is in a settings file,
    ``fault`` why it is nothing there.
    """

    path: str
    text: str | None
    value: Any
    fault: str
    place: str


def settings_from(entries: Sequence[Entry] = (), overrides: Sequence[Override] = ()) -> Settings:
    """Settings from a file's sections, then overrides (the last one counts).

    Raises
    ------
    ConfigError: every fault, one per line.
    """
    checker = _Checker()
    for entry in entries:
        checker.take_section(entry)
    for override in overrides:
        checker.take_override(override)
    settings = checker.settings()
    checker.check_together(settings)
    if checker.faults:
        more = len(checker.faults) - MAX_FAULTS
        listed = checker.faults[:MAX_FAULTS] + ([f"and {more} more"] if more > 0 else [])
        raise ConfigError("\n".join(listed))
    return settings


class _Checker:
    """Collects values and faults."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._rules = {(section, name): (rule, default) for section, name, rule, default in rules()}
        self._values: dict[tuple[str, str], Value] = {}
        self._places: dict[str, str] = {}

    def take_section(self, entry: Entry) -> None:
        """One section of a file."""
        name = entry.key
        known = [f.name for f in fields(Settings)]
        if name not in known:
            self._fault(printed(name), f"unknown section{_did_you_mean(name, known)}", entry.place)
        elif name in self._places:
            self._fault(name, f"is there twice, first in {self._places[name]}", entry.place)
        elif entry.value is None:
            self._places[name] = entry.place
        elif not isinstance(entry.value, tuple):
            self._fault(name, f"{shown(entry.value)} is not a section of settings", entry.place)
        else:
            self._places[name] = entry.place
            for setting in entry.value:
                self._take_setting(name, setting)

    def take_override(self, override: Override) -> None:
        """One ``section.name=value``."""
        path, place = override.path, override.place
        section, dot, name = path.partition(".")
        if override.text is None or not dot:
            self._fault(printed(path), "is not SECTION.NAME=VALUE", place)
        elif section not in {s for s, _ in self._rules}:
            known = [f.name for f in fields(Settings)]
            self._fault(printed(path), f"unknown section{_did_you_mean(section, known)}", place)
        elif self._is_known(section, name, place):
            kind = type(self._rules[section, name][1])
            if kind is str:
                self._check(section, name, _text_of(override), place)
            elif kind is tuple and not override.text.startswith("["):
                # A list of one, or of several with commas: no shell likes brackets and quotes.
                self._check(section, name, _texts_of(override), place)
            elif override.fault:
                self._fault(path, override.fault, place)
            else:
                self._check(section, name, override.value, place)

    def settings(self) -> Settings:
        """The values that are right, defaults for the rest."""
        sections = {}
        for f in fields(Settings):
            of_section = {name: v for (section, name), v in self._values.items() if section == f.name}
            sections[f.name] = replace(cast(Any, f.default), **of_section)
        return Settings(**cast(Any, sections))

    def check_together(self, settings: Settings) -> None:
        """Limits that tie two settings."""
        voice, envelope = settings.voice, settings.envelope
        if voice.selected not in voice.names:
            known = f"{', '.join(voice.names)}{_did_you_mean(voice.selected, voice.names)}"
            self._fault_of("voice.selected", "voice.names", f"{shown(voice.selected)} is not one of {known}")
        if envelope.pitch_max < envelope.pitch_min + 12:
            text = f"{envelope.pitch_max} is not an octave above pitch_min {envelope.pitch_min}"
            self._fault_of("envelope.pitch_max", "envelope.pitch_min", text)
        if envelope.tempo_max_bpm <= envelope.tempo_min_bpm:
            text = f"{envelope.tempo_max_bpm:g} is not above tempo_min_bpm {envelope.tempo_min_bpm:g}"
            self._fault_of("envelope.tempo_max_bpm", "envelope.tempo_min_bpm", text)
        if conflict := settings.panel.conflict():
            given = [path for path in self._places if path.startswith("panel.")]
            self._fault_of("panel", given[-1] if given else "panel", conflict)

    def _take_setting(self, section: str, entry: Entry) -> None:
        path = f"{section}.{entry.key}"
        if path in self._places:
            self._fault(path, f"is there twice, first in {self._places[path]}", entry.place)
        elif self._is_known(section, entry.key, entry.place):
            self._check(section, entry.key, entry.value, entry.place)

    def _is_known(self, section: str, name: str, place: str) -> bool:
        if (section, name) in self._rules:
            return True
        names = [n for s, n in self._rules if s == section]
        self._fault(f"{section}.{printed(name)}", f"unknown setting{_did_you_mean(name, names)}", place)
        return False

    def _check(self, section: str, name: str, raw: object, place: str) -> None:
        rule, default = self._rules[section, name]
        path = f"{section}.{name}"
        self._places[path] = place
        value = _READERS[type(default)](raw)
        if value is None:
            self._fault(path, f"{shown(raw)} is not {_KINDS[type(default)]}", place)
        elif rule.choices and value not in rule.choices:
            hint = _did_you_mean(value, [c for c in rule.choices if isinstance(c, str)])
            self._fault(path, f"{shown(raw)} is not one of {rule.allowed}{hint}", place)
        elif rule.limits and not rule.limits[0] <= cast(float, value) <= rule.limits[1]:
            self._fault(path, f"{shown(raw)} is not within {rule.allowed}", place)
        elif rule.check is not None and (fault := rule.check(value)):
            self._fault(path, fault, place)
        else:
            self._values[section, name] = value

    def _fault(self, path: str, text: str, place: str) -> None:
        self.faults.append(f"{path}: {text} ({place})")

    def _fault_of(self, path: str, other: str, text: str) -> None:
        # Where a default and a given value disagree, the given one has the place.
        self._fault(path, text, self._places.get(path) or self._places.get(other) or "built-in default")


# --- a reader a type: the value as that type, or None -------------------------------------
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


# --- what a command line need not quote ---------------------------------------------------
def _is_quoted(override: Override) -> bool:
    return (override.text or "")[:1] in ("'", '"') and isinstance(override.value, str)


def _text_of(override: Override) -> str:
    """A text as it stands, whatever a file would take it for: 2024, ``on``, ``*`` or ``a: b``."""
    return str(override.value) if _is_quoted(override) else override.text or ""


def _texts_of(override: Override) -> list[str]:
    if not override.text or _is_quoted(override):
        return [_text_of(override)] if override.text else []
    return [part.strip() for part in override.text.split(",")]


def _did_you_mean(word: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word[:60], known, n=1) if isinstance(word, str) else []
    return f"; did you mean {close[0]}?" if close else ""
