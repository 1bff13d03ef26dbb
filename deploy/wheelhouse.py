"""The wheels a box needs: named in ``pyproject.toml``, pinned and hashed by the lock, fetched or cross-built.

What a wheel requires is read from the wheel itself, with the markers of the box's Python and machine.
Every download is checked against the lock's hashes; a source-only package's sdist likewise, before it is
compiled for the box.
"""

import hashlib
import re
import shutil
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from deploy.commands import run
from deploy.cross import cross_build
from deploy.debian import download, unpack_packages
from deploy.errors import DeployError
from deploy.interpreter import Interpreter
from deploy.licences import Part, licence_of, parts_of
from deploy.target import Target

UNUSED: Final = {
    "setuptools": "colorzero names it; it only ran its setup.py",
}
BOX_EXTRAS: Final = ("box", "page")
"""The extras with the packages that drive a board's devices, and those of the page and OSC."""
NETWORK: Final = "give this machine a network, or the downloads of another"
BUILD_TOOLS: Final = (
    "setuptools==80.9.0 --hash=sha256:062d34222ad13e0cc312a4c02d73f059e86a4acbfbdea8f8f76b28c99f306922"
)
"""What compiles for the box: pinned, as what it makes depends on it; a new venv of Python 3.13 has none."""


@dataclass(frozen=True)
class Pin:
    """One line of the lock: a version and the sha256 its files may have."""

    name: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True)
class Wheel:
    """A wheel for the box; ``source_sha256`` is what the lock vouches for (its own, or its sdist's).

    ``licence``: an SPDX expression. ``parts``: libraries of others that it brings along.
    """

    name: str
    version: str
    path: Path
    source_sha256: str
    licence: str = ""
    parts: tuple[Part, ...] = ()


def read_lock(lock: Path) -> dict[str, Pin]:
    """Name to pin.

    Raises
    ------
    DeployError: there is no such lock.
    """
    pins: dict[str, Pin] = {}
    try:
        text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    except OSError as error:
        raise DeployError(f"cannot read {lock} ({error.strerror}); run `make lock`") from None
    for line in text.splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
            name = canonicalize_name(match[1])
            pins[name] = Pin(name, match[2], hashes)
    return pins


def _wanted(requirements: Iterable[str], target: Target) -> list[str]:
    """Names of the requirements that count on the box."""
    names: list[str] = []
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({**target.markers, "extra": ""}):
            name = canonicalize_name(requirement.name)
            if name not in UNUSED:
                names.append(name)
    return names


