"""First install: what a fresh Raspberry Pi OS Lite or Debian 12 needs before its first release.

A table of pyinfra operations; each looks first and changes only what differs: a second run changes nothing.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import File
from pyinfra.operations import apt, files, server, systemd

from deploy.bundle import TOOL, allowed_signers, write_tool
from deploy.errors import DeployError
from deploy.fleet import Outcome, connect, make_state
from deploy.inventory import Host

FILES: Final = Path(__file__).resolve().parent / "files"
PACKAGES: Final = (
    "python3", "openssh-client", "libasound2", "libatomic1", "libportaudio2", "libsystemd0", "adduser",
)  # fmt: skip
GROUPS: Final = ("audio", "gpio", "spi")
FOLDERS: Final = (
    ("/opt/kelly-edge/bin", "root", "755"),
    ("/opt/kelly-edge/releases", "root", "755"),
    ("/opt/kelly-edge/store/layers", "root", "755"),
    ("/etc/kelly-edge", "root", "755"),
    ("/var/lib/kelly-edge", "kelly-edge", "700"),
    ("/var/cache/kelly-edge", "kelly-edge", "755"),
)
COPIED: Final = (
    ("kelly-edge-boot.service", "/etc/systemd/system/kelly-edge-boot.service"),
    ("kelly-edge-confirm.service", "/etc/systemd/system/kelly-edge-confirm.service"),
    ("verified.conf", "/etc/systemd/system/kelly-edge@.service.d/10-verified.conf"),
    ("limits.conf", "/etc/security/limits.d/kelly-edge.conf"),
    ("governor.conf", "/etc/tmpfiles.d/kelly-edge-governor.conf"),
    ("journald.conf", "/etc/systemd/journald.conf.d/kelly-edge.conf"),
    ("sshd.conf", "/etc/ssh/sshd_config.d/kelly-edge.conf"),
)
ENABLED: Final = ("kelly-edge-boot.service", "kelly-edge-confirm.service")
STOPPED: Final = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "e2scrub_all.timer", "fstrim.timer",
    "unattended-upgrades.service", "packagekit.service", "ModemManager.service", "triggerhappy.service",
    "bluetooth.service", "hciuart.service", "rpi-eeprom-update.service",
)  # fmt: skip
"""They wake up while somebody plays, and cost xruns. Updates come with releases, or by hand."""
BOOT_CONFIG: Final = "/boot/firmware/config.txt"
BOOT_LINES: Final = ("dtoverlay=dwc2,dr_mode=peripheral", "dtparam=spi=on", "disable_splash=1")
"""The USB-C port as a device (a Pi without Raspberry Pi OS's file has it so already); pots on SPI."""


def provision(hosts: Sequence[Host], key: Path, config: Path, source_date: int) -> list[Outcome]:
    """Prepare every host; one that fails is its own row.

    Raises
    ------
    DeployError: the key is missing here.
    """
    signers = allowed_signers(key).read_bytes()
    tool = write_tool(key.with_name(f"{key.name}.{TOOL}"), source_date)
    content = tool.read_bytes()
    tool.unlink()
    # A host at a time: pyinfra stops all of them when the last one fails.
    return [_provision_one(host, signers, content, config.read_bytes()) for host in hosts]


def _provision_one(host: Host, signers: bytes, tool: bytes, config: bytes) -> Outcome:
    state = make_state([host])
    try:
        connection = connect(state, host.name)
        done = _operations(state, connection, signers, tool, config, host.user != "root")
        run_ops(state)
    except DeployError as error:
        return Outcome(host.name, False, 0, str(error))
    except PyinfraError:
        failed = next(
            (text for text, meta in done if meta.is_complete() and meta.did_error()), "an operation"
        )
        said = next((meta.stderr for text, meta in done if meta.is_complete() and meta.did_error()), "")
        return Outcome(
            host.name, False, 0, f"{failed} failed ({(said.splitlines() or ['no message'])[-1][:200]})"
        )
    changes = [text for text, meta in done if meta.is_complete() and meta.did_change()]
    text = f"changed: {', '.join(changes)}" if changes else "nothing to do"
    return Outcome(host.name, True, len(changes), text)


def _operations(
    state: Any, connection: Any, signers: bytes, tool: bytes, config: bytes, sudo: bool
) -> list[tuple[str, Any]]:
    done: list[tuple[str, Any]] = []

    def op(text: str, operation: Any, **arguments: Any) -> None:
        metas = add_op(state, operation, **arguments, _sudo=sudo)
        done.append((text, metas[connection]))

    def put(content: bytes | Path, place: str, **arguments: Any) -> None:
        source = BytesIO(content) if isinstance(content, bytes) else str(content)
        op(
            place,
            files.put,
            src=source,
            dest=place,
            user="root",
            group="root",
            **{"mode": "644", **arguments},
        )

    installed = connection.get_fact(DebPackages, _sudo=sudo)
    if missing := [name for name in PACKAGES if name not in installed]:
        op(f"packages {', '.join(missing)}", apt.packages, packages=missing, update=True, no_recommends=True)
    for group in GROUPS:
        op(f"group {group}", server.group, group=group, system=True)
    op("user kelly-edge", server.user, user="kelly-edge", system=True, shell="/usr/sbin/nologin",
       home="/var/lib/kelly-edge", create_home=False, ensure_home=False, groups=list(GROUPS))  # fmt: skip
    for place, owner, mode in FOLDERS:
        op(place, files.directory, path=place, user=owner, group=owner, mode=mode)
    put(signers, "/etc/kelly-edge/allowed_signers")
    put(tool, f"/opt/kelly-edge/bin/{TOOL}", mode="755")
    if connection.get_fact(File, path="/etc/kelly-edge/config.yaml", _sudo=sudo) is None:
        put(config, "/etc/kelly-edge/config.yaml")
    for name, place in COPIED:
        put(FILES / name, place)
    for unit in ENABLED:
        op(f"{unit} enabled", systemd.service, service=unit, running=None, enabled=True, daemon_reload=False)
    for unit in _present(connection, sudo):
        op(f"{unit} stopped", systemd.service, service=unit, running=False, enabled=False)
    if connection.get_fact(File, path=BOOT_CONFIG, _sudo=sudo) is not None:
        for line in BOOT_LINES:
            op(f"{BOOT_CONFIG}: {line}", files.line, path=BOOT_CONFIG, line=line)
    return done


def _present(connection: Any, sudo: bool) -> list[str]:
    from pyinfra.facts.systemd import SystemdEnabled

    enabled = connection.get_fact(SystemdEnabled, services=list(STOPPED), _sudo=sudo)
    return [unit for unit in STOPPED if enabled.get(unit)]
