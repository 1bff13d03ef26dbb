"""``kelly-edge monitor``: what the box hears, aims at and plays, and whether it is on time, in a terminal.

It reads cells and sysfs, at low priority, and writes nothing: the box plays as if it were not there.
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.live import Live

from firmware_py.commands.common import settings_of
from firmware_py.commands.monitor.reading import BUILT_IN, Reader, lives, nothing_runs, open_cells
from firmware_py.commands.monitor.screen import draw
from firmware_py.devices.files.programmes import open_programmes
from firmware_py.devices.files.run_dir import SERVICE_RUN_DIR
from firmware_py.devices.files.run_dir import run_dir_of as run_dir_of_setting
from firmware_py.settings import Settings
from kelly_edge.emotion.programme import Programme
from kelly_edge.errors import DeviceError

LOOK_EVERY_S: Final = 0.25
"""Chosen: four times per second a number can still be read."""
STEPS_WITHIN_S: Final = 1.0
"""A box in which no process has stepped for this time has stopped. Chosen: ten steps of the slowest
process."""
LOW_PRIORITY: Final = 10
"""Niceness. Chosen: half of what POSIX allows, so that looking disturbs nothing."""


def run_dir_of(settings: Settings, service: Path = SERVICE_RUN_DIR) -> Path:
    """Where the box of these settings would meet: as set, this user's, or the service's where it is alone."""
    return run_dir_of_setting(settings.runtime.run_dir, service)


def read_once(
    run_dir: Path,
    sleep: Callable[[float], None] = time.sleep,
    programmes: Sequence[Programme] = BUILT_IN,
) -> dict[str, Any]:
    """One reading of the box in ``run_dir``.

    Raises
    ------
    DeviceError: nothing runs there.
    """
    reader = Reader(open_cells(run_dir), programmes=programmes)
    reading = reader.read(0.0)
    waited_s = 0.0
    while not lives(reading):
        if waited_s >= STEPS_WITHIN_S:
            raise nothing_runs(run_dir)
        sleep(LOOK_EVERY_S)
        waited_s += LOOK_EVERY_S
        reading = reader.read(waited_s)
    # Who steps seldom, and just did, is asked once more.
    sleep(LOOK_EVERY_S)
    time_s, later = time.monotonic(), reader.read(waited_s + LOOK_EVERY_S)
    for name, process in later["processes"].items():
        process["is_alive"] |= reading["processes"][name]["is_alive"]
    # CLOCK_MONOTONIC: two readings tell how fast things are counted.
    return {"time_s": time_s, **later}


def monitor(settings: Settings, is_once: bool, as_json: bool) -> int:
    """Show the box until Ctrl-C; once with ``is_once``, ``as_json``, or where there is no terminal."""
    run_dir, console, programmes = run_dir_of(settings), Console(), open_programmes(settings)
    if as_json:
        print(json.dumps({"run_dir": str(run_dir), **read_once(run_dir, programmes=programmes)}, indent=2))
    elif is_once or not console.is_terminal:
        console.print(draw(read_once(run_dir, programmes=programmes), str(run_dir)))
    else:
        with contextlib.suppress(OSError):
            os.nice(LOW_PRIORITY)
        _watch(run_dir, console, programmes)
    return 0


def _watch(run_dir: Path, console: Console, programmes: Sequence[Programme]) -> None:
    reader = Reader(open_cells(run_dir), programmes=programmes)
    reading, lived_s = reader.read(time.monotonic()), time.monotonic()
    with (
        contextlib.suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False) as view,
    ):
        while True:
            now_s = time.monotonic()
            reading = reader.read(now_s)
            if lives(reading):
                lived_s = now_s
            elif now_s - lived_s > STEPS_WITHIN_S:
                # Its files are new when it starts again.
                with contextlib.suppress(DeviceError):
                    reader = Reader(open_cells(run_dir), programmes=programmes)
            title = str(run_dir) if now_s - lived_s <= STEPS_WITHIN_S else f"{run_dir}: stopped"
            view.update(draw(reading, title), refresh=True)
            time.sleep(LOOK_EVERY_S)


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    return monitor(settings_of(args), args.once, args.json)
