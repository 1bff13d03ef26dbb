"""First install: what a fresh Raspberry Pi OS Lite or Debian (12, 13) needs before its first release.

A table of pyinfra operations; each looks first and changes only differences: a second run changes nothing.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.context import ctx_state
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import File
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, server, systemd

from deploy.boot import LOOK, plan_boot, read_look, write_command
from deploy.bundle import TOOL, allowed_signers, write_tool
from deploy.errors import DeployError
from deploy.fleet import Outcome, connect, lost, make_state
from deploy.inventory import Host
from deploy.keyring import merged_signers
from deploy.places import COPIED, ENABLED, FILES

PACKAGES: Final = ("python3", "openssh-client", "libatomic1", "libportaudio2", "adduser", "dbus")
OF_ITS_OWN: Final = {
    "bookworm": ("libasound2",),
    "trixie": ("libasound2t64", "libjack-jackd2-0"),
}
"""By Debian's release. Debian's own python3-rtmidi, which trixie is given, is linked with JACK."""
GROUPS: Final = ("audio", "gpio", "spi")
FOLDERS: Final = (
    ("/opt/kelly-edge/bin", "root", "755"),
    ("/opt/kelly-edge/releases", "root", "755"),
    ("/opt/kelly-edge/store/layers", "root", "755"),
    ("/etc/kelly-edge", "root", "755"),
    ("/var/lib/kelly-edge", "kelly-edge", "700"),
    ("/var/cache/kelly-edge-compiled", "kelly-edge-tools", "755"),
)
STOPPED: Final = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "e2scrub_all.timer", "fstrim.timer",
    "unattended-upgrades.service", "packagekit.service", "ModemManager.service", "triggerhappy.service",
    "bluetooth.service", "hciuart.service", "rpi-eeprom-update.service",
)  # fmt: skip
"""They wake up while somebody plays, and cost xruns. Updates come with releases, or by hand."""


def provision(hosts: Sequence[Host], key: Path, config: Path) -> list[Outcome]:
    """Prepare every host, all at once; one that fails is its own row.

    Raises
    ------
    DeployError: the key is missing here.
    """
    signers = allowed_signers(key).read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        tool = write_tool(Path(scratch) / TOOL).read_bytes()
    settings, state = config.read_bytes(), make_state(hosts)

    def prepare(host: Host) -> "list[_Step] | DeployError":
        try:
            connection = connect(state, host.name)
        except DeployError as error:
            return error
        try:
            return _operations(state, connection, signers, tool, settings, host.user != "root")
        except DeployError as error:
            state.active_hosts.discard(connection)
            return error
        except Exception as error:  # paramiko, gevent and the socket each have their own
            state.active_hosts.discard(connection)
            return lost(str(error)[:120] or type(error).__name__)

    with ctx_state.use(state):
        jobs = [state.pool.spawn(prepare, host) for host in hosts]
        prepared = [job.get() for job in jobs]
    if state.active_hosts:
        # It complains once no host is left; what failed where, the steps say.
        with suppress(PyinfraError):
            run_ops(state)
    return [_outcome(host.name, steps) for host, steps in zip(hosts, prepared, strict=True)]


_Step = tuple[str, Any]
"""What a person reads, and pyinfra's account of it."""


def _outcome(name: str, steps: "list[_Step] | DeployError") -> Outcome:
    if isinstance(steps, DeployError):
        return Outcome(name, False, 0, str(steps))
    changes = [text for text, meta in steps if meta.is_complete() and meta.did_change()]
    wrong = next(((t, m) for t, m in steps if not m.is_complete() or m.did_error()), None)
    if wrong is not None:
        text, meta = wrong
        said = meta.stderr.splitlines() if meta.is_complete() else []
        return Outcome(name, False, len(changes), f"{text} failed ({(said or ['no message'])[-1][:200]})")
    return Outcome(name, True, len(changes), f"changed: {', '.join(changes)}" if changes else "nothing to do")


def _operations(
    state: Any, connection: Any, signers: bytes, tool: bytes, config: bytes, sudo: bool
) -> list[_Step]:
    done: list[_Step] = []

    def op(text: str, operation: Any, **arguments: Any) -> None:
        metas = add_op(state, operation, host=connection, **arguments, _sudo=sudo)
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

    suite = connection.get_fact(Command, command=". /etc/os-release; echo $VERSION_CODENAME", _sudo=sudo)
    if suite not in OF_ITS_OWN:
        raise DeployError(f"it has {suite or 'no Debian'}; known are {', '.join(OF_ITS_OWN)}")
    installed = connection.get_fact(DebPackages, _sudo=sudo)
    if missing := [name for name in (*PACKAGES, *OF_ITS_OWN[suite]) if name not in installed]:
        op(f"packages {', '.join(missing)}", apt.packages, packages=missing, update=True, no_recommends=True)
    for group in GROUPS:
        op(f"group {group}", server.group, group=group, system=True)
    op("user kelly-edge", server.user, user="kelly-edge", system=True, shell="/usr/sbin/nologin",
       home="/var/lib/kelly-edge", create_home=False, ensure_home=False, groups=list(GROUPS))  # fmt: skip
    op("user kelly-edge-tools", server.user, user="kelly-edge-tools", system=True, shell="/usr/sbin/nologin",
       home="/nonexistent", create_home=False, ensure_home=False)  # fmt: skip
    # Where earlier releases let the services write compiled functions.
    op("/var/cache/kelly-edge gone", files.directory, path="/var/cache/kelly-edge", present=False)
    for place, owner, mode in FOLDERS:
        op(place, files.directory, path=place, user=owner, group=owner, mode=mode)
    put(_with_key(connection, signers, sudo), "/etc/kelly-edge/allowed_signers")
    put(tool, f"/opt/kelly-edge/bin/{TOOL}", mode="755")
    if connection.get_fact(File, path="/etc/kelly-edge/config.yaml", _sudo=sudo) is None:
        put(config, "/etc/kelly-edge/config.yaml")
    for name, place in COPIED:
        put(FILES / name, place)
    for unit in ENABLED:
        op(f"{unit} enabled", systemd.service, service=unit, running=None, enabled=True, daemon_reload=False)
    for unit in _present(connection, sudo):
        op(f"{unit} stopped", systemd.service, service=unit, running=False, enabled=False)
    seen = read_look(connection.get_fact(Command, command=LOOK, _sudo=sudo) or "")
    boot = plan_boot(seen, config.decode())
    for place, text in boot.files:
        what = f"{boot.text()} (in {place}, from the next start on)"
        op(what, server.shell, commands=[write_command(place, text)])
    return done


def _with_key(connection: Any, signers: bytes, sudo: bool) -> bytes:
    """The box's allowed signers and ours: a new key joins the old ones, so that the running release stays
    trusted.

    Raises
    ------
    DeployError: the box has retired or revoked our key.
    """
    there = connection.get_fact(
        Command, command="cat /etc/kelly-edge/allowed_signers 2>/dev/null || true", _sudo=sudo
    )
    sealed = connection.get_fact(
        Command, command="cat /etc/kelly-edge/keys.json 2>/dev/null || true", _sudo=sudo
    )
    return merged_signers(there or "", sealed or "", signers.decode())


def _present(connection: Any, sudo: bool) -> list[str]:
    from pyinfra.facts.systemd import SystemdEnabled

    enabled = connection.get_fact(SystemdEnabled, services=list(STOPPED), _sudo=sudo)
    return [unit for unit in STOPPED if enabled.get(unit)]
