"""Input and output of a check: the machine below a root folder, the settings, a finding."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from firmware_py.devices.gpio.pins import line_users
from firmware_py.devices.machine.health import read_text
from firmware_py.devices.quiet_libraries import hush_libraries
from firmware_py.devices.systemd.unit_failures import UnitFailure, unit_failures
from firmware_py.settings import Settings

OK, NOTE, WARNING, FAULT = "ok", "note", "warning", "fault"
"""How a finding weighs: right; not here and not needed; works worse; does not work."""
MB: Final = 1_000_000
"""By definition: bytes of a megabyte (IEC 80000-13)."""


def denormals_flushed() -> bool:
    """Whether this thread's arithmetic flushes the smallest numbers to zero."""
    smallest = np.full(4, np.finfo(np.float32).tiny, np.float32)
    return not (smallest * np.float32(0.5)).any()


def ports_on_jack(is_output: bool) -> list[str] | None:
    """The MIDI ports of a running JACK server to play to, or else to hear; None without one."""
    try:
        import rtmidi  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    hush_libraries()
    try:
        client = (rtmidi.MidiOut if is_output else rtmidi.MidiIn)(rtmidi.API_UNIX_JACK, "kelly_edge_doctor")
        return list(client.get_ports())
    except (rtmidi.SystemError, rtmidi.RtMidiError):
        return None


@dataclass(frozen=True)
class Machine:
    """The machine asked about: a pure value, so that tests give a folder for a machine.

    ``root`` stands for ``/``. What no file shows comes through the functions.
    """

    root: Path = Path("/")
    settings: Settings = field(default_factory=Settings)
    config_faults: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    site_packages: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    python: tuple[int, int] = sys.version_info[:2]
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    is_writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK | os.X_OK)
    is_flushing: Callable[[], bool] = denormals_flushed
    jack_ports: Callable[[bool], list[str] | None] = ports_on_jack
    line_users: Callable[[str], Mapping[int, str]] = line_users
    """For the label of a GPIO chip: its lines that somebody else holds, and who."""
    unit_failures: Callable[[], list[UnitFailure]] = unit_failures

    def path(self, absolute: str | Path) -> Path:
        """``absolute`` below the root."""
        return self.root / str(absolute).lstrip("/")

    def text(self, absolute: str) -> str:
        """The text of a small file; empty where there is none to read."""
        return read_text(self.path(absolute))

    def number(self, absolute: str) -> int | None:
        """The whole number in a file, if there is one."""
        try:
            return int(self.text(absolute))
        except ValueError:
            return None

    def glob(self, pattern: str) -> list[Path]:
        """What matches ``pattern`` below the root, sorted."""
        return sorted(self.root.glob(pattern.lstrip("/")))

    def status(self, name: str) -> str:
        """A line of this process's ``/proc/self/status``."""
        lines = self.text("/proc/self/status").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")

    def limit(self, name: str) -> int:
        """A soft limit of this process; -1 for unlimited."""
        for line in self.text("/proc/self/limits").splitlines():
            if line.startswith(name):
                soft = line[len(name) :].split()[0]
                return -1 if soft == "unlimited" else int(soft)
        return 0

    def has_capability(self, bit: int) -> bool:
        """Whether this process has a Linux capability."""
        return bool(int(self.status("CapEff") or "0", 16) >> bit & 1)

    def nearest_folder(self, absolute: str | Path) -> Path:
        """The path, or the nearest of its parents that is there."""
        path = self.path(absolute)
        while not path.exists() and path not in (self.root, path.parent):
            path = path.parent
        return path


@dataclass(frozen=True)
class Finding:
    """What a check found: its weight and one line."""

    level: str
    text: str


@dataclass(frozen=True)
class Check:
    """A row of the doctor's table. ``remedy`` is what to do about anything but ``ok``."""

    name: str
    look: Callable[[Machine], Finding]
    remedy: str


def verdict(is_right: bool, text: str, otherwise: str = WARNING) -> Finding:
    """``ok`` where it is right, else a finding that weighs ``otherwise``."""
    return Finding(OK if is_right else otherwise, text)
