"""What the sub-commands share: settings from the command line, summaries on stdout, progress on stderr."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Final

from firmware_py.devices.files.config_file import load_settings
from firmware_py.devices.files.kept import state_root
from firmware_py.settings import Settings
from kelly_edge.errors import ConfigError
from kelly_edge.shared.printed import printed

LONGEST_VALUE: Final = 1_000
"""Characters of a value that are shown. Chosen: as ``errors.LONGEST_LINE``."""


def settings_of(args: argparse.Namespace, more: Sequence[str] = ()) -> Settings:
    """The settings of ``--config`` and ``--set``, and ``more`` overrides."""
    read: Settings | None = None if more else getattr(args, "settings", None)
    return read or load_settings(args.config, [*args.set, *more])


def become_owner(args: argparse.Namespace) -> None:
    """Root, for a command that reads or writes what the service keeps: be the service's user from here on.

    The settings are read before, for their file may be root's alone. With a fault they name no owner; the
    command itself tells of it.
    """
    from firmware_py.devices.files.owner import become_owner_of
    from firmware_py.devices.files.run_dir import run_dir_of

    with suppress(ConfigError):
        args.settings = settings_of(args)
        runtime = args.settings.runtime
        become_owner_of(state_root(runtime.state_dir, os.environ), run_dir_of(runtime.run_dir))


def tell_unit_idle() -> bool:
    """Tell systemd that all is done, as no setting asks for this unit; False where it did not start this."""
    from firmware_py.devices.systemd.service_manager import READY, ServiceManager

    manager = ServiceManager(os.environ)
    manager.tell(READY)
    manager.close()
    return "NOTIFY_SOCKET" in os.environ


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """The summary on stdout; what a person should know of it (``notices``) on stderr too."""
    for notice in summary.get("notices", ()):
        print(f"kelly-edge: {notice}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary, indent=2, sort_keys=True))
        return
    for key, value in summary.items():
        if key != "notices":
            print(f"{key:>22}  {printed(str(value), LONGEST_VALUE)}")


def sources_of(recording: Path, settings: Settings, config: Path | None) -> list[Path]:
    """All files that an offline command reads, which no result may overwrite."""
    from firmware_py.runtimes.artefacts import files_in_use

    return [recording, *([config] if config else []), *files_in_use(*settings.runtime.model_set)]


class Bar(AbstractContextManager["Bar"]):
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, what: str) -> None:
        # Here: `kelly-edge panic` has no time to load it.
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=1.0)

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, share: float) -> None:
        self._progress.update(self._task, completed=share)
