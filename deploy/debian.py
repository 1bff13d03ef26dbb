"""Debian's packages of another machine or release, unpacked beside the host's own and never installed.

``apt`` runs with a state, a cache, an architecture and a list of sources of its own; nothing on the host
changes. What is fetched is signed by Debian, and apt checks it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.commands import run
from deploy.errors import DeployError

STAMP: Final = ".complete"
KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NETWORK: Final = "give this machine Debian's package sources and a network"


def unpack_packages(folder: Path, suite: str, architecture: str, packages: Sequence[str]) -> Path:
    """``folder`` holds the unpacked packages; made once, then kept.

    Raises
    ------
    DeployError: apt or dpkg-deb is missing, or the packages cannot be fetched.
    """
    if (folder / STAMP).is_file() and (folder / STAMP).read_text().split() == sorted(packages):
        return folder
    beside = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "root").mkdir(parents=True)
    for deb in download(beside, suite, architecture, packages):
        run(["dpkg-deb", "-x", deb, beside / "root"])
    # A merged /usr: linker scripts and programs name /lib.
    for name in ("lib", "lib64"):
        inside = beside / "root/usr" / name
        if inside.is_dir() and not (beside / "root" / name).exists():
            (beside / "root" / name).symlink_to(f"usr/{name}")
    shutil.rmtree(folder, ignore_errors=True)
    (beside / "root").rename(folder)
    shutil.rmtree(beside)
    (folder / STAMP).write_text("\n".join(sorted(packages)))
    return folder


def download(scratch: Path, suite: str, architecture: str, packages: Sequence[str]) -> list[Path]:
    """The ``.deb`` files, in ``scratch``.

    Raises
    ------
    DeployError: see ``unpack_packages``.
    """
    for part in ("state/lists/partial", "cache/archives/partial", "debs"):
        (scratch / part).mkdir(parents=True, exist_ok=True)
    config, sources = scratch / "apt.conf", scratch / "suite.sources"
    sources.write_text(
        f"Types: deb\nURIs: {_archive()}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n"
    )
    config.write_text(
        f'Dir::State "{scratch}/state";\nDir::State::status "{scratch}/status";\n'
        f'Dir::Cache "{scratch}/cache";\n'
        f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n'
        f'APT::Architecture "{architecture}";\nAPT::Architectures {{ "{architecture}"; }};\n'
        'APT::Sandbox::User "root";\nAcquire::Languages "none";\n'
    )
    (scratch / "status").touch()
    apt: list[str | Path] = ["apt-get", "-qq", "-c", config]
    run([*apt, "update"], remedy=NETWORK)
    run([*apt, "download", *packages], cwd=scratch / "debs", remedy=NETWORK)
    return sorted((scratch / "debs").glob("*.deb"))


def _archive() -> str:
    """Where the host has Debian's main archive from."""
    words = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(ORIGIN)",
        "Identifier: Packages",
    ]
    for line in run(words, remedy=NETWORK).decode().splitlines():
        address, suite, origin = (*line.split(), "", "")[:3]
        if origin == "Debian" and "-" not in suite:
            return address
    raise DeployError(f"apt knows no Debian archive; {NETWORK}")
