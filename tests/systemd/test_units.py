"""The units as systemd reads them: without a complaint, hardened, each process with its rights."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_py.live import BUILDERS
from firmware_py.realtime import POLICIES

HERE = Path(__file__).parents[2] / "systemd"
UNITS = HERE / "system"
PROGRAM = "/opt/kelly-edge/current/venv/bin/kelly-edge"
INSTANCES = [f"kelly-edge@{process}.service" for process in BUILDERS]
OTHERS = [f"kelly-edge-{name}.service" for name in ("safe", "board", "gadget", "bench")]
MOST_EXPOSED = 1.5
ROOTS = {"kelly-edge-gadget.service"}
"""What may run as root."""
SHARED = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "PrivateNetwork=yes",
    "PrivateTmp=yes",
    "IPAddressDeny=any",
    "RestrictAddressFamilies=AF_UNIX",
    "DevicePolicy=closed",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectProc=invisible",
    "RestrictNamespaces=yes",
    "RestrictSUIDSGID=yes",
    "LockPersonality=yes",
    "KeyringMode=private",
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "UMask=0077",
    "LimitCORE=0",
)

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def text_of(unit: str) -> str:
    """A unit with its template and drop-ins, in the order systemd reads them."""
    template = re.sub(r"@.*\.", "@.", unit)
    parts = [UNITS / template, *sorted((UNITS / f"{unit}.d").glob("*.conf"))]
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def last(unit: str, key: str) -> str:
    """The value that counts."""
    found = re.findall(rf"^{key}=(.*)$", text_of(unit), re.M)
    return str(found[-1]) if found else ""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """Systemd's environment with our units, whose program is one that is there."""
    for path in UNITS.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(UNITS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    return {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_LEVEL": "info"}


@needs_systemd
def test_systemd_has_no_complaint(installed: dict[str, str]) -> None:
    units = [*INSTANCES, *(path.name for path in UNITS.iterdir() if path.is_file() and "@" not in path.name)]
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (result.stdout + result.stderr).splitlines() if "kelly-edge" in line]
    assert ours == [] and result.returncode == 0


@needs_systemd
@pytest.mark.parametrize("unit", INSTANCES + OTHERS)
def test_a_unit_is_exposed_to_less_than_the_threshold(unit: str, installed: dict[str, str]) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={10 * MOST_EXPOSED:.0f}", unit]
    result = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-300:] + result.stderr
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", result.stdout)
    assert level is not None and float(level[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("unit", INSTANCES + OTHERS)
def test_every_unit_is_hardened_alike(unit: str) -> None:
    lines = text_of(unit).splitlines()
    assert [line for line in SHARED if line not in lines] == []


@pytest.mark.parametrize("unit", INSTANCES + OTHERS)
def test_nothing_but_the_gadget_runs_as_root(unit: str) -> None:
    assert last(unit, "User") == ("" if unit in ROOTS else "kelly-edge")


@pytest.mark.parametrize("process", BUILDERS)
def test_each_process_is_allowed_the_priority_it_takes_and_no_other(process: str) -> None:
    unit, policy = f"kelly-edge@{process}.service", POLICIES[process]
    assert last(unit, "RestrictRealtime") == ("no" if policy.priority else "yes")
    assert int(last(unit, "LimitRTPRIO") or 0) == (95 if policy.priority else 0)
    assert last(unit, "LimitMEMLOCK") == ("infinity" if policy.locked else "")


@pytest.mark.parametrize("process", BUILDERS)
def test_each_process_is_watched_and_a_crash_loop_ends_in_safe_mode(process: str) -> None:
    unit = f"kelly-edge@{process}.service"
    assert last(unit, "Type") == "notify" and 3 <= int(last(unit, "WatchdogSec")) <= 30
    assert last(unit, "Restart") == "always" and int(last(unit, "StartLimitBurst")) == 5
    assert last(unit, "OnFailure") == "kelly-edge-safe.service"


def test_the_target_wants_every_process_and_ends_with_safe_mode() -> None:
    target = (UNITS / "kelly-edge.target").read_text(encoding="utf-8")
    assert set(INSTANCES) <= set(target.split("Wants=")[1].split("\n")[0].split())
    assert "Conflicts=kelly-edge-safe.service" in target
    assert "WantedBy=multi-user.target" in target


def test_no_password_no_shell_and_no_listening_socket_is_shipped() -> None:
    shipped = [path for path in HERE.rglob("*") if path.is_file()]
    assert not [path for path in shipped if path.suffix == ".socket"]
    users = [line for path in HERE.glob("sysusers.d/*") for line in path.read_text().splitlines()]
    rows = [line.split() for line in users if line.startswith("u")]
    assert [row[1] for row in rows] == ["kelly-edge"]
    # Without a sixth field systemd-sysusers gives nologin, and locks the password always.
    assert len(re.sub(r'"[^"]*"', "_", " ".join(rows[0])).split()) == 5


@pytest.mark.parametrize("process", BUILDERS)
def test_a_run_folder_that_was_lost_is_made_anew_and_outlives_a_process(process: str) -> None:
    unit = f"kelly-edge@{process}.service"
    assert last(unit, "RuntimeDirectory") == "kelly-edge" and last(unit, "RuntimeDirectoryMode") == "0700"
    assert last(unit, "RuntimeDirectoryPreserve") == "yes"
    # The board's unit takes it away.
    assert last("kelly-edge-board.service", "RuntimeDirectory") == "kelly-edge"
    assert last("kelly-edge-board.service", "RuntimeDirectoryPreserve") == ""


@pytest.mark.parametrize("process", ["control", "guardian"])
def test_who_reads_pins_may(process: str) -> None:
    text = text_of(f"kelly-edge@{process}.service")
    assert "DeviceAllow=char-gpiochip rw" in text and re.search(
        r"^SupplementaryGroups=.*\bgpio\b", text, re.M
    )
