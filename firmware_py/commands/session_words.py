"""The words of ``kelly-edge session`` that concern sessions that are kept, and marks in the one that runs."""

import argparse
from collections.abc import Callable
from typing import Any

from kelly_edge.shared.command_line import path_argument

NAME = "name of the session, as list says it"


def add_session_words(words: Any, add_common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add ``list``, ``export``, ``delete`` and ``mark`` to the sub-parsers ``words``."""

    def word(name: str, text: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = words.add_parser(name, description=text, help=text)
        return sub

    sub = word("list", "List the sessions that are kept: name, begin, length, size, programme.")
    sub.set_defaults(module="sessions", as_owner=True)
    add_common(sub)
    sub = word("export", "Write a session as MIDI, tables and report into a folder.")
    sub.add_argument("session", type=path_argument, help=f"{NAME}, or as for report")
    sub.add_argument("--out", type=path_argument, required=True, help="folder for the files")
    sub.set_defaults(module="export")
    add_common(sub)
    sub = word("delete", "Delete a session that is kept, for good.")
    sub.add_argument("session", help=f"{NAME}: the whole of it")
    sub.add_argument("--yes", action="store_true", help="do not ask")
    sub.set_defaults(module="sessions", as_owner=True)
    add_common(sub)
    sub = word("mark", "Mark this moment in the log of the session that runs.")
    sub.add_argument("text", nargs="?", default="", help="what to say of it; no names")
    sub.set_defaults(module="sessions", as_owner=False)
    add_common(sub)
