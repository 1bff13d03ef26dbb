"""What the box's own programs are asked: systemd about units, a release's ``kelly-edge`` about itself."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from deploy.box import sandbox
from deploy.box.faults import ReleaseError, printed
from deploy.box.layout import Layout

TARGET: Final = "kelly-edge.target"
PHRASE: Final = "system/phrase.wav"
COMPILE_WITHIN_S: Final = 1_800.0
"""A Pi 3 under load. Chosen with a margin."""
# Chosen by hand: a phrase through the new release, and a question to systemd, on a slow board.
PLAY_WITHIN_S: Final = 600.0
ASK_WITHIN_S: Final = 120.0
LONGEST_FAULT: Final = 400
"""Characters of a fault in settings: the place and the remedy come last."""
UDEV: Final = (
    ("udevadm", "control", "--reload"),
    ("udevadm", "trigger", "--settle", "--subsystem-match=gpio", "--subsystem-match=spidev"),
)
KEYS: Final = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "ConditionResult", "Type",
    "RemainAfterExit", "ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic",
    "InactiveEnterTimestampMonotonic", "ConditionTimestampMonotonic",
)  # fmt: skip
UP: Final = ("active", "reloading")


@dataclass(frozen=True)
class Unit:
    """``is_ready``: up since this start, or deliberately left out of it (masked, or a condition of its own
    did not hold when systemd looked *in this start*).

    A job that runs once and leaves nothing behind is ready when it was begun; earlier releases' targets
    want one, the first boot's bench.
    """

    name: str
    is_ready: bool
    has_failed: bool
    n_restarts: int
    state: str


class Programs(Protocol):
    """systemd and the release's command, or a stand-in that plays them in tests."""

    def now_s(self) -> float:
        """CLOCK_MONOTONIC, by which systemd stamps its units."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""

    def reload(self) -> None:
        """Let systemd read its units again, and udev its rules."""

    def restart(self) -> None:
        """Stop the running processes and start those of the units as they are now."""

    def units(self) -> list[Unit]:
        """The target and the units it wants, now."""

    def compile(self, release: Path) -> None:
        """Let ``release`` compile its functions for this board, where that was not done."""

    def play_phrase(self, release: Path) -> dict[str, Any]:
        """The summary of ``release`` playing its test phrase, without touching the running release."""

    def check_config(self, release: Path, config: Path | None = None) -> str:
        """The first fault ``release`` finds in the box's settings, or in those in ``config``; or nothing."""

    def reading(self, release: Path) -> dict[str, Any] | None:
        """What the running processes count, as ``kelly-edge monitor`` prints it; None where nothing runs."""

    def doctor(self, release: Path) -> dict[str, Any]:
        """What ``kelly-edge doctor`` of ``release`` finds on this box."""


Ask = Callable[[Sequence[str]], subprocess.CompletedProcess[bytes]]
"""Runs ``systemctl`` with these words."""


def _ask_systemctl(words: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["systemctl", *words], capture_output=True, check=False, timeout=ASK_WITHIN_S)


