"""``kelly-edge audio``, ``dsp`` and so on: run one process of the box."""

import argparse

from firmware_py.commands.common import settings_of


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    from firmware_py.wiring.live import run_process

    return run_process(args.command, settings_of(args))
