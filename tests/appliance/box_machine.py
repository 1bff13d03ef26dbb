"""A virtual box that runs: power, ssh, snapshots. See ``box_build`` for what is in it.

A disk is a qcow2 overlay; a snapshot in it holds the memory and the disk of one moment, and is gone back
to in about two seconds. Nothing in the box is reached but by ssh, and its host side is the same kernel.
"""

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from box_build import CPU, run

BOOT_WITHIN_S: Final = 3600.0
VIRTUAL_TIME: Final = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on")
"""The box counts its own instructions, 1 ns each: to itself it is a core of 1,000 MIPS, about a Pi 3's,
that keeps its deadlines however slow or busy the host is. Only who waits for it sees the difference.
"""
HOST_TIME: Final = ("-accel", "tcg,thread=single")
"""The host's own clock: for work without deadlines."""
SLOWEST: Final = 200.0
"""How many times slower than its own clock the box may run: 8 with a core for itself, more on a busy host.

Whether the box is late is judged by its own clock. This only ends a test whose QEMU hangs.
"""
ANSWERS_WITHIN_S: Final = 3600.0
"""This host's seconds for a command that takes the box a few of its own."""
SSH_OPTIONS: Final = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", "ServerAliveInterval=60",
    "-o", "ServerAliveCountMax=120",
)  # fmt: skip


class BoxError(Exception):
    """A command in the box failed; the text has what it printed."""


def overlay(disk: Path, over: Path) -> Path:
    """A new qcow2 ``disk`` that takes what it does not hold from ``over``."""
    disk.unlink(missing_ok=True)
    kind = "qcow2" if over.suffix == ".qcow2" else "raw"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", over.resolve(), "-F", kind, disk)
    return disk


