"""``kelly-edge place reset``: the box stands elsewhere now, and forgets what it learned of the place."""

import argparse

from firmware_py.commands.common import print_summary
from firmware_py.commands.requests import forget_place


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    print_summary(forget_place(args.config, args.set), args.json)
    return 0
