"""``python -m deploy`` as a person runs it, a push that can be followed, and a line that can be cut."""

import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from deploy_standin import build_standin
from nspawn import Machine, base_tree, python_of, slowness

from deploy.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
JUDGED_WITHIN_S = 240.0
SWITCHED_WITHIN_S = 240.0


class Push:
    """A push under way: what it is at can be waited for."""

    def __init__(self, words: list[str]) -> None:
        self._process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []

    def wait_for(self, step: str) -> bool:
        """Until it says ``step``; false where it ended without."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line.strip())
            if step in line:
                return True
        return False

    def end(self) -> tuple[int, str, str]:
        """Its exit code, its table and all it said; never a traceback."""
        output, rest = self._process.communicate(timeout=900)
        error = "\n".join([*self.said, rest])
        print(output, error)
        assert "Traceback" not in error, error
        return self._process.returncode, output, error

    def kill(self) -> None:
        """The laptop is gone."""
        self._process.kill()
        self._process.communicate()


class Courier:
    """The command line, with a key, an inventory and bundles of the stand-in for the boxes' machine."""

    def __init__(self, work: Path, key: Path, hosts: Path, machine: str) -> None:
        self._work, self._key, self._hosts, self._machine = work, key, hosts, machine
        self._counter = count(5)

    def bundle(self, behaviour: str = "good", counter: int | None = None, python: str = "") -> Bundle:
        """A new release: the next counter, and code that no other has."""
        number = next(self._counter) if counter is None else counter
        machine, note = self._machine, f"n{number}"
        return build_standin(
            self._work, self._key, behaviour, number, machine, note, python or python_of(base_tree())
        )

    def words(
        self, command: str, *words: str, bundle: Bundle | None = None, hosts: Path | None = None
    ) -> list[str]:
        """The command as a shell is given it."""
        given = ["--bundle", str(bundle.folder)] if bundle is not None else []
        deploy = [sys.executable, "-m", "deploy", "--key", str(self._key)]
        return [*deploy, command, *words, "--hosts", str(hosts or self._hosts), *given]

    def run(self, command: str, *words: str, bundle: Bundle | None = None) -> tuple[int, str]:
        """Exit code and table."""
        started_s = time.monotonic()
        code, text, _ = Push(self.words(command, *words, bundle=bundle)).end()
        print(f"{command} {' '.join(words)}: exit code {code} after {time.monotonic() - started_s:.1f} s")
        return code, text

    def push(self, name: str, bundle: Bundle, hosts: Path | None = None) -> Push:
        """A push that goes on while the test does something else."""
        return Push(self.words("push", name, bundle=bundle, hosts=hosts))


@dataclass
class Line:
    """The network to a box: a port of this machine that passes everything on until it is cut."""

    box_port: int

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.box_port))
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65_536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Nothing passes any more, and nobody answers."""
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def status(machine: Machine) -> dict[str, Any]:
    """The box's own account."""
    facts = json.loads(machine.ssh("/opt/kelly-edge/bin/kelly-edge-release status --json").stdout)
    assert isinstance(facts, dict)
    return facts


def wait_for_switch(machine: Machine) -> None:
    """Until no change of releases is under way on the box."""
    end_s = time.monotonic() + SWITCHED_WITHIN_S * slowness()
    while machine.ssh("systemctl is-active --quiet 'kelly-edge-switch-*'", check=False).returncode == 0:
        assert time.monotonic() < end_s
        time.sleep(0.3)


def wait_until_judged(machine: Machine) -> dict[str, Any]:
    """The box's account once nothing is on trial and every unit is ready."""
    end_s = time.monotonic() + JUDGED_WITHIN_S * slowness()
    while True:
        facts = status(machine)
        if not facts["trial"] and facts["is_healthy"]:
            return facts
        assert time.monotonic() < end_s, facts
        time.sleep(0.3)
