"""The wheel on arm64: installed by pip into a Debian that has Python alone, as on a laptop; then the demo."""

import shutil
import sys
from pathlib import Path

import pytest
from box_build import run
from box_install import BOX_PYTHON, PROJECT
from box_machine import HOST_TIME, Machine, overlay

INSTALL = PROJECT / "tests/install/wheel_install.py"
C_LIBRARIES = range(17, 37)
"""glibc 2.17 to Debian 12's 2.36: wheels for any of them run there."""
WITHIN_S = 16_000.0
"""This host's seconds; it took 27 minutes of a core."""


def wheels(folder: Path) -> Path:
    """Our wheel, with the arm64 wheels that pip takes for it beside it; no sdist, as there is no compiler."""
    run(sys.executable, "-m", "deploy", "wheel", "--out", folder, cwd=PROJECT)
    (ours,) = folder.glob("kelly_edge-*.whl")
    tags = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in C_LIBRARIES)]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    version = ("--python-version", BOX_PYTHON, "--implementation", "cp")
    only = ("--only-binary", ":all:")
    run(sys.executable, "-m", "pip", "download", "-q", *only, *platforms, *version, "-d", folder, ours)
    return ours


def disk_with(folder: Path, image: Path) -> Path:
    """A file system with the files of ``folder``."""
    size_mib = 64 + sum(path.stat().st_size for path in folder.iterdir()) * 5 // 4 // 2**20
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, image, f"{size_mib}M")
    return image


def test_pip_installs_the_wheel_and_the_demo_plays(box: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    ours = wheels(folder)
    shutil.copy(INSTALL, folder)
    disk = overlay(tmp_path / "laptop.qcow2", box / "disk.ext4")
    with Machine(box, disk, payload=disk_with(folder, tmp_path / "wheels.ext4"), clock=HOST_TIME) as machine:
        machine.wait_for_ssh()
        assert machine.ssh("uname -m").strip() == "aarch64"
        said = machine.ssh(
            "mount -o ro /dev/vdb /mnt; TMPDIR=/root PIP_NO_INDEX=1 PIP_FIND_LINKS=/mnt "
            f"python3 /mnt/{INSTALL.name} /mnt/{ours.name} /usr/bin/python3 2>&1",
            check=False,
            timeout_s=WITHIN_S,
        )
        print(said)
        if "good" not in said:
            pytest.fail(f"not installed, or no demo:\n{said}")
