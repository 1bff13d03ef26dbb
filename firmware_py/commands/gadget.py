"""``kelly-edge gadget up|down|status``: be a USB MIDI instrument of a computer, or stop being one."""

import argparse
from pathlib import Path

from firmware_py.commands.common import print_summary, settings_of
from firmware_py.devices.machine.configfs import RealTree
from firmware_py.devices.machine.usb_gadget import Gadget, board_serial


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    root = Path("/")
    gadget = Gadget(RealTree(root), settings_of(args).gadget, board_serial(root))
    status = {"up": gadget.up, "down": gadget.down, "status": gadget.status}[args.what]()
    print_summary(
        {
            "gadget": f"bound to {status.controller}" if status.is_up else "not bound",
            "functions": ", ".join(status.functions) or "none",
            "host": status.state or "none",
        },
        args.json,
    )
    return 0 if args.what != "status" or status.is_up else 1
