"""``kelly-edge report``: draw a session, the emotion over the piano roll."""

import argparse
import os
import sys

from firmware_py.commands.common import print_summary, settings_of
from firmware_py.commands.picture import draw_session
from firmware_py.devices.session.store import sessions_folder


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    session = args.session
    if session is None:
        session = sessions_folder(os.environ, settings_of(args).runtime.state_dir)
    drawn = draw_session(session, args.out)
    if drawn.remark:
        print(f"kelly-edge: {drawn.remark}", file=sys.stderr)
    if args.json:
        print_summary({"picture": str(drawn.path)}, True)
    else:
        print(drawn.path)
    return 0
