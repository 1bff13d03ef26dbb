"""The programmes of a session as its log's header holds them: a replay needs no file of the box's.

Kept are names and phases, as in a programme's file; not its words for people, which may name somebody.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from firmware_py.devices.files.programmes import numbered
from firmware_py.settings import Settings
from kelly_edge.contract import PROGRAMMES
from kelly_edge.emotion.programme import (
    FIELDS,
    HAS_TARGET,
    TEXTS,
    Phase,
    Programme,
    built_in,
    programme_from,
)
from kelly_edge.errors import ConfigError, SessionError
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed

HEADER: Final = "header"
"""The place of what it holds, in messages."""
NOT_KEPT: Final = "-"
"""For a text that is not kept."""


def as_kept(programmes: Sequence[Programme]) -> list[dict[str, Any]]:
    """Those of ``programmes`` that the settings do not define, as JSON holds them."""
    return [
        {"name": programme.name, "phases": [_phase(phase) for phase in programme.phases]}
        for programme in programmes
        if programme.name not in PROGRAMMES
    ]


def _phase(phase: Phase) -> dict[str, Any]:
    usual = Phase(phase.mode)
    given = {name: getattr(phase, name) for name in FIELDS}
    needed = ("mode", *(("valence", "arousal") if phase.mode in HAS_TARGET else ()))
    return {name: v for name, v in given.items() if name in needed or v != getattr(usual, name)}


def kept_programmes(about: Mapping[str, Any], settings: Settings) -> tuple[Programme, ...]:
    """The programmes of a session with the header ``about``, made with ``settings``, as the knob counts them.

    Raises
    ------
    SessionError: one is missing or damaged.
    """
    kept = about.get("programmes")
    found = {}
    for programme in built_in(settings.emotion):
        found[programme.name] = programme
    for data in kept if isinstance(kept, list) else []:
        if isinstance(data, dict) and isinstance(name := data.get("name"), str) and name not in PROGRAMMES:
            found[name] = _read(name, data)
    for name in numbered(settings):
        if name not in found:
            raise SessionError(f"the session log's header does not hold programme {printed(name, 40)}")
    return tuple(found[name] for name in numbered(settings))


def _read(name: str, data: Mapping[str, Any]) -> Programme:
    texts = [Entry(text, NOT_KEPT, HEADER) for text in TEXTS if text not in data]
    try:
        return programme_from([*texts, *_entries(data)], name, HEADER)
    except ConfigError as error:
        fault = str(error).splitlines()[0]
        raise SessionError(f"the session log's programme {printed(name, 40)} is damaged: {fault}") from None


def _entries(data: Mapping[str, Any]) -> tuple[Entry, ...]:
    return tuple(Entry(key, _value(value), HEADER) for key, value in data.items())


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _entries(value)
    if isinstance(value, list):
        return [_value(item) for item in value]
    return value
