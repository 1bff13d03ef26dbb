"""A settings file and the overrides of the command line: YAML text to entries, then to ``Settings``.

A plain scalar means what it means in YAML 1.2's core schema, so that ``no`` and ``010`` hold no
surprise. Anchors, aliases and tags are refused: settings need none, and they can make a small file endless.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml

from kelly_edge.config import Settings, printed, rules
from kelly_edge.config_check import Entry, Override, settings_from
from kelly_edge.errors import ConfigError

MAX_BYTES: Final = 1_000_000
_PLAIN: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (re.compile(r"(?:null|Null|NULL|~|)"), lambda text: None),
    (re.compile(r"(?:true|True|TRUE|false|False|FALSE)"), lambda text: text.lower() == "true"),
    # Longer numbers are no setting, and Python refuses thousands of digits.
    (re.compile(r"[-+]?[0-9]{1,400}"), int),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: float("nan")),
)
"""What a plain scalar may be, first match first; anything else is a text."""
_UNTAGGED: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


def load_settings(path: Path | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a file (None: built-in defaults) under ``section.name=value`` overrides.

    Raises
    ------
    ConfigError: the file cannot be read, is not YAML, or holds faults (all of them, one a line).
    """
    entries = read_entries(path) if path is not None else ()
    settings = _at_home(settings_from(entries, [read_override(text) for text in overrides]))
    metrics = settings.session.prometheus
    if path is not None and metrics and _is_same(Path(metrics), path):
        raise ConfigError(f"session.prometheus: is the settings file itself ({metrics}); choose another file")
    return settings


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
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot read settings: {why} ({path}); give an existing YAML file") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"settings larger than {MAX_BYTES:,} bytes ({path}); give a settings file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"settings are not UTF-8 text: byte {error.start} ({path}); save them as UTF-8"
        ) from None
    return entries_from(text, path.name)


def entries_from(text: str, name: str) -> tuple[Entry, ...]:
    """The sections in YAML ``text``; ``name`` is the file's in messages."""
    try:
        # BaseLoader leaves every plain scalar a text; _PLAIN says what it means.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is None:
            return ()
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"settings are not sections of key: value ({name} line {_line(root)})")
        return _Reader(name).section(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = " ".join((error.problem or error.context or "not YAML").split())
        raise ConfigError(f"not YAML: {problem} ({name} line {line}); correct that line") from None
    except RecursionError:
        raise ConfigError(f"settings nested too deeply ({name}); sections hold plain settings") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets bad escapes and control characters out as these.
        problem = " ".join(str(error).split())[:120]
        raise ConfigError(f"not YAML: {problem} ({name}); correct the text") from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Nodes to entries; meets every node once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._met: set[int] = set()

    def section(self, node: yaml.MappingNode) -> tuple[Entry, ...]:
        """The entries of a mapping, duplicates included."""
        self._meet(node)
        entries = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"a key is not a text ({self._place(key)}); write key: value")
            self._meet(key)
            entries.append(Entry(str(key.value), self._value(value), self._place(key)))
        return tuple(entries)

    def _value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.section(node)
        self._meet(node)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item) for item in node.value]
        text = str(node.value)
        if isinstance(node, yaml.ScalarNode) and node.style is None:
            for pattern, read in _PLAIN:
                if pattern.fullmatch(text):
                    return read(text)
        return text

    def _meet(self, node: yaml.Node) -> None:
        if id(node) in self._met:
            raise ConfigError(f"an alias (*name) is used ({self._place(node)}); write the value out")
        if node.tag not in _UNTAGGED:
            raise ConfigError(f"a tag (!name) is used ({self._place(node)}); write a plain value")
        self._met.add(id(node))

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name} line {_line(node)}"
