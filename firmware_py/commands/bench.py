"""``kelly-edge bench``: measure what every stage costs on this machine, and keep the faster runtime."""

import argparse

from firmware_py.commands.common import settings_of


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    # Loads numba, which keeps compiled functions where the user may write: not before root became the owner.
    from firmware_py.commands.costs import bench

    return bench(settings_of(args), args.seconds, args.json, args.store)
