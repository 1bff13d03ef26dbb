"""``kelly-edge report``: tell a session, in a page of sentences and charts or in a picture alone."""

import argparse
import os
import sys

from firmware_py.commands.common import print_summary, settings_of
from firmware_py.commands.picture import draw_session
from firmware_py.devices.session.sessions import find_named
from firmware_py.devices.session.store import sessions_folder
from firmware_py.report import ENDINGS, write_report


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    session = args.session
    if session is None or not os.path.lexists(session):
        folder = sessions_folder(os.environ, settings_of(args).runtime.state_dir)
        session = folder if session is None else find_named(session, folder).parts[0]
    is_page = args.out is not None and args.out.suffix.lower() in ENDINGS
    made = write_report(session, args.out) if is_page else draw_session(session, args.out)
    if made.remark:
        print(f"kelly-edge: {made.remark}", file=sys.stderr)
    if args.json:
        print_summary({"report" if is_page else "picture": str(made.path)}, True)
    else:
        print(made.path)
    return 0
