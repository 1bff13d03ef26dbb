"""Boxes over SSH, all at once: pyinfra connects and runs, one box's failure is one row of the table.

Importing this module patches sockets for gevent, as pyinfra asks; only what reaches a box imports it.
"""

# ruff: noqa: E402  (the patch comes before the modules it patches)

from gevent import monkey

monkey.patch_all()

import io
import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import pyinfra
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from deploy.errors import DeployError
from deploy.inventory import Host
from kelly_edge.shared.printed import LONGEST_LINE, printed

# Chosen: a box in the network answers within seconds; a busy one may take minutes to start a program.
CONNECT_WITHIN_S: Final = 15
ANSWER_WITHIN_S: Final = 300


@dataclass(frozen=True)
class Outcome:
    """What happened to a host. ``changed``: how many changes were made on it; ``facts``: what it answered."""

    host: str
    is_good: bool
    changed: int
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Remote:
    """A connected box.

    Raises
    ------
    DeployError: from every method, where the connection is lost or the command fails.
    """

    def __init__(self, host: Host, connection: Any) -> None:
        self.host = host
        self.connection = connection
        self._sudo = host.user != "root"

    def run(self, command: str, timeout_s: int = ANSWER_WITHIN_S) -> str:
        """Standard output of a shell command as root."""
        is_done, output, error = self._run(command, timeout_s)
        if not is_done:
            last = (output.strip().splitlines() or ["it failed with no output"])[-1]
            raise DeployError(error or printed(last, LONGEST_LINE))
        return output

    def ask(self, command: str) -> bool:
        """Whether a shell command ends well."""
        return self._run(command, ANSWER_WITHIN_S)[0]

    def _run(self, command: str, timeout_s: int) -> tuple[bool, str, str]:
        try:
            is_done, output = self.connection.run_shell_command(
                StringCommand("sh", "-c", shlex.quote(command)), _sudo=self._sudo, _timeout=timeout_s
            )
        except Exception as error:  # paramiko, gevent and the socket each have their own
            raise lost(_reason(error)) from None
        if not is_done and not self._is_connected():
            raise lost("no answer")
        lines = [line for line in output.stderr_lines if line.strip()]
        return is_done, output.stdout, printed(lines[-1].strip(), LONGEST_LINE) if lines else ""

    def _is_connected(self) -> bool:
        client = self.connection.connector.client
        transport = client.get_transport() if client is not None else None
        return transport is not None and bool(transport.is_active())

    def put(self, content: bytes | Path, place: str, mode: str = "644") -> None:
        """Write a file on the box: beside its place, then renamed."""
        part = f"{place}.part"
        source = io.BytesIO(content) if isinstance(content, bytes) else str(content)
        try:
            is_done = self.connection.put_file(source, part, _sudo=self._sudo)
        except Exception as error:
            is_done, why = False, _reason(error)
        else:
            why = "refused"
        if not is_done:
            name = Path(place).name
            if not self._is_connected():
                raise lost(f"while sending {name}")
            raise DeployError(f"{name} could not be sent ({why}); make room on the box")
        old, new, folder = map(shlex.quote, (part, place, str(Path(place).parent)))
        # On the disk before it has its name, and the name on the disk too: power may go at any time.
        self.run(f"chmod {mode} {old} && sync {old} && mv -f {old} {new} && sync {folder}")


def unexpected(error: BaseException) -> str:
    """The row of a host whose answer nobody foresaw."""
    return f"unexpected answer ({type(error).__name__}: {_reason(error)}); provision it, or try again"


def lost(how: str) -> DeployError:
    """The fault of a connection that broke."""
    return DeployError(f"connection lost ({how}); try again")


def _reason(error: BaseException) -> str:
    return printed((str(error).splitlines() or [""])[0], 120) or type(error).__name__


class HostKeyNews(logging.Handler):
    """Says what pyinfra warns of about host keys, which are the only proof that a box is the one meant."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``; a message is said once."""
        text = printed(record.getMessage(), LONGEST_LINE)
        if "host key" in text.lower() and text not in self._told:
            self._told.add(text)
            print(f"deploy: {text}", file=sys.stderr, flush=True)


def make_state(hosts: Sequence[Host]) -> State:
    """pyinfra's state for ``hosts``; nothing is connected yet."""
    pyinfra.logger.setLevel(logging.WARNING)
    pyinfra.logger.propagate = False
    pyinfra.logger.handlers = [HostKeyNews()]
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    names = []
    for host in hosts:
        data: dict[str, Any] = {"ssh_hostname": host.address, "ssh_user": host.user, "ssh_port": host.port}
        data["ssh_strict_host_key_checking"] = "yes" if host.is_strict else "accept-new"
        if host.key:
            data["ssh_key"] = str(Path(host.key).expanduser())
        if host.known_hosts:
            data["ssh_known_hosts_file"] = str(Path(host.known_hosts).expanduser())
        names.append((host.name, data))
    inventory: Any = Inventory
    config: Any = Config
    return State(inventory((names, {})), config(CONNECT_TIMEOUT=CONNECT_WITHIN_S))


def connect(state: State, name: str) -> Any:
    """pyinfra's host, connected.

    Raises
    ------
    DeployError: it cannot be reached, or refuses the key.
    """
    connection = state.inventory.get_host(name)
    try:
        connection.connect(raise_exceptions=True)
    except (ConnectError, PyinfraError) as error:
        raise DeployError(f"cannot connect: {_reason(error)}; check address, network and key") from None
    except Exception as error:
        raise DeployError(f"cannot connect: {_reason(error)}; check address, network and key") from None
    state.activate_host(connection)
    return connection


def on_each(hosts: Sequence[Host], work: Callable[[Remote], Outcome]) -> list[Outcome]:
    """``work`` on every host at once; a host's fault is its own row."""
    state = make_state(hosts)

    def one(host: Host) -> Outcome:
        try:
            return work(Remote(host, connect(state, host.name)))
        except DeployError as error:
            return Outcome(host.name, False, 0, str(error))
        except Exception as error:  # a fault of one box must not stop the others
            return Outcome(host.name, False, 0, unexpected(error))

    jobs = [state.pool.spawn(one, host) for host in hosts]
    return [job.get() for job in jobs]


def as_json(outcomes: Sequence[Outcome]) -> str:
    """All that is known of each host, by name: for other programs."""
    return json.dumps({o.host: asdict(o) for o in outcomes}, indent=1)


def table(outcomes: Sequence[Outcome]) -> str:
    """A line a host: what happened to it."""
    width = max((len(o.host) for o in outcomes), default=4)
    # The answer of a box stays in its own row.
    lines = [
        f"{o.host:<{width}}  {'good' if o.is_good else 'BAD':<4}  {o.changed:>3} changes  "
        f"{printed(o.text, LONGEST_LINE)}"
        for o in outcomes
    ]
    n_good = sum(o.is_good for o in outcomes)
    return "\n".join([*lines, f"{n_good} of {len(outcomes)} good"])
