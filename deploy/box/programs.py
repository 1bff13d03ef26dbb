"""What the box's own programs are asked: systemd about units, a release's ``kelly-edge`` about itself."""

import json
import os
import pwd
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from deploy.box.faults import ReleaseError, printed
from deploy.box.layout import Layout

TARGET: Final = "kelly-edge.target"
USER: Final = "kelly-edge"
NUMBA_CACHE: Final = "var/cache/kelly-edge"
PHRASE: Final = "system/phrase.wav"
PLAY_WITHIN_S: Final = 600.0
ASK_WITHIN_S: Final = 120.0
UDEV: Final = (
    ("udevadm", "control", "--reload"),
    ("udevadm", "trigger", "--settle", "--subsystem-match=gpio", "--subsystem-match=spidev"),
)


@dataclass(frozen=True)
class Unit:
    """``is_ready``: active, or deliberately left out (masked, or a condition of its own does not hold).

    A job that runs once and leaves nothing behind (the first boot's bench) is never waited for.
    """

    name: str
    is_ready: bool
    has_failed: bool
    n_restarts: int
    state: str


class Programs(Protocol):
    """systemd and the release's command, or a stand-in that plays them in tests."""

    def reload(self) -> None:
        """Let systemd read its units again, and udev its rules."""

    def restart(self) -> None:
        """Stop what runs and start what the units say now."""

    def units(self) -> list[Unit]:
        """The units the target wants, now."""

    def play_phrase(self, release: Path) -> dict[str, Any]:
        """The summary of ``release`` playing its test phrase, without touching what runs."""

    def check_config(self, release: Path) -> str:
        """The first fault ``release`` finds in the box's settings, or nothing."""

    def xruns(self, release: Path) -> int | None:
        """Interruptions of the sound so far; None where nobody counts."""


class SystemPrograms:
    """The real ones."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def reload(self) -> None:
        self._systemctl("daemon-reload")
        # Knobs and lamp were there before the first release brought the rule that lets its user touch them.
        for words in UDEV:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(words, capture_output=True, check=False, timeout=ASK_WITHIN_S)

    def restart(self) -> None:
        self._systemctl("reset-failed", check=False)
        self._systemctl("stop", TARGET, check=False)
        # Not waited for: a unit that never gets ready is what the health check is there to see.
        self._systemctl("start", "--no-block", TARGET)

    def units(self) -> list[Unit]:
        wanted = self._properties([TARGET], "Wants")[0]["Wants"].split()
        keys = (
            "Id", "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "ConditionResult",
            "Type", "RemainAfterExit",
        )  # fmt: skip
        found = self._properties([w for w in wanted if w.startswith("kelly-edge")], *keys)
        return [unit_from(properties) for properties in found]

    def play_phrase(self, release: Path) -> dict[str, Any]:
        phrase = release / PHRASE
        if not phrase.is_file():
            raise ReleaseError(f"{phrase} is missing; build the bundle again")
        with tempfile.TemporaryDirectory(prefix="kelly-edge-") as folder:
            user = _user()
            if user is not None:
                os.chown(folder, user.pw_uid, user.pw_gid)
            out = Path(folder) / "out"
            words = ["play", str(phrase), "--out", str(out), "--json", *self._config_words()]
            done = self._kelly_edge(release, words, PLAY_WITHIN_S)
            if done.returncode:
                raise ReleaseError(f"the test phrase does not play ({_last_line(done)})")
            try:
                summary = json.loads(done.stdout)
            except ValueError:
                summary = None
            if not isinstance(summary, dict):
                raise ReleaseError("the test phrase plays, but says nothing about it")
            summary["bytes"] = {p.name: p.stat().st_size for p in out.iterdir()} if out.is_dir() else {}
            return summary

    def check_config(self, release: Path) -> str:
        if not self._layout.config.is_file():
            return ""
        done = self._kelly_edge(release, ["check", str(self._layout.config)], ASK_WITHIN_S)
        return "" if done.returncode == 0 else _last_line(done)

    def xruns(self, release: Path) -> int | None:
        words = ["monitor", "--json", "--set=runtime.run_dir=/run/kelly-edge"]
        done = self._kelly_edge(release, words, ASK_WITHIN_S)
        try:
            counted = json.loads(done.stdout)["xruns"]
            return int(counted["capture"]) + int(counted["playback"])
        except (ValueError, KeyError, TypeError):
            return None

    def _config_words(self) -> list[str]:
        return ["--config", str(self._layout.config)] if self._layout.config.is_file() else []

    def _kelly_edge(
        self, release: Path, words: Sequence[str], within_s: float
    ) -> subprocess.CompletedProcess[bytes]:
        user = _user()
        who: dict[str, Any] = {}
        if user is not None and os.geteuid() == 0:
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        environment = {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent",
            "KELLY_EDGE_RELEASE": str(release),
            "NUMBA_CACHE_DIR": str(self._layout.root / NUMBA_CACHE),
        }
        command = ["nice", "-n", "10", str(release / "venv/bin/kelly-edge"), *words]
        try:
            return subprocess.run(
                command, env=environment, capture_output=True, timeout=within_s, check=False, cwd="/", **who
            )
        except subprocess.TimeoutExpired:
            raise ReleaseError(f"kelly-edge {words[0]} does not end within {within_s:.0f} s") from None
        except OSError as error:
            raise ReleaseError(f"cannot run {command[3]} ({error.strerror})") from None

    def _properties(self, units: Sequence[str], *keys: str) -> list[dict[str, str]]:
        if not units:
            return []
        text = self._systemctl("show", "--property", ",".join(keys), *units)
        return [
            dict(line.partition("=")[::2] for line in part.splitlines())
            for part in text.strip().split("\n\n")
        ]

    @staticmethod
    def _systemctl(*words: str, check: bool = True) -> str:
        done = subprocess.run(["systemctl", *words], capture_output=True, check=False, timeout=ASK_WITHIN_S)
        if check and done.returncode:
            raise ReleaseError(f"systemctl {words[0]} failed ({_last_line(done)})")
        return done.stdout.decode(errors="replace")


def unit_from(properties: dict[str, str]) -> Unit:
    """A unit from what ``systemctl show`` says of it."""
    left_out = properties["LoadState"] == "masked" or (
        properties["ActiveState"] == "inactive" and properties.get("ConditionResult") == "no"
    )
    is_job = properties.get("Type") == "oneshot" and properties.get("RemainAfterExit") == "no"
    return Unit(
        name=properties["Id"],
        is_ready=left_out or is_job or properties["ActiveState"] == "active",
        has_failed=not left_out
        and (properties["ActiveState"] == "failed" or properties["LoadState"] == "not-found"),
        n_restarts=int(properties.get("NRestarts") or 0),
        state=f"{properties['ActiveState']}/{properties['SubState']}, {properties['Result']}",
    )


def _user() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        return None


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
    return printed(lines[-1], 200) if lines else f"exit code {done.returncode}"
