"""Builds the virtual box: Debian's own arm64 kernel and tree, with the hardware of the box simulated in it.

``python tests/appliance/box_build.py`` builds what the cache lacks and prints its folder. The cache is
``$KELLY_VM_CACHE`` or ``~/.cache/kelly-edge-vm``, a folder for each set of tables below and QEMU version.
It needs root, a network, and the packages and emulator that ``make appliance`` installs and registers.

The box has a sound card that is a cable (snd-aloop), a USB gadget controller wired to a USB host in the
same kernel (dummy_hcd) and a GPIO chip whose lines are pulled through sysfs (gpio-sim, built out of tree
from Debian's kernel source: it is GPL and is in no repository of ours).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final


def words(text: str) -> list[str]:
    """The words of ``text``."""
    return text.split()


HOST_PROGRAMS: Final = {
    "qemu-system-arm": "qemu-system-aarch64",
    "qemu-utils": "qemu-img",
    "mmdebstrap": "mmdebstrap",
    "e2fsprogs": "mke2fs",
    "cpio": "cpio",
    "kmod": "depmod",
    "device-tree-compiler": "fdtput",
    "gcc-aarch64-linux-gnu": "aarch64-linux-gnu-gcc",
    "make": "make",
    "systemd": "systemctl",
    "rsync": "rsync",
    "openssh-client": "ssh ssh-keygen",
    "xz-utils": "xz",
}
"""Debian's package → what is run of it here."""
BINFMT: Final = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
TREE_PACKAGES: Final = words(
    """
    systemd systemd-sysv udev kmod dbus alsa-utils libasound2 libportaudio2 python3 python3-venv
    openssh-server rsync sudo iproute2 gpiod procps libatomic1
    """
)
"""Debian's part of the box, as on a Pi, and what the tests look with."""
MODULES: Final = words(
    """
    virtio_pci virtio_blk virtio_net virtio_rng crc32c_generic ext4 af_packet autofs4 configfs vfat
    snd-aloop snd-seq snd-seq-midi snd-usb-audio dummy_hcd libcomposite usb_f_midi usb_f_ecm
    usb_f_rndis cdc_ether
    """
)
KERNEL: Final = "linux-image-arm64"
"""Debian's stable one. The cloud kernels have no sound and no USB gadget."""
BOOT_MODULES: Final = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
CPU: Final = ("-cpu", "cortex-a76", "-M", "virt", "-smp", "1", "-m", "1536")
DISK_MIB: Final = 4096
PI_4B: Final = "c03114"
"""The revision gpiozero reads from the device tree."""
SIM_SOURCES: Final = {
    "drivers/gpio/gpio-sim.c": "gpio-sim-core.c",
    "drivers/gpio/gpiolib.h": "gpiolib.h",
    "kernel/irq/irq_sim.c": "irq_sim.c",
}

INIT: Final = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /root
for folder in proc sys dev; do /bin/busybox mount --move /$folder /root/$folder; done
exec /bin/busybox switch_root /root /sbin/init
"""

BENCH: Final = Path(__file__).with_name("bench")
"""Files of the test bench, as they lie in the box."""
MASKED: Final = words(
    """
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    systemd-timesyncd.service systemd-networkd-wait-online.service getty@tty1.service
    proc-sys-fs-binfmt_misc.automount systemd-binfmt.service e2scrub_reap.service man-db.timer
    """
)
FETCHED: Final = ("tree.tar", "debs")
ENABLED: Final = ("ssh.service", "systemd-networkd.service", "bench-gpio.service", "bench-host.service")


def cache_folder() -> Path:
    """The cache's root."""
    return Path(os.environ.get("KELLY_VM_CACHE") or Path.home() / ".cache/kelly-edge-vm")


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a host command; its stdout. Raises with its stderr where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


def missing_on_host() -> str:
    """Why this host cannot build or run the box; empty if it can."""
    if os.geteuid() != 0:
        return "it needs root"
    absent = [name for name, used in HOST_PROGRAMS.items() if not all(map(shutil.which, used.split()))]
    if absent:
        return f"{', '.join(absent)} not installed; `make appliance` installs them where apt can"
    if os.uname().machine != "aarch64" and not BINFMT.exists():
        return "this kernel runs no arm64 programs (qemu-user-static); `make appliance` registers them"
    return ""


