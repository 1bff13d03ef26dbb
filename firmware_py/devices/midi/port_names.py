"""Which of the MIDI ports there are a pattern of ``midi.outputs`` or ``midi.inputs`` means.

A pattern that is the name of a port means that port, whatever characters it holds; ALSA's client and
port numbers, which change from one boot to the next, may be left out. Only where no port has that name is it
read as a pattern of file names, first with brackets that stand for themselves, as in ``*Synth [A]*``.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from kelly_edge.shared.printed import printed

NOT_INSTRUMENTS: Final = ("Midi Through*", "kelly_edge*")
"""ALSA's own loop, and our own ports: what the box sends must not come back."""
WIRELESS: Final = "Kelly Edge wireless"
"""The port of `kelly-edge wireless`."""
RAW, JACK, ALSA = "raw:", "jack:", "alsa:"
ANY: Final = "*"
MOST_NAMED: Final = 20
"""Ports that a line names. Chosen: a few lines of a terminal."""
_NUMBERS: Final = re.compile(r"\s\d+:\d+$")


def stable_name(name: str) -> str:
    """A port's name without ALSA's client and port numbers."""
    return _NUMBERS.sub("", name)


def split_pattern(pattern: str) -> tuple[str, str]:
    """``raw``, ``jack`` or ``alsa``, and the pattern without that prefix; ALSA's needs none."""
    for prefix in (RAW, JACK, ALSA):
        if pattern.startswith(prefix):
            return prefix[:-1], pattern.removeprefix(prefix)
    return ALSA[:-1], pattern


def instruments(names: Sequence[str]) -> list[str]:
    """The ports that may be opened."""
    return [name for name in names if not any(fnmatchcase(name, own) for own in NOT_INSTRUMENTS)]


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """The ports among ``names`` that ``pattern`` means, in their order."""
    if named := [name for name in names if pattern in (name, stable_name(name))]:
        return named
    plain_brackets = pattern.replace("[", "[[]")
    found = [name for name in names if fnmatchcase(name, plain_brackets)]
    return found or [name for name in names if fnmatchcase(name, pattern)]


def no_match(kind: str, pattern: str, names: Sequence[str], setting: str) -> str:
    """The line that says that ``pattern`` means no port, and which there are."""
    there = ", ".join(printed(stable_name(name)) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"no {kind} matches {printed(pattern)}; there {'is' if len(names) == 1 else 'are'} "
        f"{there or 'none'}{more}; connect it or set {setting}"
    )