class Machine:
    """A box on ``disk``.

    Parameters
    ----------
    box: the folder that ``build_box`` returned.
    disk: a qcow2 overlay, written to.
    load: snapshot to start from; None is a power-on.
    payload: a file system image to lend the box as /dev/vdb, to read.
    clock: QEMU's words for its time; ``HOST_TIME`` is three times as fast, and keeps no deadline.
    """

    def __init__(
        self,
        box: Path,
        disk: Path,
        load: str | None = None,
        payload: Path | None = None,
        clock: tuple[str, ...] = VIRTUAL_TIME,
    ) -> None:
        self.box = box
        self.disk = disk
        self.folder = Path(tempfile.mkdtemp(prefix="kelly-box-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        drives = [("d0", disk, "qcow2"), *([("d1", payload, "raw")] if payload else [])]
        words = [
            "qemu-system-aarch64",
            *clock,
            *CPU,
            "-nodefaults",
            "-nographic",
            "-no-reboot",
        ]
        words += ["-serial", f"file:{self.folder}/serial.log"]
        words += ["-monitor", f"unix:{self.folder}/monitor,server=on,wait=off"]
        words += [
            "-dtb",
            str(box / "virt.dtb"),
            "-kernel",
            str(box / "kernel/vmlinuz"),
            "-initrd",
            str(box / "initrd"),
        ]
        words += ["-append", "console=ttyAMA0 root=/dev/vda quiet mitigations=off panic=-1 audit=0"]
        for name, file, kind in drives:
            access = ",readonly=on" if file == payload else ""
            words += ["-drive", f"file={file},format={kind},if=none,id={name},cache=writeback{access}"]
            words += ["-device", f"virtio-blk-pci,drive={name},romfile="]
        words += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        words += ["-device", "virtio-net-pci,netdev=n0,romfile=", "-device", "virtio-rng-pci"]
        if load is not None:
            words += ["-loadvm", load]
        # It takes what is left of this host; in a session of its own, so that only it does.
        self._qemu = subprocess.Popen(
            ["nice", "-n", "5", *words], stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._ssh = ("ssh", *SSH_OPTIONS, "-S", str(self.folder / "ssh"), "-i", str(box / "id_ed25519"))
        self.started_s = time.monotonic()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- power -----------------------------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether QEMU runs."""
        return self._qemu.poll() is None

    def wait_for_ssh(self, within_s: float = BOOT_WITHIN_S) -> float:
        """Until ssh answers; seconds since power-on."""
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s and self.is_on:
            with contextlib.suppress(BoxError, subprocess.TimeoutExpired):
                self.ssh(f"date -s @{time.time():.3f} >/dev/null", timeout_s=300.0)
                return time.monotonic() - self.started_s
            time.sleep(0.5)
        raise BoxError(f"no ssh within {within_s:.0f} s; the console ends with\n{self.console()[-3000:]}")

    def console(self) -> str:
        """What the kernel and systemd wrote to the serial line."""
        return (self.folder / "serial.log").read_text(errors="replace")

    def kill(self) -> None:
        """A power cut: what the kernel in the box had not written is lost."""
        subprocess.run([*self._ssh, "-O", "exit", "root@127.0.0.1"], capture_output=True, check=False)
        self._qemu.kill()
        self._qemu.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def power_off(self, within_s: float = ANSWERS_WITHIN_S) -> None:
        """As a person would: everything is stopped and written."""
        self.ssh("systemctl poweroff", check=False)
        self._qemu.wait(within_s)

    def save(self, snapshot: str) -> None:
        """Keep this moment; its memory and disk go into ``disk``."""
        self.ssh("sync")
        self._drop_connection()
        answer = self.monitor(f"savevm {snapshot}")
        if "rror" in answer:
            raise BoxError(f"savevm: {answer}")

    def monitor(self, command: str) -> str:
        """A line to QEMU's monitor; what it answered."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.folder / "monitor"))
            line.settimeout(600.0)
            text = b""
            for words in ("", command):
                if words:
                    line.sendall(f"{words}\n".encode())
                    text = b""
                while not text.endswith(b"(qemu) "):
                    text += line.recv(65536)
        return text.decode(errors="replace")

    # --- ssh -------------------------------------------------------------------------------

    def _drop_connection(self) -> None:
        subprocess.run([*self._ssh, "-O", "exit", "root@127.0.0.1"], capture_output=True, check=False)

    def _command(self, command: str) -> list[str]:
        return [*self._ssh, "-p", str(self.port), "root@127.0.0.1", command]

    def ssh(
        self, command: str, check: bool = True, timeout_s: float = ANSWERS_WITHIN_S, stdin: str = ""
    ) -> str:
        """Run a shell command in the box as root; its stdout, with stderr where it failed.

        Raises
        ------
        BoxError: it failed and ``check``.
        """
        done = subprocess.run(
            self._command(command),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise BoxError(f"{command!r} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def put(self, source: Path | str, target: str, *options: str) -> None:
        """rsync a file or folder into the box (``source/`` is the content of a folder)."""
        ssh = " ".join((*self._ssh, "-p", str(self.port)))
        run("rsync", "-a", *options, "-e", ssh, source, f"root@127.0.0.1:{target}")

    def wait_until(self, command: str, within_s: float, every_s: float = 0.5) -> float:
        """Until the shell command succeeds in the box; the seconds it took there.

        Raises
        ------
        BoxError: it did not within ``within_s``.
        """
        text = self.ssh(
            f"begin=$(date +%s.%N); end=$(($(date +%s) + {within_s:.0f})); "
            f"until {{ {command}; }} >/run/said 2>&1; do "
            f"[ $(date +%s) -lt $end ] || {{ cat /run/said; echo NEVER; exit; }}; sleep {every_s}; done; "
            'echo "$(date +%s.%N) $begin"',
            timeout_s=SLOWEST * within_s + 120.0,
        )
        if text.endswith("NEVER\n"):
            raise BoxError(f"not within {within_s:.0f} s: {command}\n{text[:-6]}")
        end_s, begin_s = text.split()
        return float(end_s) - float(begin_s)