def build_key() -> str:
    """What the cache is keyed on: packages, kernel, the bench's files, the machine and QEMU's version."""
    qemu = run("qemu-system-aarch64", "--version").splitlines()[0]
    tables = (TREE_PACKAGES, KERNEL, MODULES, BOOT_MODULES, SIM_SOURCES, CPU, DISK_MIB, PI_4B, INIT)
    bench = [
        (path.relative_to(BENCH).as_posix(), path.read_text())
        for path in sorted(BENCH.rglob("*"))
        if path.is_file()
    ]
    text = repr((tables, bench, MASKED, ENABLED, qemu))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class FetchError(RuntimeError):
    """The packages cannot be had here."""


class Build:
    """The steps; each leaves the file it is named after in ``folder`` or nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"

    def steps(self) -> Sequence[tuple[str, Callable[[Path], None]]]:
        """File left → how it is made, in order."""
        return (
            ("tree.tar", self.debian_tree),
            ("debs", self.kernel_packages),
            ("kernel", self.kernel),
            ("initrd", self.initrd),
            ("id_ed25519", self.ssh_key),
            ("disk.ext4", self.disk),
            ("virt.dtb", self.device_tree),
        )

    def run(self) -> None:
        """Every step whose file is not there yet."""
        self.work.mkdir(parents=True, exist_ok=True)
        for name, step in self.steps():
            if (self.folder / name).exists():
                continue
            print(f"building {name}", file=sys.stderr, flush=True)
            new = self.work / f"new-{name}"
            shutil.rmtree(new, ignore_errors=True)
            new.unlink(missing_ok=True)
            try:
                step(new)
            except RuntimeError as error:
                if name in FETCHED:
                    raise FetchError(str(error).strip().splitlines()[-1]) from error
                raise
            new.rename(self.folder / name)
        shutil.rmtree(self.work)
        # All that is needed of them is in the disk.
        (self.folder / "tree.tar").unlink()
        shutil.rmtree(self.folder / "debs")

    def debian_tree(self, out: Path) -> None:
        """An arm64 bookworm tree; its packages' scripts run under qemu-user."""
        run(
            "mmdebstrap", "--variant=minbase", "--architectures=arm64", "--format=tar",
            "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
            "--dpkgopt=force-unsafe-io", '--aptopt=Apt::Install-Recommends "false"',
            f"--include={','.join(TREE_PACKAGES)}", "bookworm", out,
        )  # fmt: skip

    def kernel_packages(self, out: Path) -> None:
        """The kernel, its headers and its source, from where the tree's packages came from."""
        apt = self.work / "apt"
        for folder in ("lists/partial", "cache/archives/partial", "etc/parts"):
            (apt / folder).mkdir(parents=True, exist_ok=True)
        (apt / "status").touch()
        with tarfile.open(self.folder / "tree.tar") as tree:
            source = tree.extractfile("./etc/apt/sources.list")
            assert source is not None
            (apt / "etc/sources.list").write_bytes(source.read())
        host = run("dpkg", "--print-architecture").strip()
        (apt / "apt.conf").write_text(
            f'Dir::State "{apt}"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}/cache";\n'
            f'Dir::Etc::sourcelist "{apt}/etc/sources.list"; Dir::Etc::sourceparts "{apt}/etc/parts";\n'
            f'APT::Architecture "arm64"; APT::Architectures {{ "arm64"; "{host}"; }};\n'
            'APT::Sandbox::User "root";\n'
        )
        env = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
        run("apt-get", "-qq", "update", env=env)

        def depends(package: str) -> list[str]:
            text = run("apt-cache", "depends", "--important", package, env=env)
            return [line.split()[-1] for line in text.splitlines() if "Depends:" in line]

        image = next(name for name in depends(KERNEL) if name.startswith("linux-image-"))
        version = image.removeprefix("linux-image-")
        common = f"linux-headers-{version.removesuffix('-arm64')}-common"
        series = ".".join(version.split(".")[:2])
        out.mkdir()
        # kbuild's programs run here, so they are the host's.
        run(
            "apt-get", "-qq", "download", image, f"linux-headers-{version}", common,
            f"linux-kbuild-{series}:{host}", f"linux-source-{series}", "busybox-static", cwd=out, env=env,
        )  # fmt: skip

    def _deb(self, name: str) -> Path:
        found = sorted((self.folder / "debs").glob(f"{name}_*.deb"))
        if not found:
            found = sorted((self.folder / "debs").glob(f"{name}*.deb"))
        return found[0]

    def kernel(self, out: Path) -> None:
        """vmlinuz and the modules wanted with all they depend on, gpio-sim among them."""
        unpacked = self.work / "unpacked"
        for name in ("linux-image-", "linux-headers-*-arm64", "linux-headers-*-common", "linux-kbuild-"):
            run("dpkg-deb", "-x", self._deb(name), unpacked)
        version = next((unpacked / "lib/modules").iterdir()).name
        run("depmod", "-b", unpacked, version)
        modules = unpacked / "lib/modules" / version
        paths = dependencies(modules)
        wanted: dict[str, None] = {}
        for module in MODULES:
            if module.replace("-", "_") in builtin(modules):
                continue
            wanted.update(dict.fromkeys(paths[module.replace("-", "_")]))
        target = out / "lib/modules" / version
        for path in wanted:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(modules / path, target / path)
        for name in ("modules.builtin", "modules.builtin.modinfo", "modules.order"):
            shutil.copy(modules / name, target / name)
        sim = target / "extra/gpio-sim.ko"
        sim.parent.mkdir()
        shutil.copy(self._gpio_sim(unpacked, version), sim)
        run("depmod", "-b", out, version)
        shutil.copy(unpacked / f"boot/vmlinuz-{version}", out / "vmlinuz")
        boot: dict[str, None] = {}
        for module in BOOT_MODULES:
            boot.update(dict.fromkeys(paths[module]))
        (out / "boot-modules").write_text("\n".join(boot))

    def _gpio_sim(self, unpacked: Path, version: str) -> Path:
        source = self.work / "gpio-sim"
        source.mkdir(exist_ok=True)
        run("dpkg-deb", "-x", self._deb("linux-source-"), self.work / "source")
        archive = next((self.work / "source/usr/src").glob("linux-source-*.tar.xz"))
        top = archive.name.removesuffix(".tar.xz")
        run(
            "tar",
            "xf",
            archive,
            "-C",
            source,
            "--strip-components=1",
            *(f"{top}/{path}" for path in SIM_SOURCES),
        )
        for path, name in SIM_SOURCES.items():
            (source / path).rename(source / name)
        irq_sim = source / "irq_sim.c"
        lines = [
            line for line in irq_sim.read_text().splitlines() if not line.startswith("EXPORT_SYMBOL_GPL")
        ]
        irq_sim.write_text(
            "\n".join(lines).replace("handle_simple_irq(irq_to_desc(irqnum))", "generic_handle_irq(irqnum)")
            + "\n"
        )
        (source / "Makefile").write_text("obj-m += gpio-sim.o\ngpio-sim-y := gpio-sim-core.o irq_sim.o\n")
        headers = unpacked / f"usr/src/linux-headers-{version}"
        # The packages expect each other under /usr; here they lie elsewhere.
        for makefile in (headers / "Makefile", headers / ".kernelvariables"):
            if makefile.exists():
                makefile.write_text(makefile.read_text().replace("/usr/src/", f"{unpacked}/usr/src/"))
        kbuild = next((unpacked / "usr/lib").glob("linux-kbuild-*"))
        for folder in unpacked.glob("usr/src/linux-headers-*"):
            for name in ("scripts", "tools"):
                if (folder / name).is_symlink():
                    (folder / name).unlink()
                    (folder / name).symlink_to(kbuild / name)
        # The headers name the compiler of their own Debian, which a later one need not have.
        compiler = ("CROSS_COMPILE=aarch64-linux-gnu-", "CC=aarch64-linux-gnu-gcc")
        run("make", "-C", headers, f"M={source}", "ARCH=arm64", *compiler, "modules")
        return source / "gpio-sim.ko"

    def initrd(self, out: Path) -> None:
        """busybox, the modules of the disk and a script that goes on from the disk."""
        root = self.work / "initrd-root"
        shutil.rmtree(root, ignore_errors=True)
        (root / "modules").mkdir(parents=True)
        run("dpkg-deb", "-x", self._deb("busybox-static"), root / "deb")
        (root / "bin").mkdir()
        shutil.copy(root / "deb/bin/busybox", root / "bin/busybox")
        shutil.rmtree(root / "deb")
        version = next((self.folder / "kernel/lib/modules").iterdir())
        names = []
        for path in (self.folder / "kernel/boot-modules").read_text().split():
            shutil.copy(version / path, root / "modules")
            names.append(Path(path).name)
        (root / "init").write_text(INIT.format(modules=" ".join(names)))
        (root / "init").chmod(0o755)
        run("sh", "-c", f"cd {root} && find . | cpio --quiet -o -H newc | gzip > {out}")

    def ssh_key(self, out: Path) -> None:
        """The key of the bench; nobody else has it and there is no password."""
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", out)
        (out.parent / f"{out.name}.pub").rename(self.folder / "id_ed25519.pub")

    def disk(self, out: Path) -> None:
        """The tree with the bench's files in it, as a file system made without mounting one."""
        root = self.work / "root"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        run("tar", "xf", self.folder / "tree.tar", "-C", root, "--exclude=./dev/*", "--numeric-owner")
        shutil.copytree(self.folder / "kernel/lib/modules", root / "usr/lib/modules", dirs_exist_ok=True)
        shutil.copytree(BENCH, root, dirs_exist_ok=True)
        for name in MASKED:
            link(root / "etc/systemd/system" / name, "/dev/null")
        keys = root / "root/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.folder / "id_ed25519.pub", keys)
        run("ssh-keygen", "-A", "-f", root)
        run("systemctl", f"--root={root}", "enable", *ENABLED)
        run(
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-O",
            "^metadata_csum_seed,^orphan_file",
            "-d",
            root,
            out,
            f"{DISK_MIB}M",
        )
        shutil.rmtree(root)

    def device_tree(self, out: Path) -> None:
        """QEMU's own, with a Pi 4B's revision and without the chip that is not the bench's."""
        run("qemu-system-aarch64", *CPU[:3], f"virt,dumpdtb={out}", *CPU[4:], "-nodefaults", "-nographic")
        run("fdtput", "-c", out, "/system")
        run("fdtput", "-t", "x", out, "/system", "linux,revision", PI_4B)
        for node in ("/pl061@9030000", "/gpio-keys"):
            run("fdtput", "-t", "s", out, node, "status", "disabled")


def link(path: Path, to: str) -> None:
    """A symbolic link, whatever was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def dependencies(modules: Path) -> dict[str, list[str]]:
    """Module → its file and those it needs, what is needed first first (modules.dep has it last)."""
    found = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        found[module_name(path)] = [*reversed(needs.split()), path]
    return found


def builtin(modules: Path) -> Iterable[str]:
    """Names of the modules that are in the kernel itself."""
    return {module_name(path) for path in (modules / "modules.builtin").read_text().splitlines()}


def module_name(path: str) -> str:
    """As the kernel spells it."""
    return Path(path).name.split(".ko")[0].replace("-", "_")


def build_box() -> Path:
    """The folder of the built box, built now if it is not in the cache."""
    folder = cache_folder() / build_key()
    if not (folder / "virt.dtb").exists():
        for older in cache_folder().glob("[0-9a-f]" * 12):
            if older != folder:
                shutil.rmtree(older)
        Build(folder).run()
    return folder


if __name__ == "__main__":
    if reason := missing_on_host():
        sys.exit(f"the virtual box cannot be built here: {reason}")
    print(build_box())
