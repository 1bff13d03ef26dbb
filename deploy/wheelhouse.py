"""The wheels a box needs: named in ``pyproject.toml``, pinned and hashed by the lock, fetched or cross-built.

What a wheel requires is read from the wheel itself, with the markers of the box's Python and machine.
Every download is checked against the lock's hashes; a source-only package's sdist likewise, before it is
compiled for the box.
"""

import hashlib
import re
import shutil
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from deploy.commands import run
from deploy.errors import DeployError
from deploy.sysroot import cross_environment, make_sysroot

PYTHON: Final = (3, 11)
GLIBC: Final = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
"""manylinux versions bookworm's glibc serves; pip takes each literally."""
PLATFORMS: Final = (*(f"manylinux_{v}_aarch64" for v in GLIBC), "manylinux2014_aarch64", "linux_aarch64")
SOURCE_ONLY: Final = ("pyalsaaudio", "systemd-python")
UNUSED: Final = {
    "setuptools": "colorzero names it; it only ran its setup.py",
}
MARKERS: Final = {
    "python_version": "3.11",
    "python_full_version": "3.11.2",
    "implementation_name": "cpython",
    "implementation_version": "3.11.2",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "aarch64",
    "platform_release": "",
    "platform_version": "",
}


@dataclass(frozen=True)
class Pin:
    """One line of the lock: a version and the sha256 its files may have."""

    name: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True)
class Wheel:
    """A wheel for the box; ``source_sha256`` is what the lock vouches for (its own, or its sdist's)."""

    name: str
    version: str
    path: Path
    source_sha256: str


def read_lock(lock: Path) -> dict[str, Pin]:
    """Name to pin."""
    pins: dict[str, Pin] = {}
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
            name = canonicalize_name(match[1])
            pins[name] = Pin(name, match[2], hashes)
    return pins


def _wanted(requirements: Iterable[str], extra: str = "") -> list[str]:
    """Names of the requirements that count on the box."""
    names: list[str] = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({**MARKERS, "extra": extra}):
            name = canonicalize_name(requirement.name)
            if name not in UNUSED:
                names.append(name)
    return names


def _tags() -> set[Tag]:
    return {*cpython_tags(PYTHON, platforms=PLATFORMS), *compatible_tags(PYTHON, "cp311", PLATFORMS)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _find(folder: Path, pin: Pin) -> Path | None:
    """A file of ``pin`` in ``folder`` that the lock vouches for and the box can use (a wheel rather)."""
    tags = _tags()
    for path in sorted(folder.glob("*.whl")):
        name, version, _, wheel_tags = parse_wheel_filename(path.name)
        if name == pin.name and str(version) == pin.version and not tags.isdisjoint(wheel_tags):
            if _sha256(path) in pin.hashes:
                return path
            path.unlink()
    stem = re.compile(
        re.escape(pin.name).replace("\\-", "[-_.]") + "-" + re.escape(pin.version) + r"\.(tar\.gz|zip)", re.I
    )
    for path in sorted(folder.iterdir()):
        if pin.name in SOURCE_ONLY and stem.fullmatch(path.name) and _sha256(path) in pin.hashes:
            return path
    return None


def _fetch(pins: Sequence[Pin], folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--dest", str(folder)]
    network = "give this machine a network, or the downloads of another"
    with tempfile.TemporaryDirectory() as scratch:
        for source in (False, True):
            some = [p for p in pins if (p.name in SOURCE_ONLY) == source]
            lines = [
                f"{p.name}=={p.version} {' '.join(f'--hash=sha256:{h}' for h in sorted(p.hashes))}"
                for p in some
            ]
            listing = Path(scratch) / "requirements.txt"
            listing.write_text("\n".join(lines))
            if source:
                how = ["--no-binary", ":all:", "--no-build-isolation"]
            else:
                how = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", "3.11"]
                how += [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
                how += [word for platform in PLATFORMS for word in ("--platform", platform)]
            if some:
                run([*pip, *how, "--require-hashes", "-r", listing], remedy=network)


def _requires(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        return BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist", [])


def cross_build(sdist: Path, sysroot: Path, out: Path, source_date: int) -> Path:
    """Compile an sdist for the box; the wheel in ``out``."""
    if sys.version_info[:2] != PYTHON:
        raise DeployError(
            f"cross-building needs Python 3.11, this is {sys.version.split()[0]}; run it with 3.11"
        )
    with tempfile.TemporaryDirectory() as scratch:
        # A path of fixed length and name: compilers write it into what they make.
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        source = next(p for p in Path(scratch).iterdir() if p.is_dir())
        env = cross_environment(sysroot, source_date)
        env["CFLAGS"] += f" -ffile-prefix-map={source}=."
        run(
            [sys.executable, "setup.py", "-q", "bdist_wheel", "-p", "linux_aarch64", "-d", "built"],
            cwd=source,
            env=env,
            remedy="install gcc-aarch64-linux-gnu and pkg-config",
        )
        built = next((source / "built").glob("*.whl"))
        return Path(shutil.copy2(built, out / built.name))


def wheelhouse(project: Path, lock: Path, cache: Path, source_date: int) -> list[Wheel]:
    """Every wheel the box needs, by name, but for the project's own.

    Parameters
    ----------
    cache: folder for downloads, the sysroot and what was cross-built; kept between builds.

    Raises
    ------
    DeployError: a package is not in the lock, cannot be fetched or does not compile.
    """
    downloads, built = cache / "downloads", cache / "built"
    for folder in (downloads, built):
        folder.mkdir(parents=True, exist_ok=True)
    pins = read_lock(lock)
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    wheels: dict[str, Wheel] = {}
    todo = _wanted(metadata["project"]["dependencies"])
    while todo := sorted({name for name in todo if name not in wheels}):
        if unlocked := [name for name in todo if name not in pins]:
            raise DeployError(f"{unlocked[0]} is not in {lock.name}; run `make lock`")
        if missing := [pins[name] for name in todo if _find(downloads, pins[name]) is None]:
            _fetch(missing, downloads)
        found = []
        for name in todo:
            path = _find(downloads, pins[name])
            if path is None:
                raise DeployError(
                    f"{name} {pins[name].version} has no file for the box that {lock.name} vouches for"
                )
            source_sha = _sha256(path)
            if path.suffix != ".whl":
                path = _cross_built(path, source_sha, cache, source_date)
            wheels[name] = Wheel(name, pins[name].version, path, source_sha)
            found += _wanted(_requires(path))
        todo = found
    return [wheels[name] for name in sorted(wheels)]


def _cross_built(sdist: Path, sha: str, cache: Path, source_date: int) -> Path:
    folder = cache / "built" / f"{sha[:16]}-{source_date}"
    if not (kept := list(folder.glob("*.whl"))):
        folder.mkdir(parents=True, exist_ok=True)
        kept = [cross_build(sdist, make_sysroot(cache / "sysroot"), folder, source_date)]
    return kept[0]
