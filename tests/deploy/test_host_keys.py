"""Host keys over real SSH: first contact is said and kept, refused with --strict; a changed key always is."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nspawn import base_tree

pytest.importorskip("pyinfra", reason="the deploy extra is not installed")
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
IN_TREE = not Path(SSHD).is_file() and "KELLY_DEPLOY_TREE" in os.environ
"""None is installed for the tests: Debian would start it, open to the network. The boxes' tree has one."""
if not (IN_TREE or Path(SSHD).is_file()) or not shutil.which("ssh-keygen"):
    pytest.skip("no sshd (make deploy-test, or apt install openssh-server)", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("sshd needs root", allow_module_level=True)

INSIDE = """
tree=$1 folder=$2; shift 2
mount -t tmpfs tmpfs "$tree/run" && mkdir "$tree/run/sshd"
mount --bind /dev "$tree/dev" && mount --bind "$folder" "$tree/mnt"
exec chroot "$tree" "$@"
"""
"""Runs a program of a tree with a folder at its /mnt; meant for a mount namespace of its own."""
WORK = """
import sys
from pathlib import Path
from deploy.fleet import Outcome, on_each, table
from deploy.inventory import find_hosts
hosts = find_hosts(["box"], Path(sys.argv[1]), sys.argv[2] == "strict")
print(table(on_each(hosts, lambda remote: Outcome("box", True, 0, remote.run("echo reached").strip()))))
"""


class Box:
    """An sshd of its own, with a host key that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known_hosts = folder / "known_hosts"
        self._daemon: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._keygen("user")
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "authorized").chmod(0o600)
        self.inventory = folder / "hosts.yaml"
        self.inventory.write_text(
            f"hosts:\n  box: {{address: 127.0.0.1, port: {self.port}, user: {getpass.getuser()}, "
            f"key: {folder / 'user'}, known_hosts: {self.known_hosts}}}\n"
        )
        self.known_hosts.touch()
        self.start()

    def _keygen(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(command, check=True)

    def start(self) -> None:
        self.stop()
        self._keygen("host")
        os.makedirs("/run/sshd", exist_ok=True)
        place = Path("/mnt") if IN_TREE else self.folder
        options = [
            f"Port={self.port}",
            "ListenAddress=127.0.0.1",
            f"HostKey={place / 'host'}",
            f"AuthorizedKeysFile={place / 'authorized'}",
            "StrictModes=no",
            "UsePAM=no",
            "PermitRootLogin=prohibit-password",
            f"PidFile={place / 'pid'}",
        ]
        words = [word for option in options for word in ("-o", option)]
        words = [SSHD, "-D", "-f", "/dev/null", *words]
        if IN_TREE:
            words = ["unshare", "-m", "sh", "-euc", INSIDE, "-", str(base_tree()), str(self.folder), *words]
        self._daemon = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        end_s = time.monotonic() + 300
        while time.monotonic() < end_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("sshd does not answer")

    def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(300)

    def reach(self, how: str = "") -> tuple[str, str]:
        """Table and warnings of a work that asks one thing."""
        done = subprocess.run(
            [sys.executable, "-c", WORK, str(self.inventory), how],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.stop()


def test_a_first_contact_is_said_once_and_its_key_is_kept(box: Box) -> None:
    table, said = box.reach()
    assert "reached" in table and "1 of 1 good" in table
    assert "No host key for" in said and "127.0.0.1" in said
    assert "127.0.0.1" in box.known_hosts.read_text()
    table, said = box.reach()
    assert "reached" in table
    assert "host key" not in said.lower()
    assert "reached" in box.reach("strict")[0]


def test_strict_refuses_a_box_that_is_not_known(box: Box) -> None:
    table, _ = box.reach("strict")
    assert "BAD" in table and "host key" in table and "0 of 1 good" in table
    assert box.known_hosts.read_text() == ""


def test_a_changed_key_is_always_refused(box: Box) -> None:
    box.reach()
    box.start()
    for how in ("", "strict"):
        table, _ = box.reach(how)
        assert "BAD" in table and "0 of 1 good" in table
