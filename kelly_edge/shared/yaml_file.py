"""A YAML file to entries with line numbers: the one reader of ``config.yaml`` and ``hosts.yaml``.

A plain scalar is read by YAML 1.2's core schema, so that ``no`` and ``010`` hold no
surprise. A key is always a text. Nothing is lost: a key written twice is two entries, for the caller to
refuse. Anchors, aliases and tags are refused: no file of ours needs them, and they can make a small file
endless.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from kelly_edge.shared.entries import Entry
from kelly_edge.shared.printed import printed

MAX_BYTES: Final = 1_000_000
"""Chosen: far above any settings of ours, far below what a small box's memory feels."""
_NULL: Final = re.compile(r"(?:null|Null|NULL|~|)")
_PLAIN: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (_NULL, lambda text: None),
    (re.compile(r"(?:true|True|TRUE|false|False|FALSE)"), lambda text: text.lower() == "true"),
    # Longer numbers are no setting, and Python refuses thousands of digits.
    (re.compile(r"[-+]?[0-9]{1,400}"), int),
    (re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(?:inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(?:nan|NaN|NAN)"), lambda text: float("nan")),
)
"""What a plain scalar may be, first match first; anything else is a text."""
_AS_TEXT: Final = _PLAIN[:1]
"""For callers that check every value themselves: a scalar is nothing or a text, ``010`` stays ``010``."""
_UNTAGGED: Final = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


class YamlFault(Exception):
    """A file with a fault: one line with the fault, the place and the remedy."""


def read_entries(path: Path, what: str, as_text: bool = False) -> tuple[Entry, ...]:
    """The sections of a file, unchecked.

    Parameters
    ----------
    what: the file's content in messages: ``settings``.
    as_text: leave scalars as they are written, instead of as numbers and truth values.

    Raises
    ------
    YamlFault: it cannot be read or is no YAML of plain sections, lists and scalars.
    """
    shown = printed(str(path), 300)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or printed(str(error))
        raise YamlFault(f"cannot read {what}: {why} ({shown}); give an existing YAML file") from None
    if len(data) > MAX_BYTES:
        raise YamlFault(f"{what} larger than {MAX_BYTES:,} bytes ({shown}); give a file of {what}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFault(
            f"{what} are not UTF-8 text: byte {error.start} ({shown}); save them as UTF-8"
        ) from None
    return entries_from(text, printed(path.name), what, as_text)


def entries_from(text: str, name: str, what: str, as_text: bool = False) -> tuple[Entry, ...]:
    """The sections in YAML ``text``; ``name`` is the file's in messages. See ``read_entries``."""
    try:
        # BaseLoader leaves every plain scalar a text; the tables above say what it means.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is None:
            return ()
        if not isinstance(root, yaml.MappingNode):
            raise YamlFault(f"{what} are not sections of key: value ({name} line {_line(root)})")
        return _Reader(name, _AS_TEXT if as_text else _PLAIN).section(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = printed(" ".join((error.problem or error.context or "not YAML").split()), 200)
        raise YamlFault(f"not YAML: {problem} ({name} line {line}); correct that line") from None
    except RecursionError:
        raise YamlFault(f"{what} nested too deeply ({name}); sections hold plain values") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets bad escapes and control characters out as these.
        problem = printed(" ".join(str(error).split()), 120)
        raise YamlFault(f"not YAML: {problem} ({name}); correct the text") from None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Nodes to entries; meets every node once."""

    def __init__(self, name: str, scalars: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]) -> None:
        self._name = name
        self._scalars = scalars
        self._met: set[int] = set()

    def section(self, node: yaml.MappingNode) -> tuple[Entry, ...]:
        """The entries of a mapping, duplicates included."""
        self._meet(node)
        entries = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlFault(f"a key is not a text ({self._place(key)}); write key: value")
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
            for pattern, read in self._scalars:
                if pattern.fullmatch(text):
                    return read(text)
        return text

    def _meet(self, node: yaml.Node) -> None:
        if id(node) in self._met:
            raise YamlFault(f"an alias (*name) is used ({self._place(node)}); write the value out")
        if node.tag not in _UNTAGGED:
            raise YamlFault(f"a tag (!name) is used ({self._place(node)}); write a plain value")
        self._met.add(id(node))

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name} line {_line(node)}"
