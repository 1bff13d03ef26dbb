"""Boxes to push to: Debian trees booted by systemd-nspawn (arm64 under qemu-user), reached over real SSH.

Each box is an overlay over one unpacked tree, so a box costs a second. Set KELLY_DEPLOY_TREE to the tree
(a folder or a tar of Debian 12 or 13 with systemd, openssh-server, python3); `make deploy-test` makes one.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

CACHE = Path(os.environ.get("KELLY_DEPLOY_CACHE", "~/.cache/kelly-edge-deploy")).expanduser()
SSHD = (
    "Port {port}\nListenAddress 127.0.0.1\nPermitRootLogin prohibit-password\nUsePAM no\nUseDNS no\n"
    "SetEnv QEMU_CPU=cortex-a72\n"
)
EMULATED = "[Manager]\nDefaultEnvironment=QEMU_CPU=cortex-a72\n"
"""A Pi 4's CPU: on qemu-user's default, ``max``, numba and LiteRT compute garbage."""
SSH_WITHIN_S = 120
EMULATED_TAKES = 6
"""Times as long as natively, at least."""
FILL_TRIES = 20
EXPORTS = Path("/run/systemd/nspawn/unix-export")


def absent() -> str:
    """Why no box can be booted here, or nothing."""
    if os.geteuid() != 0:
        return "booting a box needs root"
    for program in ("systemd-nspawn", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path(os.environ["KELLY_DEPLOY_TREE"]).exists():
        return f"there is no tree {os.environ['KELLY_DEPLOY_TREE']}; `make deploy-test` makes it"
    is_known = machine_of(base_tree()) == os.uname().machine
    if not is_known and not Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists():
        return "this kernel runs no aarch64 programs; `make deploy-test ARCH=arm64` registers them"
    return ""


def base_tree() -> Path:
    """The tree, unpacked once."""
    given = Path(os.environ["KELLY_DEPLOY_TREE"])
    if given.is_dir():
        return given
    place = CACHE / given.stem
    if not place.is_dir():
        beside = place.with_suffix(".new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        subprocess.run(["tar", "-C", beside, "-xpf", given], check=True)
        beside.rename(place)
    return place


def python_of(tree: Path) -> str:
    """The version of its Python: 3.11 in bookworm, 3.13 in trixie."""
    return (tree / "usr/bin/python3").readlink().name.removeprefix("python")


def machine_of(tree: Path) -> str:
    """``aarch64`` or ``x86_64``, from the header of a program in it."""
    header = (tree / f"usr/bin/python{python_of(tree)}").read_bytes()[:20]
    return {0xB7: "aarch64", 0x3E: "x86_64"}[int.from_bytes(header[18:20], "little")]


def slowness() -> int:
    """What times of native boxes are multiplied with."""
    return 1 if machine_of(base_tree()) == os.uname().machine else EMULATED_TAKES


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Machine:
    """One box. ``size``: what its disk holds beside the tree, as tmpfs takes it."""

    folder: Path
    number: int
    size: str = "2g"
    port: int = field(default_factory=_free_port)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def ssh_key(self) -> Path:
        return self.folder / "ssh_key"

    @property
    def name(self) -> str:
        return f"box{self.number}"

    @property
    def in_nspawn(self) -> str:
        return f"kelly-{self.number}-{os.getpid()}"

    def make(self) -> "Machine":
        """Its disk, and the key that opens it."""
        for part in ("root", "disk"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={self.size}", "tmpfs", self.folder / "disk")
        for part in ("upper", "work"):
            (self.folder / "disk" / part).mkdir()
        options = f"lowerdir={base_tree()},upperdir={self.folder}/disk/upper,workdir={self.folder}/disk/work"
        _mount("-t", "overlay", "-o", options, "overlay", self.root)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.ssh_key], check=True)
        home = self.root / "root/.ssh"
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "authorized_keys").write_bytes(self.ssh_key.with_suffix(".pub").read_bytes())
        (self.root / "etc/ssh/sshd_config.d").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/ssh/sshd_config.d/test.conf").write_text(SSHD.format(port=self.port))
        (self.root / "etc/systemd/system.conf.d").mkdir(parents=True, exist_ok=True)
        (self.root / "etc/systemd/system.conf.d/emulated.conf").write_text(EMULATED)
        for key in (self.root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        host_key = self.root / "etc/ssh/ssh_host_ed25519_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host_key], check=True)
        (self.root / "etc/machine-id").write_text("")
        return self

    def boot(self) -> "Machine":
        """Power on, until ssh answers."""
        words = [
            "systemd-nspawn",
            "-q",
            "--register=no",
            "--keep-unit",
            f"--machine={self.in_nspawn}",
        ]
        words += ["--capability=CAP_IPC_LOCK,CAP_SYS_NICE", "--resolv-conf=off", "--timezone=off"]
        log = (self.folder / "console.log").open("ab")
        self.process = subprocess.Popen(
            [*words, "-D", str(self.root), "--boot"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},
        )
        log.close()
        end_s = time.monotonic() + SSH_WITHIN_S * slowness()
        while self.ssh("true", check=False).returncode:
            assert time.monotonic() < end_s, (self.folder / "console.log").read_text(errors="replace")[-2000:]
            time.sleep(0.3)
        return self

    def cut_power(self) -> None:
        """Every process gone at once, nothing told."""
        if self.process is None:
            return
        scope = _descendants(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        for pid in scope:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        self.process = None
        # Since systemd 256 a killed nspawn leaves this mounted, and then refuses the name.
        subprocess.run(["umount", "-l", EXPORTS / self.in_nspawn], check=False, capture_output=True)

    def ssh(
        self, command: str, check: bool = True, timeout_s: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on it."""
        words = ["ssh", "-q", "-i", str(self.ssh_key), "-p", str(self.port), "-o", "BatchMode=yes"]
        words += [
            "-o",
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "-o",
            "StrictHostKeyChecking=accept-new",
        ]
        words += ["-o", "ConnectTimeout=10", "root@127.0.0.1", command]
        return subprocess.run(words, capture_output=True, text=True, check=check, timeout=timeout_s)

    def fill(self, spare_bytes: int = 0) -> None:
        """Its disk is full, but for ``spare_bytes``; /tmp is on it too."""
        disk = self.folder / "disk"
        for _ in range(FILL_TRIES):
            stat = os.statvfs(disk)
            size = (stat.f_blocks - stat.f_bfree) * stat.f_frsize + spare_bytes
            # Refused where more was written meanwhile.
            if not subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=False).returncode:
                return
        raise AssertionError(f"{self.name} writes too fast to be filled")

    def make_room(self) -> None:
        """Its disk has its size again."""
        _mount("-o", f"remount,size={self.size}", self.folder / "disk")

    def close(self) -> None:
        """Power off and take its disk apart."""
        self.cut_power()
        for part in (self.root, self.folder / "disk"):
            subprocess.run(["umount", "-l", str(part)], check=False, capture_output=True)


def _mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def _descendants(pid: int) -> list[int]:
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        try:
            tasks = [int(t) for t in os.listdir(f"/proc/{parent}/task")]
            children = [
                int(c) for t in tasks for c in Path(f"/proc/{parent}/task/{t}/children").read_text().split()
            ]
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += children
        todo += children
    return found


def inventory(machines: list[Machine], path: Path, port: int = 0) -> Path:
    """An inventory of ``machines``, all of them in group ``ward``; ``port``: another way to them."""
    lines = ["hosts:"]
    for m in machines:
        reach = f"address: 127.0.0.1, port: {port or m.port}, key: {m.ssh_key}"
        reach += f", known_hosts: {m.folder}/known_hosts"
        lines.append(f"  {m.name}: {{{reach}}}")
    lines += ["groups:", f"  ward: [{', '.join(m.name for m in machines)}]"]
    path.write_text("\n".join(lines) + "\n")
    return path
