"""``kelly-edge demo``: play to the recording that comes with Kelly Edge, and draw a picture of it."""

import argparse
from pathlib import Path

from firmware_py.commands.common import Bar, print_summary, settings_of
from firmware_py.commands.play import play


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    with Bar("playing the demo") as bar:
        settings, config = settings_of(args), args.config
        summary = play(demo_recording(), args.out, settings, bar, picture=True, with_mix=True, config=config)
    print_summary(summary, args.json)
    return 0


def demo_recording() -> Path:
    """The recording that ships with the program (made by ``models.demo_recording``)."""
    return Path(__file__).resolve().parents[1] / "demo" / "sad_to_happy.flac"
