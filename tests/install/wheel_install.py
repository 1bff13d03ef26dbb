"""Install the wheel as a stranger would, play the demo, and weigh it: ``make wheel-test``.

    python tests/install/wheel_install.py WHEEL PYTHON … [--beside PACKAGE] [--json FILE]

For each Python: a fresh environment, ``pip install WHEEL`` and ``kelly-edge demo``, with nothing in PATH but
that environment, so that no compiler is found; then, in another fresh one, ``pip install PACKAGE``. Nothing
is taken from pip's cache. Prints a table; exit code 1 where our wheel does not install or the demo fails.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

COMPILERS = ("cc", "gcc", "g++", "clang", "swig", "cmake", "rustc", "ld", "make")
INSTALL_WITHIN_S = 7_200
DEMO_WITHIN_S = 7_200
LONGEST_REASON = 90
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Row:
    """What one installation took, by the clock and of the processor; ``why``: why it failed, or nothing."""

    python: str
    package: str
    install_s: float
    install_cpu_s: float
    mb: float
    demo_s: float = 0.0
    demo_cpu_s: float = 0.0
    why: str = ""


def environment(folder: Path) -> dict[str, str]:
    """PATH holds the environment alone; what else pip may need to reach an index stays."""
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("proxy")}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    kept |= {name: os.environ[name] for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if name in os.environ}
    return {**kept, "PATH": str(folder / "bin"), "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def fresh(python: str, folder: Path) -> tuple[Path, str]:
    """A new environment's interpreter and its version."""
    subprocess.run([python, "-m", "venv", folder], check=True, env={**os.environ, "PYTHONPATH": ""})
    found = [name for name in COMPILERS if (folder / "bin" / name).exists()]
    assert not found, found
    version = [str(folder / "bin/python"), "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    return folder / "bin/python", subprocess.run(
        version, check=True, capture_output=True, text=True
    ).stdout.strip()


def run(words: Sequence[str | Path], scratch: Path, within_s: float) -> tuple[Done, float, float]:
    """How a program ended, and the seconds it took by the clock and of the processor."""
    began_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            words,
            env=environment(scratch),
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
        )
    except subprocess.TimeoutExpired:
        done = Done(words, 124, "", f"error: not done within {within_s:.0f} s")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done, round(time.monotonic() - began_s, 1), round(cpu_s, 1)


def size_mb(folder: Path) -> float:
    """Bytes of its files in MB (1e6), each counted once."""
    sizes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            sizes[status.st_ino] = status.st_size
    return sum(sizes.values()) / 1e6


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line that says why it failed, of a failed program; else nothing."""
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or [f"exit code {done.returncode}"])[-1][:LONGEST_REASON]


def install(python: str, what: str, scratch: Path, has_demo: bool) -> Row:
    """Install ``what`` into a fresh environment of ``python``; where it is ours, play the demo."""
    interpreter, version = fresh(python, scratch)
    empty_mb = size_mb(scratch)
    words = [
        interpreter,
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--quiet",
        "--disable-pip-version-check",
        what,
    ]
    done, install_s, cpu_s = run(words, scratch, INSTALL_WITHIN_S)
    name = Path(what).name.split("-")[0]
    row = Row(version, name, install_s, cpu_s, round(size_mb(scratch) - empty_mb, 1), why=reason(done))
    if row.why or not has_demo:
        return row
    out = scratch / "demo"
    demo = [scratch / "bin/kelly-edge", "demo", "--out", out, "--json"]
    played, demo_s, demo_cpu_s = run(demo, scratch, DEMO_WITHIN_S)
    why = reason(played)
    if not why and (not (out / "performance.mid").is_file() or json.loads(played.stdout)["n_notes"] == 0):
        why = "the demo leaves no notes"
    return replace(row, demo_s=demo_s, demo_cpu_s=demo_cpu_s, why=why)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("python", nargs="+")
    parser.add_argument("--beside", action="append", default=[], metavar="PACKAGE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = []
    for python in args.python:
        for what in (str(args.wheel.resolve()), *args.beside):
            with tempfile.TemporaryDirectory(prefix="wheel-") as scratch:
                row = install(python, what, Path(scratch), what not in args.beside)
            rows.append(row)
            print(
                f"{row.python:<8} {row.package:<12} install {row.install_s:>6.1f} s "
                f"({row.install_cpu_s:.1f} of CPU) {row.mb:>7.1f} MB  "
                f"demo {row.demo_s:>5.1f} s ({row.demo_cpu_s:.1f})  {row.why or 'good'}",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return int(any(row.why for row in rows if row.package == "kelly_edge"))


if __name__ == "__main__":
    sys.exit(main())
