"""``kelly-edge session list``, ``delete`` and ``mark``."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from firmware_py.commands.common import print_summary, settings_of
from firmware_py.commands.requests import mark
from firmware_py.devices.session.sessions import Glance, delete_session, find_kept, glances
from firmware_py.devices.session.store import sessions_folder
from kelly_edge.errors import SessionError
from kelly_edge.shared.printed import printed

EXIT_NOT_DONE: Final = 1
"""Chosen: what ``check`` ends with where it found a fault."""


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    return WORDS[args.what](args)


def _folder(args: argparse.Namespace) -> Path:
    return sessions_folder(os.environ, settings_of(args).runtime.state_dir)


def _list(args: argparse.Namespace) -> int:
    found = glances(_folder(args))
    if args.json:
        print(json.dumps([_as_dict(glance) for glance in found], indent=2))
        return 0
    if not found:
        print(f"no session is kept in {_folder(args)}", file=sys.stderr)
    else:
        print(f"{'name':<24}  {'begin':<16}  {'length':>8}  {'size':>8}  programme")
    for glance in found:
        programme = printed(glance.programme, 40)
        print(
            f"{glance.name:<24}  {glance.begin:<16}  {_length(glance.seconds):>8}  "
            f"{glance.n_bytes / 1e6:>5.1f} MB  {programme}"
        )
    return 0


def _as_dict(glance: Glance) -> dict[str, Any]:
    return {
        "name": glance.name,
        "begin": glance.begin,
        "seconds": glance.seconds,
        "bytes": glance.n_bytes,
        "programme": glance.programme,
    }


def _length(seconds: float) -> str:
    minutes = round(seconds / 60.0)
    return f"{minutes // 60}:{minutes % 60:02} h" if minutes >= 60 else f"{seconds / 60.0:.1f} min"


def _delete(args: argparse.Namespace) -> int:
    folder = _folder(args)
    find_kept(args.session, folder)
    if not args.yes:
        if not sys.stdin.isatty():
            raise SessionError(f"delete {printed(args.session, 80)}? Nobody is there to ask: give --yes")
        if input(f"Delete session {args.session} for good? Type its name again: ").strip() != args.session:
            print("kelly-edge: nothing was deleted", file=sys.stderr)
            return EXIT_NOT_DONE
    n_parts = delete_session(args.session, folder)
    print_summary({"deleted": args.session, "n_files": n_parts}, args.json)
    return 0


def _mark(args: argparse.Namespace) -> int:
    print_summary(mark(args.config, args.set, args.text), args.json)
    return 0


WORDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "list": _list,
    "delete": _delete,
    "mark": _mark,
}
