"""``kelly-edge session start|stop|status``: begin a session on the running box, end it, or see it."""

import argparse

from firmware_py.commands.common import print_summary
from firmware_py.commands.requests import begin_session, end_session, session_status


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    if args.what == "start":
        summary = begin_session(args.config, args.set, args.programme or "", args.name, args.note)
    else:
        summary = (end_session if args.what == "stop" else session_status)(args.config, args.set)
    print_summary(summary, args.json)
    return 0
