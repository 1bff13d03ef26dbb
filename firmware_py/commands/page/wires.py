"""What the page and OSC say to the box: the words of the command line, through the same rings."""

import argparse
import os
from pathlib import Path
from typing import Any

from firmware_py.commands.common import settings_of
from firmware_py.commands.requests import ask_for_panic, begin_session, end_session, mark, send, turn_knob
from firmware_py.devices.files.programmes import numbered
from firmware_py.devices.files.run_dir import run_dir_of
from firmware_py.devices.session.store import sessions_folder
from firmware_py.settings import Settings
from kelly_edge.config_values import did_you_mean
from kelly_edge.errors import ConfigError
from kelly_edge.shared.printed import printed


class Wires:
    """Words to the box of a command line; each raises the ``KellyError`` that the command would print.

    All but ``turn``, ``choose`` and ``hush`` wait for the box's answer, for ten seconds at most.
    """

    def __init__(self, config: Path | None, overrides: list[str], settings: Settings) -> None:
        self._config = config
        self._overrides = overrides
        self.settings = settings
        self.programmes = tuple(numbered(settings))

    @property
    def run_dir(self) -> Path:
        """Where the box meets."""
        return run_dir_of(self.settings.runtime.run_dir)

    @property
    def sessions(self) -> Path:
        """The folder of the sessions that are kept."""
        return sessions_folder(os.environ, self.settings.runtime.state_dir)

    @property
    def words(self) -> list[str]:
        """``--config`` and ``--set`` for another command."""
        config = [f"--config={self._config}"] if self._config else []
        return [*config, *(f"--set={override}" for override in self._overrides)]

    def hush(self) -> None:
        """Panic, without waiting for what becomes of it."""
        send(self.run_dir, "panic")

    def panic(self) -> dict[str, Any]:
        """Silence until somebody resumes."""
        self.hush()
        return ask_for_panic(self._config, self._overrides, is_on=True)

    def resume(self) -> dict[str, Any]:
        """End the silence of a panic."""
        return ask_for_panic(self._config, self._overrides, is_on=False)

    def start(self, programme: str = "", name: str = "", note: str = "") -> dict[str, Any]:
        """Begin a session."""
        return begin_session(self._config, self._overrides, programme, name, note)

    def stop(self) -> dict[str, Any]:
        """End the session."""
        return end_session(self._config, self._overrides)

    def mark(self, text: str) -> dict[str, Any]:
        """Mark this moment."""
        return mark(self._config, self._overrides, text)

    def turn(self, name: str, value: float) -> None:
        """Turn a knob."""
        turn_knob(self.run_dir, name, value)

    def choose(self, programme: str) -> None:
        """Choose the programme, within the session that is on."""
        if programme not in self.programmes:
            known = f"{', '.join(self.programmes)}{did_you_mean(programme, self.programmes)}"
            raise ConfigError(f"programme: {printed(programme, 60)} is not one of {known}")
        turn_knob(self.run_dir, "programme", self.programmes.index(programme))


def wires_of(args: argparse.Namespace) -> Wires:
    """The wires of a command line."""
    return Wires(args.config, list(args.set), settings_of(args))