class SystemPrograms:
    """The real ones.

    Parameters
    ----------
    ask: how systemctl is asked.
    """

    def __init__(self, layout: Layout, ask: Ask = _ask_systemctl) -> None:
        self._layout = layout
        self._ask = ask
        self._restarted_us = 0

    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def reload(self) -> None:
        self._systemctl("daemon-reload")
        # Knobs and lamp were there before the first release brought the rule that lets its user touch them.
        for words in UDEV:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(words, capture_output=True, check=False, timeout=ASK_WITHIN_S)

    def restart(self) -> None:
        self._systemctl("reset-failed", check=False)
        # By name too: what is not part of the target, or was wanted by the release before alone, must end.
        self._systemctl("stop", TARGET, "kelly-edge@*.service", *self._wanted(), check=False)
        self._restarted_us = int(self.now_s() * 1e6)
        # Not waited for: a unit that never gets ready is what the health check is there to see.
        self._systemctl("start", "--no-block", TARGET)

    def units(self) -> list[Unit]:
        target, *wanted = self._properties([TARGET, *self._wanted()], *KEYS)
        # What happened before the target stopped for the last time belongs to an earlier start.
        since_us = max(self._restarted_us, _time_us(target, "InactiveEnter"))
        return [unit_from(properties, since_us) for properties in (target, *wanted)]

    def compile(self, release: Path) -> None:
        done = sandbox.run(release, ["compile"], COMPILE_WITHIN_S, sandbox.TOOLS)
        if done.returncode:
            raise ReleaseError(f"its functions do not compile ({_last_line(done)})")

    def play_phrase(self, release: Path) -> dict[str, Any]:
        phrase = release / PHRASE
        if not phrase.is_file():
            raise ReleaseError(f"{phrase} is missing; build the bundle again")
        # In the sandbox's own /tmp, which is gone with it.
        words = ["play", str(phrase), "--out", "/tmp/out", "--json", *self._config_words()]
        done = sandbox.run(release, words, PLAY_WITHIN_S)
        if done.returncode:
            raise ReleaseError(f"the test phrase does not play ({_last_line(done)})")
        try:
            summary = json.loads(done.stdout)
        except ValueError:
            summary = None
        if not isinstance(summary, dict):
            raise ReleaseError("the test phrase plays, but says nothing about it")
        return summary

    def check_config(self, release: Path, config: Path | None = None) -> str:
        path = config or self._layout.config
        if not path.is_file():
            return ""
        done = sandbox.run(release, ["check", str(path)], ASK_WITHIN_S)
        return "" if done.returncode == 0 else first_fault(done)

    def reading(self, release: Path) -> dict[str, Any] | None:
        words = ["monitor", "--once", "--json", "--set=runtime.run_dir=/run/kelly-edge"]
        done = sandbox.run(release, words, ASK_WITHIN_S)
        try:
            reading = json.loads(done.stdout)
        except ValueError:
            return None
        return reading if isinstance(reading, dict) else None

    def doctor(self, release: Path) -> dict[str, Any]:
        words = ["doctor", "--json", "--set=runtime.run_dir=/run/kelly-edge", *self._config_words()]
        done = sandbox.run(release, words, ASK_WITHIN_S, devices=sandbox.DEVICES)
        try:
            found = json.loads(done.stdout)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ReleaseError(f"its doctor does not answer ({_last_line(done)})")
        return found

    def _config_words(self) -> list[str]:
        return ["--config", str(self._layout.config)] if self._layout.config.is_file() else []

    def _wanted(self) -> list[str]:
        wanted = self._properties([TARGET], "Wants")[0].get("Wants", "").split()
        return [name for name in wanted if name.startswith("kelly-edge")]

    def _properties(self, units: Sequence[str], *keys: str) -> list[dict[str, str]]:
        text = self._systemctl("show", "--property", ",".join(keys), *units)
        return [
            dict(line.partition("=")[::2] for line in part.splitlines())
            for part in text.strip().split("\n\n")
        ]

    def _systemctl(self, *words: str, check: bool = True) -> str:
        done = self._ask(words)
        if check and done.returncode:
            raise ReleaseError(f"systemctl {words[0]} failed ({_last_line(done)})")
        return done.stdout.decode(errors="replace")


def _time_us(properties: dict[str, str], event: str) -> int:
    """When ``event`` happened to the unit at last, in microseconds of CLOCK_MONOTONIC; 0: never."""
    text = properties.get(f"{event}TimestampMonotonic", "")
    return int(text) if text.isdigit() else 0


def unit_from(properties: dict[str, str], since_us: int = 0) -> Unit:
    """A unit from the output of ``systemctl show``.

    Parameters
    ----------
    since_us: when this start began; what happened at or before it, or never (0), says nothing about it.
    """
    state = properties["ActiveState"]
    is_skipped = (
        state == "inactive"
        and properties.get("ConditionResult") == "no"
        and _time_us(properties, "Condition") > since_us
    )
    left_out = properties["LoadState"] == "masked" or is_skipped
    has_begun = _time_us(properties, "InactiveExit") > since_us
    is_up = state in UP and _time_us(properties, "ActiveEnter") > since_us
    is_job = properties.get("Type") == "oneshot" and properties.get("RemainAfterExit") == "no"
    has_failed = not left_out and (state == "failed" or properties["LoadState"] == "not-found")
    return Unit(
        name=properties["Id"],
        is_ready=not has_failed and (left_out or is_up or (is_job and has_begun)),
        has_failed=has_failed,
        n_restarts=int(properties.get("NRestarts") or 0),
        state=f"{state}/{properties['SubState']}, {properties.get('Result', '')}",
    )


def first_fault(done: subprocess.CompletedProcess[bytes]) -> str:
    """The first of the faults that ``kelly-edge check`` tells, one a line, and how many more there are."""
    first, *more = done.stderr.decode(errors="replace").strip().splitlines() or [_last_line(done)]
    text = printed(first.removeprefix("kelly-edge: "), LONGEST_FAULT)
    return f"{text} (and {len(more)} more)" if more else text


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return printed(lines[-1], 200) if lines else f"exit code {done.returncode}"
