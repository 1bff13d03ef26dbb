"""The target of a bundle: a Debian release, its Python, and the sources of their packages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deploy.errors import DeployError


@dataclass(frozen=True)
class Target:
    """A Raspberry Pi (aarch64) with this release of Debian or Raspberry Pi OS.

    ``full_python``: what markers are told. ``glibc``: manylinux versions it serves; pip takes each literally.
    ``headers``: packages to compile against. ``source_only``: what PyPI has no wheel of for this Python.
    ``from_debian``: packages taken from Debian instead.
    """

    suite: str
    python: str
    full_python: str
    lock: str
    glibc: tuple[str, ...]
    headers: tuple[str, ...]
    source_only: tuple[str, ...]
    from_debian: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, int]:
        """Of its Python."""
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def abi(self) -> str:
        """As wheels and compiled modules are named."""
        return f"cp{self.python.replace('.', '')}"

    @property
    def platforms(self) -> list[str]:
        """As wheels name them."""
        return [*(f"manylinux_{v}_aarch64" for v in self.glibc), "manylinux2014_aarch64", "linux_aarch64"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment that requirements are judged in."""
        return {
            "python_version": self.python,
            "python_full_version": self.full_python,
            "implementation_name": "cpython",
            "implementation_version": self.full_python,
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": "aarch64",
            "platform_release": "",
            "platform_version": "",
        }


BOOKWORM: Final = Target(
    suite="bookworm",
    python="3.11",
    full_python="3.11.2",
    lock="requirements.lock",
    glibc=("2_36", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17"),
    headers=(
        "libc6", "libc6-dev", "linux-libc-dev", "libpython3.11", "libpython3.11-dev", "libpython3.11-stdlib",
        "libpython3.11-minimal", "libasound2", "libasound2-dev", "libsystemd0", "libsystemd-dev",
    ),
    source_only=("pyalsaaudio", "systemd-python"),
)  # fmt: skip
TRIXIE: Final = Target(
    suite="trixie",
    python="3.13",
    full_python="3.13.5",
    lock="requirements-3.13.lock",
    glibc=("2_41", "2_39", "2_38", *BOOKWORM.glibc),
    headers=(
        "libc6", "libc6-dev", "linux-libc-dev", "libpython3.13", "libpython3.13-dev", "libpython3.13-stdlib",
        "libpython3.13-minimal", "libasound2t64", "libasound2-dev", "libsystemd0", "libsystemd-dev",
    ),
    source_only=("lgpio", "pyalsaaudio", "systemd-python"),
    from_debian={"python-rtmidi": "python3-rtmidi"},
)  # fmt: skip
TARGETS: Final = {target.python: target for target in (TRIXIE, BOOKWORM)}
"""By Python; the first is the default."""


def find_target(python: str) -> Target:
    """The target whose Python this is.

    Raises
    ------
    DeployError: there is none.
    """
    if python not in TARGETS:
        raise DeployError(f"no box has Python {python}; known are {', '.join(TARGETS)}")
    return TARGETS[python]