def _tags(target: Target) -> set[Tag]:
    version, platforms = target.version, target.platforms
    return {*cpython_tags(version, platforms=platforms), *compatible_tags(version, target.abi, platforms)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _find(folder: Path, pin: Pin, target: Target) -> Path | None:
    """A file of ``pin`` in ``folder`` that the lock vouches for and the box can use (a wheel rather)."""
    tags = _tags(target)
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
        if pin.name in target.source_only and stem.fullmatch(path.name) and _sha256(path) in pin.hashes:
            return path
    return None


def _fetch(pins: Sequence[Pin], folder: Path, target: Target) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--dest", str(folder)]
    with tempfile.TemporaryDirectory() as scratch:
        for source in (False, True):
            some = [p for p in pins if (p.name in target.source_only) == source]
            lines = [
                f"{p.name}=={p.version} {' '.join(f'--hash=sha256:{h}' for h in sorted(p.hashes))}"
                for p in some
            ]
            listing = Path(scratch) / "requirements.txt"
            listing.write_text("\n".join(lines))
            if source:
                how = ["--no-binary", ":all:", "--no-build-isolation"]
            else:
                how = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", target.python]
                how += [word for abi in (target.abi, "abi3", "none") for word in ("--abi", abi)]
                how += [word for platform in target.platforms for word in ("--platform", platform)]
            if some:
                run([*pip, *how, "--require-hashes", "-r", listing], remedy=NETWORK)


def _metadata(wheel: Path) -> Message:
    """What a wheel says of itself; Debian's packages may have it in an ``egg-info``."""
    with zipfile.ZipFile(wheel) as archive:
        names = re.compile(r"[^/]+\.(dist-info/METADATA|egg-info(/PKG-INFO)?)")
        name = next((n for n in archive.namelist() if names.fullmatch(n)), None)
        return BytesParser().parsebytes(archive.read(name) if name is not None else b"")


def wheelhouse(
    project: Path, target: Target, python: Interpreter, cache: Path, source_date: int
) -> list[Wheel]:
    """Every wheel the box needs, by name, but for the project's own.

    Parameters
    ----------
    cache: folder for downloads, headers and cross-built wheels; kept between builds.

    Raises
    ------
    DeployError: a package is not in the lock, cannot be fetched or does not compile.
    """
    downloads = cache / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    pins = read_lock(project / target.lock)
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    wheels: dict[str, Wheel] = {}
    project_table = settings["project"]
    extras = [line for extra in BOX_EXTRAS for line in project_table["optional-dependencies"][extra]]
    todo = _wanted([*project_table["dependencies"], *extras], target)
    while todo := sorted({name for name in todo if name not in wheels}):
        if unlocked := [name for name in todo if name not in pins]:
            raise DeployError(f"{unlocked[0]} is not in {target.lock}; run `make lock`")
        fetched = [pins[name] for name in todo if name not in target.from_debian]
        if missing := [pin for pin in fetched if _find(downloads, pin, target) is None]:
            _fetch(missing, downloads, target)
        found = []
        for name in todo:
            if name in target.from_debian:
                wheels[name] = _from_debian(pins[name], target, cache)
                continue
            path = _find(downloads, pins[name], target)
            if path is None:
                raise DeployError(
                    f"{name} {pins[name].version} has no file for the box that {target.lock} vouches for"
                )
            source_sha = _sha256(path)
            if path.suffix != ".whl":
                path = _cross_built(path, source_sha, target, python, cache, source_date)
            metadata = _metadata(path)
            licence, parts = licence_of(name, metadata), parts_of(name, path)
            wheels[name] = Wheel(name, pins[name].version, path, source_sha, licence, parts)
            found += _wanted(metadata.get_all("Requires-Dist", []), target)
        todo = found
    return [wheels[name] for name in sorted(wheels)]


def _cross_built(
    sdist: Path, sha: str, target: Target, python: Interpreter, cache: Path, source_date: int
) -> Path:
    folder = cache / "built" / f"{sha[:16]}-{target.abi}-{source_date}"
    if not (kept := list(folder.glob("*.whl"))):
        folder.mkdir(parents=True, exist_ok=True)
        sysroot = unpack_packages(cache / f"headers-{target.suite}", target.suite, "arm64", target.headers)
        kept = [cross_build(sdist, target, python, sysroot, [build_tools(cache)], folder, source_date)]
    return kept[0]


def build_tools(cache: Path) -> Path:
    """Where the pinned setuptools lies; it is fetched once."""
    folder = cache / f"build-tools-{hashlib.sha256(BUILD_TOOLS.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        beside = folder.with_suffix(".new")
        shutil.rmtree(beside, ignore_errors=True)
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        with tempfile.TemporaryDirectory() as scratch:
            listing = Path(scratch) / "requirements.txt"
            listing.write_text(BUILD_TOOLS)
            run([*words, "--require-hashes", "--target", beside, "-r", listing], remedy=NETWORK)
        beside.rename(folder)
    return folder


def _from_debian(pin: Pin, target: Target, cache: Path) -> Wheel:
    """Debian's package of it, as a wheel: a zip of what it puts among Python's modules."""
    folder = cache / "debian" / f"{pin.name}-{pin.version}-{target.suite}"
    if not (kept := list(folder.glob("*.deb"))):
        with tempfile.TemporaryDirectory() as scratch:
            [deb] = download(Path(scratch), target.suite, "arm64", [target.from_debian[pin.name]])
            if not deb.name.split("_")[1].startswith(f"{pin.version}-"):
                raise DeployError(f"{deb.name} is not {pin.version}, which {target.lock} pins; pin Debian's")
            folder.mkdir(parents=True, exist_ok=True)
            kept = [Path(shutil.copy2(deb, folder / deb.name))]
    wheel = folder / f"{pin.name}.whl"
    with tempfile.TemporaryDirectory() as scratch:
        run(["dpkg-deb", "-x", kept[0], scratch])
        modules = Path(scratch) / "usr/lib/python3/dist-packages"
        with zipfile.ZipFile(wheel, "w") as archive:
            for path in sorted(p for p in modules.rglob("*") if p.is_file()):
                # A date of its own would make each build another one.
                archive.writestr(zipfile.ZipInfo(path.relative_to(modules).as_posix()), path.read_bytes())
    return Wheel(pin.name, pin.version, wheel, _sha256(kept[0]), licence_of(pin.name, _metadata(wheel)))
