"""A flashable SD image for Raspberry Pi 3 and 4: Debian arm64 by mmdebstrap, put together by genimage.

No loop device, no mount, no password: root takes the given SSH key and nothing else. On a Pi 5 use Raspberry
Pi OS and ``provision``: Debian's kernels (6.1 and 6.12) lack its drivers. Boot settings come with
provisioning, which knows the board.
"""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from deploy.commands import run
from deploy.errors import DeployError

PACKAGES: Final = (
    "systemd", "systemd-sysv", "udev", "kmod", "dbus", "adduser", "python3", "openssh-server", "rsync",
    "iproute2", "procps", "linux-image-arm64", "raspi-firmware",
    "libportaudio2", "libsystemd0", "alsa-utils", "systemd-timesyncd", "systemd-resolved", "libnss-resolve",
    "firmware-brcm80211", "wpasupplicant",
)  # fmt: skip
SOUND: Final = {"bookworm": ("libasound2",), "trixie": ("libasound2t64",)}
"""By Debian's release."""
PROGRAMS: Final = ("mmdebstrap", "genimage", "mkfs.ext4", "mkfs.vfat", "mcopy", "ssh-keygen")
FSTAB: Final = (
    "LABEL=root / ext4 noatime,errors=remount-ro 0 1\nLABEL=BOOT /boot/firmware vfat noatime,umask=0077 0 2\n"
)
NETWORK: Final = "[Match]\nName=en* eth* wlan*\n[Network]\nDHCP=yes\nMulticastDNS=yes\n"
FIRMWARE: Final = 'ROOTPART="LABEL=root"\nCONSOLES="tty0 ttyS1,115200"\nCMA=0\n'
"""What raspi-firmware writes config.txt and cmdline.txt from, now and at each kernel update.

A set CMA may keep a Pi 4 from booting, its documentation says.
"""
INITRAMFS: Final = "etc/initramfs-tools/update-initramfs.conf"
ONCE: Final = f'mkdir -p "$1/{Path(INITRAMFS).parent}" && echo update_initramfs=no > "$1/{INITRAMFS}"'
COMMAND_LINE: Final = (
    "console=tty0 console=ttyS1,115200 root=LABEL=root rw fsck.repair=yes net.ifnames=0 rootwait quiet\n"
)
KEYS_ONLY: Final = "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
HOST_KEYS: Final = """[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
"""
GENIMAGE: Final = """
image boot.vfat {
  vfat { label = "BOOT" }
  size = 256M
  mountpoint = "/boot/firmware"
}
image root.ext4 {
  ext4 { label = "root" use-mke2fs = true }
  size = @SIZE@M
}
image kelly-edge.img {
  hdimage { align = 4M }
  partition boot { partition-type = 0xC bootable = "true" image = "boot.vfat" }
  partition root { partition-type = 0x83 image = "root.ext4" }
}
"""
SPARE_MIB: Final = 1_600
"""Room for two releases and sessions; the file system does not grow by itself. Chosen by hand."""


def make_image(out: Path, ssh_key: Path, hostname: str, cache: Path, suite: str) -> Path:
    """The image at ``out``, complete or not at all.

    Parameters
    ----------
    suite: Debian's release, ``bookworm`` or ``trixie``.
    cache: where Debian's tree is kept: the next image takes seconds instead of many minutes.

    Raises
    ------
    DeployError: a program is missing, the key is none, or a step fails.
    """
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise DeployError(
            f"{missing[0]} is missing; apt-get install mmdebstrap genimage mtools dosfstools e2fsprogs"
        )
    try:
        public = ssh_key.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise DeployError(f"cannot read {ssh_key}; give the public half of an SSH key") from None
    if not public.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in public:
        raise DeployError(f"{ssh_key} is no SSH public key; give the file that ends in .pub")
    if out.exists() and out.samefile(ssh_key):
        raise DeployError(f"{out} is the key that is read; choose another --out")
    if out.is_dir():
        raise DeployError(f"{out} is a folder; give the image's file name")
    out.resolve().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.resolve().parent) as scratch:
        work = Path(scratch)
        tree = _tree(work, cache, public, hostname, suite)
        size_mib = sum(p.lstat().st_size for p in tree.rglob("*") if not p.is_symlink() and p.is_file()) >> 20
        (work / "genimage.cfg").write_text(GENIMAGE.replace("@SIZE@", str(size_mib + SPARE_MIB)))
        words: list[str | Path] = [
            "genimage",
            "--config",
            work / "genimage.cfg",
            "--rootpath",
            tree,
            "--tmppath",
            work / "tmp",
        ]
        run([*words, "--inputpath", work, "--outputpath", work / "images"], remedy="run as root")
        shutil.move(work / "images/kelly-edge.img", out)
    return out


