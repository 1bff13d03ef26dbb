"""``kelly-edge panic`` and ``resume``: silence the running box until somebody resumes, and end it."""

import argparse

from firmware_py.commands.common import print_summary
from firmware_py.commands.requests import ask_for_panic


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    print_summary(ask_for_panic(args.config, args.set, is_on=args.command == "panic"), args.json)
    return 0
