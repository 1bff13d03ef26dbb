"""``kelly-edge page``: a page in a browser that shows and guides the running box, and OSC.

Both are doors to the network, which no other process of the box has: so they live in one process, without
priority and apart from the sound, started only where a setting asks for it. ``page pin`` shows the PIN.
"""

import argparse
import json
import os
from typing import Final

from firmware_py.commands.common import print_summary, settings_of, tell_unit_idle
from firmware_py.devices.box_packages import need_packages
from firmware_py.devices.files.run_dir import PAGE_FILE, run_dir_of
from firmware_py.settings import Settings
from kelly_edge.errors import ConfigError, DeviceError

NICENESS: Final = 10
"""Chosen: as the monitor's."""


def is_wanted(settings: Settings) -> bool:
    """Whether a setting asks for the page or for OSC."""
    return bool(settings.page.bind or settings.osc.bind or settings.osc.send_to)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    if args.what == "pin":
        return _pin(args)
    if not is_wanted(settings_of(args)):
        if tell_unit_idle():
            return 0
        raise ConfigError("page.bind: is empty, so no page is shown; set it, for example to 127.0.0.1:8080")
    need_packages(("starlette", "uvicorn", "pythonosc"), "page")
    import asyncio

    from firmware_py.commands.page.server import serve
    from firmware_py.commands.page.wires import wires_of
    from firmware_py.wiring.live import SUPERVISOR, die_with

    die_with(os.environ.get(SUPERVISOR))
    if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    return asyncio.run(serve(wires_of(args)))


def _pin(args: argparse.Namespace) -> int:
    run_dir = run_dir_of(settings_of(args).runtime.run_dir)
    try:
        found = json.loads((run_dir / PAGE_FILE).read_text(encoding="utf-8"))
        # One that was killed leaves its file.
        os.kill(int(found["pid"]), 0)
        summary = {"page": str(found["url"]), "pin": str(found["pin"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise DeviceError(
            f"no page is shown by the box in {run_dir}; set page.bind and start the box again"
        ) from None
    print_summary(summary, args.json)
    return 0