def _debian(cache: Path, suite: str) -> Path:
    """Debian's tree as a tar, made once for these packages."""
    packages = (*PACKAGES, *SOUND[suite])
    digest = hashlib.sha256("\n".join((suite, *packages)).encode()).hexdigest()
    kept = cache / f"debian-arm64-{digest[:12]}.tar"
    if kept.is_file():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(".new.tar")
    words = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        "--architectures=arm64",
        "--components=main,non-free-firmware",
    ]
    words += ["--dpkgopt=path-exclude=/usr/share/{doc,man,locale,info}/*", "--dpkgopt=force-unsafe-io"]
    # The kernel makes its initramfs; without this the emulator makes it a second time, for many minutes.
    words += ["--dpkgopt=force-confold", f"--essential-hook={ONCE}"]
    words += ['--aptopt=Apt::Install-Recommends "false"', f"--include={','.join(packages)}", suite]
    # It makes the tree in TMPDIR, and /tmp may be small.
    environment = {**os.environ, "TMPDIR": str(cache.resolve())}
    run([*words, beside], env=environment, remedy="run as root, with qemu-user-static and a network")
    beside.rename(kept)
    return kept


def _tree(work: Path, cache: Path, public: str, hostname: str, suite: str) -> Path:
    """Debian's tree with the parts that make it this box.

    Raises
    ------
    DeployError: its boot partition names a kernel that is not there.
    """
    tree = work / "tree"
    tree.mkdir()
    run(
        [
            "tar",
            "-C",
            tree,
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "-xpf",
            _debian(cache, suite),
        ]
    )
    files = {
        "etc/fstab": FSTAB,
        "etc/hostname": f"{hostname}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {hostname}\n",
        "etc/systemd/network/10-all.network": NETWORK,
        "etc/ssh/sshd_config.d/kelly-edge.conf": KEYS_ONLY,
        "root/.ssh/authorized_keys": f"{public}\n",
        "etc/default/raspi-firmware": FIRMWARE,
        "etc/default/raspi-extra-cmdline": "quiet\n",
        INITRAMFS: "update_initramfs=yes\nbackup_initramfs=no\n",
        "etc/machine-id": "",
        # Each box makes its own host keys at its first boot.
        "etc/systemd/system/ssh.service.d/keys.conf": HOST_KEYS,
    }
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "root/.ssh").chmod(0o700)
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for unit in ("systemd-networkd", "systemd-resolved", "systemd-timesyncd"):
        run(["chroot", tree, "systemctl", "enable", "--quiet", unit])
    # As raspi-firmware would write it from the settings above; its config.txt names kernel and initramfs.
    (tree / "boot/firmware/cmdline.txt").write_text(COMMAND_LINE)
    _check_boot(tree / "boot/firmware")
    # No password for anybody.
    run(["chroot", tree, "passwd", "--quiet", "--lock", "root"])
    return tree


def _check_boot(firmware: Path) -> None:
    text = (firmware / "config.txt").read_text(encoding="utf-8")
    for name in re.findall(r"^(?:kernel=|initramfs )(\S+)", text, re.MULTILINE) or ["kernel"]:
        if not (firmware / name).is_file():
            raise DeployError(f"the boot partition lacks {name}; empty the cache and try again")
