"""``kelly-edge init``: a folder with settings to start from."""

import argparse
from typing import Final

from firmware_py.commands.common import print_summary
from firmware_py.commands.examples import example_text
from firmware_py.devices.files.config_file import settings_text
from firmware_py.devices.files.output import OutputFolder
from kelly_edge.errors import OutputError
from kelly_edge.shared.printed import printed

FILE: Final = "config.yaml"


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    place = args.folder / FILE
    if place.exists() or place.is_symlink():
        name = printed(str(place), 300)
        raise OutputError(f"{name} is there already; name another folder, or move it away")
    text = settings_text() if args.example is None else example_text(args.example)
    with OutputFolder(args.folder, [FILE]) as output:
        output.path(FILE).write_text(text, encoding="utf-8")
    print_summary({"files": [str(place)], "next": f"kelly-edge check {place}"}, args.json)
    return 0
