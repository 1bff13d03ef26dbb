"""``kelly-edge compile``: compile the functions of this release ahead, as a unit does."""

import argparse

from firmware_py import compiled
from firmware_py.commands.common import print_summary, settings_of
from firmware_py.wiring.warm import compile_functions


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    folder = compiled.release_folder()
    if compiled.is_compiled(folder):
        print_summary({"compiled": "was done for this release and processor"}, args.json)
        return 0
    compiled.begin(folder)
    compile_functions(settings_of(args))
    print_summary({"compiled": f"{compiled.finish(folder)} functions in {folder}"}, args.json)
    return 0
