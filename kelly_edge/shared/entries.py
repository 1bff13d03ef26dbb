"""What a YAML file holds, with the place of each entry for messages."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One ``key: value`` of a YAML file and where it stands.

    ``value`` is None, bool, int, float, str, a list of those, or a tuple of Entry (a section).
    """

    key: str
    value: Any
    place: str
