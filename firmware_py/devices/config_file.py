"""A settings file: YAML text (``kelly_edge_text.yaml_file``) to ``Settings``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kelly_edge.config import Settings
from kelly_edge.config_check import settings_from
from kelly_edge.errors import ConfigError
from kelly_edge_text import yaml_file
from kelly_edge_text.entries import Entry
from kelly_edge_text.yaml_file import YamlFault

WHAT: Final = "settings"


def load_settings(path: Path | None, overrides: Sequence[str] = ()) -> Settings:
    """The settings of a file (None: built-in defaults) under ``section.name=value`` overrides.

    Raises
    ------
    ConfigError: the file cannot be read, is not YAML, or holds faults (all of them, one a line).
    """
    return settings_from(read_entries(path) if path is not None else (), overrides)


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
