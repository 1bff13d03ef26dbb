"""``kelly-edge completion``: a script that lets bash or zsh complete commands, options, settings, files."""

import argparse
from collections.abc import Iterator
from typing import Any, Final

import shtab

from firmware_py.settings import rules
from kelly_edge.shared.command_line import path_argument

SETTINGS: Final = "_kelly_edge_settings"
"""The function of the script that completes the argument of ``--set``."""


NO_SPACE: Final = """
# After the equals sign of a setting its value follows, and no space.
_kelly_edge() {
  _shtab_kelly_edge
  [[ ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null || :
}
complete -o bashdefault -F _kelly_edge kelly-edge"""


def _preamble(keys: str) -> Any:
    return {
        "bash": f'{SETTINGS}() {{ compgen -W "{keys}" -- "$1"; }}',
        "zsh": f'{SETTINGS}() {{ compadd -S "" -- {keys} }}',
    }


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every action of ``parser`` and of its sub-commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _actions(sub)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """What ``shell`` sources to complete the command line of ``parser``."""
    for action in _actions(parser):
        complete: Any = None
        if action.type is path_argument:
            complete = shtab.FILE
        elif "--set" in action.option_strings:
            complete = {"bash": SETTINGS, "zsh": SETTINGS}
        if complete:
            # Where shtab looks for it.
            vars(action)["complete"] = complete
    keys = " ".join(f"{section}.{name}=" for section, name, *_ in rules())
    text = str(shtab.complete(parser, shell=shell, preamble=_preamble(keys)))
    return text + NO_SPACE if shell == "bash" else text


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    print(script(args.parser, args.shell))
    return 0
