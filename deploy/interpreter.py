"""The Python that compiles what a box runs: this one where the versions agree, else Debian's, unpacked."""

import marshal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy import compiler
from deploy.commands import run
from deploy.debian import unpack_packages
from deploy.errors import DeployError
from deploy.target import Target

LIBRARIES: Final = ("libc6", "libexpat1", "zlib1g", "libffi8", "libbz2-1.0", "liblzma5")
"""What Debian's Python is linked with, in every release."""
SSL: Final = {"bookworm": "libssl3", "trixie": "libssl3t64"}
LOADERS: Final = {
    "amd64": "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "arm64": "lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
}
"""The file itself: bookworm's link to it in /lib64 is absolute, and would lead to this machine's."""


@dataclass(frozen=True)
class Interpreter:
    """A Python and how it is called; ``version`` to the last number, as compiled modules depend on it."""

    command: tuple[str, ...]
    version: str

    @property
    def tag(self) -> str:
        """As compiled modules are named."""
        major, minor, *_ = self.version.split(".")
        return f"cpython-{major}{minor}"

    def compile_all(self, sources: Mapping[str, bytes]) -> dict[str, bytes]:
        """Path to ``.pyc``, except for files that do not compile.

        Raises
        ------
        DeployError: the interpreter does not run.
        """
        if self == here():
            return compiler.compile_all(dict(sources))
        words = [*self.command, "-I", compiler.__file__]
        compiled: dict[str, bytes] = marshal.loads(run(words, stdin=marshal.dumps(dict(sources))))
        return compiled


def here() -> Interpreter:
    """The Python that runs this."""
    return Interpreter((sys.executable,), sys.version.split()[0])


def interpreter_for(target: Target, cache: Path) -> Interpreter:
    """A Python of the target's version that runs on this machine.

    Raises
    ------
    DeployError: it is neither this one nor available.
    """
    if sys.version_info[:2] == target.version:
        return here()
    machine = run(["dpkg", "--print-architecture"]).decode().strip()
    if machine not in LOADERS:
        raise DeployError(
            f"Python {target.python} is needed, and Debian's is not known for {machine}; install it"
        )
    name = f"python{target.python}"
    packages = (f"{name}-minimal", f"lib{name}-minimal", f"lib{name}-stdlib", *LIBRARIES, SSL[target.suite])
    root = unpack_packages(cache / f"python-{target.suite}-{machine}", target.suite, machine, packages)
    loader = root / LOADERS[machine]
    # Before trixie a part of the libraries lies outside of /usr.
    libraries = f"{loader.parent}:{root / 'usr' / loader.parent.relative_to(root)}"
    command = (str(loader), "--library-path", libraries, str(root / "usr/bin" / name))
    done = subprocess.run(
        [*command, "-I", "-c", "import sys; print(sys.version.split()[0])"], capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise DeployError(
            f"Python {target.python} from {root} does not run ({said[-1][:200]}); delete {root}"
        )
    return Interpreter(command, done.stdout.decode().strip())
