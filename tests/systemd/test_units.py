"""The units as systemd reads them: without a complaint, hardened, each process with its rights."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from exposure import CHANGE_RELEASES, most_exposed

from deploy.box.sandbox import PROPERTIES
from deploy.box.tree import COMMAND
from deploy.bundle import write_tool
from deploy.places import COPIED, FILES, VERIFIED
from firmware_py.wiring.live import BUILDERS
from firmware_py.wiring.realtime import POLICIES

HERE = Path(__file__).parents[2] / "systemd"
UNITS = HERE / "system"
ETC = "/etc/systemd/system"
PROGRAMS = (
    "/opt/kelly-edge/current/venv/bin/kelly-edge",
    "/opt/kelly-edge/current/venv/bin/python3",
    "/opt/kelly-edge/bin/kelly-edge-release",
)
INSTANCES = [f"kelly-edge@{process}.service" for process in BUILDERS]
OTHERS = [
    f"kelly-edge-{name}.service"
    for name in ("safe", "board", "gadget", "bench", "compile", "page", "wireless")
]
COURIERS = sorted(Path(place).name for _, place in COPIED if place.startswith(f"{ETC}/kelly-edge-") and
                  place.endswith(".service"))  # fmt: skip
"""What provisioning installs beside a release's."""
PAGE = "kelly-edge-page.service"
"""It opens the network of this machine, and that of a cable."""
WIRELESS = "kelly-edge-wireless.service"
"""It opens the network of wireless instruments; nothing else opens any."""
ROOTS = {"kelly-edge-gadget.service"}
"""What may run as root."""
COMPILE = "kelly-edge-compile.service"
OF_A_PROCESS = {
    "StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve", "WorkingDirectory", "ReadWritePaths", "SyslogIdentifier",
    "Environment",
}  # fmt: skip
"""What a process has beside its sandbox."""
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
    places = [(path, tmp_path / path.relative_to(UNITS)) for path in UNITS.rglob("*") if path.is_file()]
    # As provisioning copies them.
    places += [(FILES / name, tmp_path / Path(to).relative_to(ETC)) for name, to in COPIED if ETC in to]
    for path, copy in places:
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        for program in PROGRAMS:
            text = text.replace(program, "/bin/true")
        copy.write_text(text, encoding="utf-8")
    return {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_LEVEL": "info"}


@needs_systemd
def test_systemd_has_no_complaint(installed: dict[str, str]) -> None:
    units = [*INSTANCES, *(path.name for path in UNITS.iterdir() if path.is_file() and "@" not in path.name)]
    units += COURIERS
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
@pytest.mark.parametrize("unit", INSTANCES + OTHERS + COURIERS)
def test_a_unit_is_exposed_to_less_than_the_threshold(unit: str, installed: dict[str, str]) -> None:
    most = most_exposed(unit)
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={10 * most:.0f}", unit]
    result = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-300:] + result.stderr
    level = re.search(r"Overall exposure level for .*: ([0-9.]+)", result.stdout)
    assert level is not None and float(level[1]) <= most


@pytest.mark.parametrize("unit", INSTANCES + OTHERS)
def test_every_unit_is_hardened_alike(unit: str) -> None:
    lines = text_of(unit).splitlines()
    # What the services read must be readable.
    differs = {"UMask=0077"} if unit == COMPILE else set()
    differs |= (
        {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} if unit in (PAGE, WIRELESS) else set()
    )
    assert [line for line in SHARED if line not in lines and line not in differs] == []


def test_the_target_waits_for_no_job_that_may_take_minutes() -> None:
    """systemd calls a target active once each unit that it wants has started, and a job when it has ended."""
    wanted = " ".join(re.findall(r"^Wants=(.*)$", text_of("kelly-edge.target"), re.M)).split()
    assert set(INSTANCES) <= set(wanted)
    jobs = [unit for unit in wanted if last(unit, "Type") == "oneshot"]
    assert [unit for unit in jobs if last(unit, "RemainAfterExit") != "yes"] == []
    assert [unit for unit in wanted if last(unit, "TimeoutStartSec") == "infinity"] == []
    assert "kelly-edge-bench.service" in text_of("kelly-edge@dsp.service"), "it runs at the first boot"


@pytest.mark.parametrize("unit", INSTANCES + OTHERS)
def test_nothing_but_the_gadget_runs_as_root(unit: str) -> None:
    users = {COMPILE: "kelly-edge-tools", **dict.fromkeys(ROOTS, "")}
    assert last(unit, "User") == users.get(unit, "kelly-edge")


