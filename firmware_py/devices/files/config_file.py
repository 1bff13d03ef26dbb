"""A settings file and the overrides of the command line: YAML entries, then ``Settings``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.files.programmes import programme_names
from firmware_py.settings import Settings, rules
from firmware_py.settings_check import Override, settings_from
from kelly_edge.config_rules import Value
from kelly_edge.errors import ConfigError
from kelly_edge.shared import yaml_file
from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed
from kelly_edge.shared.yaml_file import YamlFault

WHAT: Final = "settings"


def load_settings(path: Path | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a file (None: built-in defaults) under ``section.name=value`` overrides.

    Raises
    ------
    ConfigError: the file cannot be read, is not YAML, or holds faults (all of them, one per line).
    """
    entries = read_entries(path) if path is not None else ()
    settings = _at_home(settings_from(entries, [read_override(text) for text in overrides], _programmes_in))
    metrics = settings.session.prometheus
    if path is not None and metrics and _is_same(Path(metrics), path):
        raise ConfigError(f"session.prometheus: is the settings file itself ({metrics}); choose another file")
    return settings


def _programmes_in(folder: str) -> Sequence[str]:
    return programme_names(_expanded(folder, "emotion.programmes_dir"))


def read_override(text: str) -> Override:
    """``section.name=value`` with the value read as in a settings file."""
    path, equals, value = text.partition("=")
    path, value = path.strip(), value.strip()
    place = f"--set {printed(text)}"
    if not equals:
        return Override(path, None, None, "", place)
    try:
        return Override(path, value, value_from(value), "", place)
    except ConfigError as error:
        return Override(path, value, None, str(error), place)


def value_from(text: str) -> Any:
    """What the YAML ``text`` of one value means.

    Raises
    ------
    ConfigError: it is no YAML, or holds an anchor, an alias or a tag.
    """
    if len(text.splitlines()) > 1:
        raise ConfigError("a line break is in the value; write it on one line")
    entries = entries_from(f"value: {text}", "value")
    return entries[0].value


def _at_home(settings: Settings) -> Settings:
    """``~`` in a path is the home folder, as in a shell."""
    sections: dict[str, Any] = {}
    for section, name, rule, _ in rules():
        values = getattr(settings, section)
        if rule.is_path:
            sections.setdefault(section, {})[name] = _expanded(getattr(values, name), f"{section}.{name}")
    for name in ("outputs", "inputs"):
        patterns = tuple(
            f"{RAW}{_expanded(p.removeprefix(RAW), f'midi.{name}')}" if p.startswith(RAW) else p
            for p in getattr(settings.midi, name)
        )
        sections.setdefault("midi", {})[name] = patterns
    changed = {name: replace(getattr(settings, name), **values) for name, values in sections.items()}
    return replace(settings, **changed)


RAW: Final = "raw:"
"""Before the path of a device file among the MIDI patterns."""


def _expanded(text: str, path: str) -> str:
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        raise ConfigError(f"{path}: {printed(text)} has no home folder; write the path out") from None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The sections of a settings file, unchecked."""
    try:
        return yaml_file.read_entries(path, WHAT)
    except YamlFault as error:
        raise ConfigError(str(error)) from None


def entries_from(text: str, name: str) -> tuple[Entry, ...]:
    """The sections in YAML ``text``; ``name`` is the file's in messages."""
    try:
        return yaml_file.entries_from(text, name, WHAT)
    except YamlFault as error:
        raise ConfigError(str(error)) from None


HEAD: Final = """\
# Kelly Edge: every setting at its default. Each line says what the setting means, its limits and its unit.
# Leave out what you do not change. `kelly-edge check config.yaml` reports every fault of this file at once.
"""


def settings_text() -> str:
    """``config.yaml``: every setting at its default, with its meaning, limits and unit beside it."""
    lines, last = [HEAD.rstrip()], ""
    for section, name, rule, default in rules():
        if section != last:
            lines += ["", f"{section}:"]
            last = section
        lines.append(f"  {name}: {setting_text(default)}  # {rule.documentation}")
    return "\n".join(lines) + "\n"


def setting_text(value: Value) -> str:
    """``value`` as YAML that is read back as the same."""
    if isinstance(value, tuple):
        return "[" + ", ".join(v if v.isidentifier() else f'"{v}"' for v in value) + "]"
    if isinstance(value, str):
        return value if value.isidentifier() else f'"{value}"'
    return str(value).lower()
