"""A source-only package compiled for the box without emulation: cross compiler, Debian's arm64 headers."""

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.commands import run, unpack
from deploy.interpreter import Interpreter
from deploy.target import Target

TRIPLE: Final = "aarch64-linux-gnu"
SETTINGS: Final = {"PYPI": "1"}
"""lgpio's own: its C library goes into the wheel."""


def cross_build(
    sdist: Path,
    target: Target,
    python: Interpreter,
    sysroot: Path,
    tools: Sequence[Path],
    out: Path,
    source_date: int,
) -> Path:
    """Compile an sdist for the box; the wheel in ``out``.

    Parameters
    ----------
    python: of the target's version, running on this machine.
    sysroot: the target's headers and libraries.
    tools: where it finds setuptools, if not among its own packages.

    Raises
    ------
    DeployError: it does not compile.
    """
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            unpack(archive, Path(scratch))
        source = next(p for p in Path(scratch).iterdir() if p.is_dir())
        env = _environment(target, sysroot, tools, source_date)
        # Compilers write paths into what they make; this one is another each time.
        env["CFLAGS"] += f" -ffile-prefix-map={source}=."
        run(
            [*python.command, "setup.py", "-q", "bdist_wheel", "-p", "linux_aarch64", "-d", "built"],
            cwd=source,
            env=env,
            remedy="install gcc-aarch64-linux-gnu, pkg-config and (for Python 3.13) swig",
        )
        built = next((source / "built").glob("*.whl"))
        return Path(shutil.copy2(built, out / built.name))


def _environment(target: Target, sysroot: Path, tools: Sequence[Path], source_date: int) -> dict[str, str]:
    """In which ``setup.py bdist_wheel`` builds for the sysroot's machine."""
    name = f"python{target.python}"
    include = f"-I{sysroot}/usr/include/{name} -I{sysroot}/usr/include/{TRIPLE}/{name}"
    flags = f"--sysroot={sysroot} {include} -O2 -g0 -ffile-prefix-map={sysroot}=/ -Wno-date-time"
    return {
        **SETTINGS,
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "SOURCE_DATE_EPOCH": str(source_date),
        "PYTHONHASHSEED": "0",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "_PYTHON_SYSCONFIGDATA_NAME": f"_sysconfigdata__{TRIPLE}",
        "PYTHONPATH": ":".join(map(str, [sysroot / "usr/lib" / name, *tools])),
        "CC": f"{TRIPLE}-gcc",
        "LDSHARED": f"{TRIPLE}-gcc -shared --sysroot={sysroot} -Wl,--build-id=none",
        "CFLAGS": flags,
        "LDFLAGS": f"-L{sysroot}/usr/lib/{TRIPLE} -L{sysroot}/lib/{TRIPLE}",
        "PKG_CONFIG_SYSROOT_DIR": str(sysroot),
        "PKG_CONFIG_LIBDIR": f"{sysroot}/usr/lib/{TRIPLE}/pkgconfig:{sysroot}/usr/share/pkgconfig",
    }