def test_no_unit_of_a_release_or_the_courier_runs_anything_with_more_rights_than_its_own() -> None:
    """``+`` and ``!`` in front of a command give it root's, whatever the unit's user may write."""
    for path in [*UNITS.rglob("*"), *(FILES / name for name, _ in COPIED)]:
        if path.is_file():
            assert re.findall(r"^Exec\w+=[-:@]*[+!].*", path.read_text(encoding="utf-8"), re.M) == [], path


def test_every_python_that_root_runs_is_isolated(tmp_path: Path) -> None:
    """-I: no environment, no user's packages, not the folder it is called in."""
    assert write_tool(tmp_path / "tool").read_bytes().startswith(b"#!/usr/bin/python3 -I\n")
    assert COMMAND.startswith("#!{python} -I")
    for unit in ROOTS:
        commands = re.findall(r"^Exec\w+=(.*)$", text_of(unit), re.M)
        assert commands
        assert all(command.split()[:2] == [PROGRAMS[1], "-I"] for command in commands)


@pytest.mark.parametrize("unit", sorted(CHANGE_RELEASES | ROOTS))
def test_what_runs_as_root_sees_nothing_that_a_service_may_write(unit: str) -> None:
    text = text_of(unit) if unit in ROOTS else (FILES / unit).read_text(encoding="utf-8")
    hidden = re.findall(r"^InaccessiblePaths=(.*)$", text, re.M)[0].split()
    writable = {"/run/kelly-edge", "/run/kelly-edge-safe", "/var/lib/kelly-edge"}
    assert {f"-{path}" for path in writable} <= set(hidden)


def test_every_unit_of_a_release_starts_after_it_was_verified() -> None:
    named = {f"{name}.service" for name in VERIFIED}
    assert named == {path.name for path in UNITS.glob("*.service")}


def test_services_only_read_compiled_functions() -> None:
    for unit in [*INSTANCES, "kelly-edge-bench.service"]:
        assert "CacheDirectory=" not in text_of(unit)
        assert "NUMBA_CACHE_LOCATOR_CLASSES=firmware_py.compiled.SealedCache" in text_of(unit)


def test_a_rehearsal_is_run_in_the_sandbox_of_the_units() -> None:
    lines = (UNITS / "kelly-edge@.service").read_text(encoding="utf-8").splitlines()
    service = lines[lines.index("UMask=0077") :]
    keys = {line.partition("=")[0] for line in PROPERTIES}
    assert [line for line in service if line.partition("=")[0] in keys] == list(PROPERTIES)
    assert {line.partition("=")[0] for line in service if "=" in line} - keys == OF_A_PROCESS


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


def test_page_and_wireless_alone_may_open_the_network_the_page_no_further_than_a_cable() -> None:
    opens = [path.name for path in UNITS.rglob("*") if path.is_file() and "AF_INET" in path.read_text()]
    assert sorted(opens) == [PAGE, WIRELESS]
    assert last(PAGE, "IPAddressDeny") == "any"
    assert last(PAGE, "RestrictNetworkInterfaces").split() == ["lo", "usb0", "usb1"]
    assert last(PAGE, "RestrictRealtime") == "yes" and int(last(PAGE, "Nice")) == 10
    # What it does is nothing that the sound waits for, that safe mode is for, or that a release is judged by.
    for unit in (PAGE, WIRELESS):
        assert last(unit, "OnFailure") == ""
        assert unit in text_of("kelly-edge@control.service") and unit not in text_of("kelly-edge.target")


def test_wireless_reaches_private_networks_and_midi_ports_alone() -> None:
    assert last(WIRELESS, "IPAddressDeny") == "any" and last(WIRELESS, "RestrictRealtime") == "yes"
    allowed = last(WIRELESS, "IPAddressAllow").split()
    assert allowed == ["localhost", "link-local", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
    assert re.findall(r"^DeviceAllow=(.*)$", text_of(WIRELESS), re.M) == ["char-alsa rw"]


def test_no_password_no_shell_and_no_listening_socket_is_shipped() -> None:
    shipped = [path for path in HERE.rglob("*") if path.is_file()]
    assert not [path for path in shipped if path.suffix == ".socket"]
    users = [line for path in HERE.glob("sysusers.d/*") for line in path.read_text().splitlines()]
    rows = [line.split() for line in users if line.startswith("u")]
    assert [row[1] for row in rows] == ["kelly-edge", "kelly-edge-tools"]
    # Without a sixth field systemd-sysusers gives nologin, and locks the password always.
    assert all(len(re.sub(r'"[^"]*"', "_", " ".join(row)).split()) == 5 for row in rows)


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
