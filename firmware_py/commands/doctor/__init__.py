"""``kelly-edge doctor``: is this machine fit to play live? A table of checks, each with its remedy.

A check is a pure function of a ``Machine``: a root folder, the settings and a few questions no file
answers. It starts no program and changes nothing.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from firmware_py.commands.doctor import connections, installation, kernel, midi
from firmware_py.commands.doctor.machine import FAULT, OK, Check, Machine
from firmware_py.devices.files.config_file import load_settings
from kelly_edge.errors import ConfigError
from kelly_edge.shared.printed import printed

CHECKS: tuple[Check, ...] = (*installation.CHECKS, *connections.CHECKS, *midi.CHECKS, *kernel.CHECKS)
COLOURS = {"ok": "green", "note": "dim", "warning": "yellow", "fault": "bold red"}
LONGEST_FOUND: Final = 1_000
"""Characters of a finding that are shown. Chosen: as ``errors.LONGEST_LINE``."""
PIPED_WIDTH = 160
"""Columns where there is no terminal to ask. Chosen: few rows of the table wrap."""


def examine(machine: Machine, checks: Sequence[Check] = CHECKS) -> list[dict[str, str]]:
    """A row a check: ``check``, ``level``, ``found``, and ``remedy`` where the level is not ``ok``."""
    rows = []
    for check in checks:
        finding = check.look(machine)
        remedy = "" if finding.level == OK else check.remedy
        found = printed(finding.text, LONGEST_FOUND)
        rows.append({"check": check.name, "level": finding.level, "found": found, "remedy": remedy})
    return rows


def this_machine(settings_file: Path | None, overrides: Sequence[str]) -> Machine:
    """The machine this runs on; settings that are wrong become a finding."""
    machine = Machine()
    try:
        return replace(machine, settings=load_settings(settings_file, overrides))
    except ConfigError as error:
        return replace(machine, config_faults=str(error))


def doctor(settings_file: Path | None, overrides: Sequence[str], as_json: bool) -> int:
    """Print the findings; 1 where something does not work, 0 otherwise."""
    rows = examine(this_machine(settings_file, overrides))
    n_faults = sum(row["level"] == FAULT for row in rows)
    if as_json:
        print(json.dumps({"faults": n_faults, "checks": rows}, indent=2))
    else:
        _print(rows)
    return 1 if n_faults else 0


def _print(rows: list[dict[str, str]]) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    table = Table(title="Doctor", title_justify="left")
    for name in ("check", "", "found", "remedy"):
        table.add_column(name, overflow="fold")
    for row in rows:
        # As Text: findings hold names from outside, and brackets in them are no markup.
        cells = (row["check"], row["level"], row["found"], row["remedy"])
        table.add_row(*map(Text, cells), style=COLOURS[row["level"]])
    console.print(table)
    counts = {level: sum(row["level"] == level for row in rows) for level in COLOURS}
    console.print(", ".join(f"{n} {level}" for level, n in counts.items() if n))


def run(args: argparse.Namespace) -> int:
    """The sub-command."""
    return doctor(args.config, args.set, args.json)
