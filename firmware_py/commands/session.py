"""``kelly-edge session start``: begin a new session on the running box; its programme starts again."""

import argparse

from firmware_py.commands.common import print_summary
from firmware_py.commands.requests import begin_session


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    print_summary(begin_session(args.config, args.set), args.json)
    return 0
