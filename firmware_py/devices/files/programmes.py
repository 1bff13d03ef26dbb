"""Programmes of therapy in YAML files: those that come with the box, and those of a folder of the user's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import kelly_edge
from firmware_py.settings import Settings
from kelly_edge.config_values import did_you_mean
from kelly_edge.contract import PROGRAMMES
from kelly_edge.emotion.programme import NAME, Programme, built_in, programme_from
from kelly_edge.errors import ConfigError
from kelly_edge.shared.printed import printed
from kelly_edge.shared.yaml_file import YamlFault, read_entries

SHIPPED: Final = Path(kelly_edge.__file__).with_name("programmes")
SUFFIX: Final = ".yaml"


def names_in(folder: Path) -> list[str]:
    """Names of the programmes in a folder, sorted; none where it cannot be read."""
    try:
        found = [path.stem for path in folder.iterdir() if path.suffix == SUFFIX]
    except (OSError, ValueError):
        return []
    return sorted(name for name in found if NAME.fullmatch(name) and name not in PROGRAMMES)


def programme_names(own: str = "") -> list[str]:
    """Every programme there is: built in, coming with the box as a file, in the folder ``own``."""
    names = [*PROGRAMMES, *names_in(SHIPPED), *(names_in(Path(own)) if own else [])]
    return list(dict.fromkeys(names))


def read_programme(path: Path) -> Programme:
    """The programme in a file.

    Raises
    ------
    ConfigError: the file cannot be read, is not YAML, or holds faults (all of them, one a line).
    """
    try:
        entries = read_entries(path, "programmes")
    except YamlFault as error:
        raise ConfigError(str(error)) from None
    return programme_from(entries, path.stem, printed(path.name))


def open_programme(name: str, settings: Settings) -> Programme:
    """A programme by name; one of the user's own comes before one of the box's.

    Raises
    ------
    ConfigError: there is none of that name, or its file holds a fault.
    """
    if name in PROGRAMMES:
        return built_in(settings.emotion)[PROGRAMMES.index(name)]
    own = settings.emotion.programmes_dir
    for folder in [*([Path(own)] if own else []), SHIPPED]:
        if name in names_in(folder):
            return read_programme(folder / f"{name}{SUFFIX}")
    known = programme_names(own)
    said = f"{printed(name)} is not one of {', '.join(known)}{did_you_mean(name, known)}"
    raise ConfigError(f"programme: {said}")


def open_programmes(settings: Settings) -> tuple[Programme, ...]:
    """The programmes of the settings as the knob counts them: those of ``contract.BuiltIn``, then the others.

    Raises
    ------
    ConfigError: a file holds a fault.
    """
    return tuple(open_programme(name, settings) for name in numbered(settings))


def numbered(settings: Settings) -> Sequence[str]:
    """The names of ``open_programmes``."""
    emotion = settings.emotion
    return tuple(dict.fromkeys((*PROGRAMMES, *emotion.programmes, emotion.programme)))
