"""``kelly-edge silence``: release the notes that a ``midi`` process left when it died."""

import argparse

from firmware_py.board.map import file_board
from firmware_py.commands.common import print_summary, settings_of
from firmware_py.devices.files.run_dir import make_run_dir
from firmware_py.devices.session.log import warn
from firmware_py.wiring.guardian import silence_outputs


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    settings = settings_of(args)
    board = file_board(make_run_dir(settings.runtime.run_dir), settings.audio.period)
    n_notes = silence_outputs(board.ends("guardian"), settings.midi.outputs, warn)
    print_summary({"notes released": n_notes}, args.json)
    return 0
