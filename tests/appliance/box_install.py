"""Puts a release into the box as a person would: the signed bundle, its own installer, the units it brings.

The disk with the release is kept beside the box, so that a run with unchanged sources starts from it. A
changed release is installed over the one before: only changed layers are unpacked.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from box_build import cache_folder, run
from box_machine import BoxError, Machine, overlay

from deploy.bundle import TOOL
from deploy.places import COPIED, ENABLED, FILES, PROGRAM

PROJECT: Final = Path(__file__).resolve().parents[2]
BENCH_CONFIG: Final = """\
# The box on the test bench: one slow core, so larger buffers, more look-ahead and one voice.
audio:
  card: "plughw:CARD=Loopback,DEV=1"
  period: 256
  n_periods: 4
composer:
  look_ahead_s: 8.0
voice:
  names: [flute]
midi:
  # The USB host is in the same kernel; the box plays to its own side of the cable.
  outputs: ["f_midi*"]
  inputs: ["f_midi*"]
"""
BOX_PYTHON: Final = "3.11"
"""Of bookworm, which the virtual box runs."""
PATIENCE: Final = {"ready_s": 180, "steady_s": 5}
"""Seconds the installer waits: one core of 1,000 MIPS loads five processes in turn."""


def build_bundle() -> Path:
    """A signed bundle of the checkout's own files; the key is the bench's."""
    cache = cache_folder() / "deploy"
    key = cache_folder() / "release_key"
    deploy = (sys.executable, "-m", "deploy", "--key", key)
    if not key.exists():
        run(*deploy, "keys", cwd=PROJECT)
    shutil.rmtree(cache_folder() / "bundle", ignore_errors=True)
    out = cache_folder() / "bundle"
    text = run(*deploy, "build", "--python", BOX_PYTHON, "--out", out, "--cache", cache, cwd=PROJECT)
    return Path(text.splitlines()[-1])


def payload(bundle: Path, out: Path) -> Path:
    """A file system with the bundle and what else the installation needs."""
    folder = out.with_suffix(".files")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder / bundle.name)
    shutil.copy(cache_folder() / "release_key.allowed_signers", folder / "allowed_signers")
    (folder / "config.yaml").write_text(BENCH_CONFIG)
    (folder / "health.json").write_text(json.dumps(PATIENCE))
    for name, place in COPIED:
        target = folder / "provisioned" / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(FILES / name, target)
    size_mib = 32 + sum(p.stat().st_size for p in folder.rglob("*")) * 5 // 4 // 2**20
    out.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, out, f"{size_mib}M")
    shutil.rmtree(folder)
    return out


UNPACK: Final = f"""
set -e
mount -o ro /dev/vdb /mnt
install -d /etc/kelly-edge /opt/kelly-edge/bin
install -m644 /mnt/allowed_signers /mnt/config.yaml /mnt/health.json /etc/kelly-edge/
install -m755 /mnt/{{release}}/{TOOL} {PROGRAM}
cp -r --no-preserve=ownership /mnt/provisioned/. /
{PROGRAM} install /mnt/{{release}}
files=/opt/kelly-edge/releases/{{release}}/system/systemd
systemd-sysusers $files/sysusers.d/*.conf
systemd-tmpfiles --create $files/tmpfiles.d/*.conf
systemctl enable -q {" ".join(ENABLED)}
"""
"""What `deploy provision` and `deploy push` do over a network."""
SWITCH: Final = f"{PROGRAM} switch {{release}}"
INSTALLS_WITHIN_S: Final = 14_400.0
"""Of this host's seconds: 20 minutes with a core for itself."""
UNPROVED: Final = "release-0-unproved.qcow2"


def install(box: Path) -> Path:
    """A disk with the checkout's release installed, proved and enabled; made where it is not yet."""
    bundle = build_bundle()
    kept = box / f"release-{bundle.name}.qcow2"
    if kept.exists():
        return kept
    disk, lent = box / "installing.qcow2", box / "payload.ext4"
    before = sorted(box.glob("release-*.qcow2"), key=lambda path: path.stat().st_mtime)
    if before:
        shutil.copy(before[-1], disk)
    else:
        overlay(disk, box / "disk.ext4")
    payload(bundle, lent)
    started_s = time.monotonic()
    with Machine(box, disk, payload=lent) as machine:
        machine.wait_for_ssh()
        # What ran before would only slow the installation down.
        machine.ssh("systemctl stop kelly-edge.target kelly-edge-safe.service", check=False)
        print(machine.ssh(UNPACK.format(release=bundle.name), timeout_s=INSTALLS_WITHIN_S), file=sys.stderr)
        try:
            print(
                machine.ssh(SWITCH.format(release=bundle.name), timeout_s=INSTALLS_WITHIN_S), file=sys.stderr
            )
        except BoxError as error:
            # What is unpacked is kept for the next try.
            text = machine.ssh(
                "journalctl -b --no-pager -o short-monotonic -u 'kelly-edge*' | tail -60", check=False
            )
            machine.power_off()
            disk.rename(box / UNPROVED)
            raise BoxError(f"{error}\n{text}") from None
        machine.ssh("journalctl --rotate -q; journalctl --vacuum-size=1M -q; sync")
        machine.power_off()
    lent.unlink()
    for path in before:
        path.unlink()
    disk.rename(kept)
    print(f"installed {bundle.name} in {time.monotonic() - started_s:.0f} s", file=sys.stderr)
    return kept


if __name__ == "__main__":
    from box_build import build_box

    print(install(build_box()))
    subprocess.run(["du", "-sh", cache_folder()], check=False)
