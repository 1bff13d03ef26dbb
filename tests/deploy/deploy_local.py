"""The courier against a box that is a folder: its shell commands run here, on paths inside of the box.

``python deploy_local.py push ROOT KEY BUNDLE`` in a process of its own: the courier patches sockets; also
``trust ROOT KEY``, ``settings ROOT KEY FILE``, ``doctor ROOT KEY`` and ``fetch ROOT KEY KIND FOLDER``. Prints
how it went as JSON. ``systemd-run`` is played: it runs the command, one of a name at a time.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

WORDS = {
    "systemd-run": """
unit="$3"; shift 3
mkdir "{root}/run-$unit" 2>/dev/null || exit 1
( "$@" > "{root}/said" 2>&1; rmdir "{root}/run-$unit" ) > /dev/null 2>&1 &
""",
    "systemctl": 'for last; do :; done; test -d "{root}/run---unit=${{last%.service}}"\n',
    "journalctl": 'cat "{root}/said"\n',
    "python3": 'echo "{python}"\n',
    "uname": "echo aarch64\n",
    "kelly-edge-release": 'exec "{executable}" "{here}" box "{root}" "$@"\n',
}


def write_words(root: Path, python: str) -> Path:
    """The programs that stand in for a box's; their folder."""
    folder = root / "words"
    folder.mkdir(exist_ok=True)
    for name, text in WORDS.items():
        path = folder / name
        if not path.exists():
            filled = text.format(root=root, python=python, executable=sys.executable, here=Path(__file__))
            path.write_text(f"#!/bin/sh\n{filled}")
            path.chmod(0o755)
    return folder


class LocalRemote:
    """What :class:`deploy.fleet.Remote` is to a real box."""

    def __init__(self, root: Path, python: str, settings: str = "") -> None:
        from deploy.inventory import Host

        self.host = Host(name="box", address="here", settings=settings)
        self._root, self._words = root, write_words(root, python)

    def _run(self, command: str) -> "subprocess.CompletedProcess[str]":
        inside = command.replace("/opt/kelly-edge/bin/kelly-edge-release", "kelly-edge-release")
        inside = inside.replace("/etc/kelly-edge", f"{self._root}/etc/kelly-edge")
        inside = inside.replace("/opt/kelly-edge", f"{self._root}/opt/kelly-edge")
        path = f"{self._words}:/usr/bin:/bin"
        return subprocess.run(
            ["sh", "-c", inside],
            env={"PATH": path, "PYTHONPATH": os.environ["PYTHONPATH"]},
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, command: str, timeout_s: int = 0) -> str:
        """Standard output."""
        from deploy.errors import DeployError

        done = self._run(command)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise DeployError(lines[-1])
        return done.stdout

    def ask(self, command: str) -> bool:
        """Whether it ends well."""
        return self._run(command).returncode == 0

    def put(self, content: bytes | Path, place: str, mode: str = "644") -> None:
        """As the real one does it, without a network."""
        there = Path(place.replace("/opt/kelly-edge", f"{self._root}/opt/kelly-edge"))
        part = there.with_name(f"{there.name}.part")
        part.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        part.chmod(int(mode, 8))
        part.replace(there)


def on_box(root: str, *words: str) -> int:
    """The box's program, with a service manager and a command that are played."""
    from deploy_programs import FakePrograms

    from deploy.box import __main__ as program
    from deploy.box import store
    from deploy.box.health import Patience

    made: Any = program
    made.SystemPrograms = FakePrograms
    made._patience = lambda layout: Patience(0.0, 0.0)
    made.parcels.fetch_sessions = lambda layout, path: made.parcels.keep_output(
        [sys.executable, str(Path(__file__)), "box", root, "pack"], path, made.parcels.MAX_PARCEL_BYTES
    )
    made.os.uname = lambda: type("Here", (), {"machine": "aarch64"})
    vars(store)["sync"] = lambda: None
    store.install.__defaults__ = (0,)
    sys.argv = ["kelly-edge-release", "--root", root, *words]
    return program.main()


def main(command: str, root: str, *words: str) -> int:
    """Run one command of the courier's, or of the box's."""
    if command == "box":
        return on_box(root, *words)
    from deploy import doctor, fetch, push, settings
    from deploy.bundle import open_bundle
    from deploy.errors import DeployError
    from deploy.keyring import key_lists

    remote: Any = LocalRemote(Path(root), "3.11", words[1] if command == "settings" else "")
    for module in (doctor, fetch, push, settings):
        vars(module)["send_program"] = lambda remote: False
    lists = key_lists(Path(words[0]))
    try:
        if command == "push":
            outcome = push.push(remote, open_bundle(Path(words[1])), False, lambda *_: None, lists)
        elif command == "settings":
            outcome = settings.push_settings(remote, lambda text: print(text, file=sys.stderr))
        elif command == "doctor":
            outcome = doctor.doctor(remote)
        elif command == "fetch":
            outcome = fetch.fetch(remote, words[1], Path(words[2]))
        else:
            outcome = push.trust(remote, lists)
    except DeployError as error:
        print(json.dumps({"is_good": False, "changed": 0, "text": str(error)}))
        return 1
    print(json.dumps(asdict(outcome)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
