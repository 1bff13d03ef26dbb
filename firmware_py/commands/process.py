"""``kelly-edge audio``, ``dsp`` and so on: run one process of the box."""

import argparse
import os

from firmware_py.commands.common import settings_of


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    # Read when numpy is loaded: a pool of threads would cost memory, and their stacks would be locked.
    for pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
    from firmware_py.wiring.live import run_process

    return run_process(args.command, settings_of(args))
