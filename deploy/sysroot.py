"""An arm64 sysroot of Debian's own packages, so that C extensions are cross-compiled without emulation.

``apt`` runs with a state, a cache and an architecture of its own and the host's sources; nothing on the
host changes. Packages are unpacked, never installed.
"""

import shutil
from pathlib import Path
from typing import Final

from deploy.commands import run
from deploy.errors import DeployError

PACKAGES: Final = (
    "libc6",
    "libc6-dev",
    "linux-libc-dev",
    "libpython3.11",
    "libpython3.11-dev",
    "libpython3.11-stdlib",
    "libpython3.11-minimal",
    "libasound2",
    "libasound2-dev",
    "libsystemd0",
    "libsystemd-dev",
)
STAMP: Final = ".complete"


def make_sysroot(folder: Path) -> Path:
    """``folder`` holds the unpacked packages; made once, then kept.

    Raises
    ------
    DeployError: apt or dpkg-deb is missing, or the packages cannot be fetched.
    """
    if (folder / STAMP).is_file():
        return folder
    beside = folder.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    for part in ("state/lists/partial", "cache/archives/partial", "debs", "root"):
        (beside / part).mkdir(parents=True)
    config = beside / "apt.conf"
    config.write_text(
        f'Dir::State "{beside}/state";\nDir::State::status "{beside}/status";\nDir::Cache "{beside}/cache";\n'
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\nAPT::Sandbox::User "root";\n'
        'Acquire::Languages "none";\n'
    )
    (beside / "status").touch()
    apt: list[str | Path] = ["apt-get", "-qq", "-c", config]
    network = "give this machine Debian's package sources and a network"
    run([*apt, "update"], remedy=network)
    run([*apt, "download", *PACKAGES], cwd=beside / "debs", remedy=network)
    for deb in sorted((beside / "debs").glob("*.deb")):
        run(["dpkg-deb", "-x", deb, beside / "root"])
    shutil.rmtree(folder, ignore_errors=True)
    (beside / "root").rename(folder)
    shutil.rmtree(beside)
    if not (folder / "usr/lib/python3.11").is_dir():
        raise DeployError(f"the packages in {folder} hold no Python 3.11; use Debian 12's package sources")
    (folder / STAMP).touch()
    return folder


def cross_environment(sysroot: Path, source_date: int) -> dict[str, str]:
    """The environment in which ``setup.py bdist_wheel`` builds for the sysroot's machine."""
    triple = "aarch64-linux-gnu"
    include = f"-I{sysroot}/usr/include/python3.11 -I{sysroot}/usr/include/{triple}/python3.11"
    flags = f"--sysroot={sysroot} {include} -O2 -g0 -ffile-prefix-map={sysroot}=/ -Wno-date-time"
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(source_date),
        "PYTHONHASHSEED": "0",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": f"_sysconfigdata__{triple}",
        "PYTHONPATH": str(sysroot / "usr/lib/python3.11"),
        "CC": f"{triple}-gcc",
        "LDSHARED": f"{triple}-gcc -shared --sysroot={sysroot} -Wl,--build-id=none",
        "CFLAGS": flags,
        "LDFLAGS": f"-L{sysroot}/usr/lib/{triple} -L{sysroot}/lib/{triple}",
        "PKG_CONFIG_SYSROOT_DIR": str(sysroot),
        "PKG_CONFIG_LIBDIR": f"{sysroot}/usr/lib/{triple}/pkgconfig:{sysroot}/usr/share/pkgconfig",
    }
