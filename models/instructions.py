"""Count what every stage of ``kelly-edge bench`` costs in Cortex-A72 instructions: exact, free of noise.

``python -m models.instructions --root ARM64_ROOT [--json]`` runs the same subjects as the bench in
``qemu-aarch64`` (Debian's qemu-user 7.2, whose build loads plugins; and gcc). ARM64_ROOT is a Debian bookworm
arm64 tree with python3 and, in ``opt/site`` or its own site-packages, the box's wheels; it needs a
``proc/cpuinfo`` that names a Cortex-A72 (CPU part 0xd08), or onnxruntime takes other kernels. A share of a
core is told at one instruction a cycle and 1.5 GHz, the Pi 4's clock.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from kelly_edge.errors import DataError, KellyError
from kelly_edge.shared.command_line import Parser, command, path_argument

PLUGIN: Final = Path(__file__).with_name("count.c")
REPOSITORY: Final = Path(__file__).resolve().parents[1]
CLOCK_HZ: Final = 1.5e9
"""Of a Cortex-A72 in a Raspberry Pi 4."""
N_STEPS: Final = 100
"""A mark costs 25 k instructions itself: a quarter of an emotion step. Measured under qemu; chosen so that
marks do not count."""
N_BARS: Final = 6
"""A composer's step is a bar of many words. Chosen by hand."""


def _mark(number: int) -> None:
    # The plugin sees the call's argument; that no process has this number does not matter.
    with suppress(OSError):
        os.getpriority(os.PRIO_PROCESS, number)


def run_inside() -> None:
    """In the guest: every subject between two marks; a row of JSON each on stdout."""
    from firmware_py.commands.costs import N_WARM, subjects
    from firmware_py.settings import Settings

    for i, subject in enumerate(subjects(Settings())):
        n_steps = N_BARS if subject.stage == "compound word" else N_STEPS
        for _ in range(N_WARM):
            subject.step()
        _mark(2 * i + 2)
        n_items = sum(subject.step() for _ in range(n_steps))
        _mark(2 * i + 3)
        row = {"stage": subject.stage, "variant": subject.variant, "every_us": subject.every_us}
        print(json.dumps({**row, "n_items": n_items}), flush=True)


def _build_plugin(folder: Path) -> Path:
    target = folder / "count.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(target), str(PLUGIN)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DataError(f"cannot build {PLUGIN.name} ({error}); install gcc") from None
    return target


def count(root: Path, cache: Path) -> list[dict[str, Any]]:
    """Rows of stage, variant, instructions an item and share of a Cortex-A72.

    Raises
    ------
    DataError: no such tree, no qemu-aarch64, or the guest failed.
    """
    python = root / "usr" / "bin" / "python3"
    if not python.exists():
        raise DataError(f"{root}: no arm64 tree with usr/bin/python3; make one with mmdebstrap")
    with tempfile.TemporaryDirectory() as folder:
        plugin = _build_plugin(Path(folder))
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": folder,
            "PYTHONPATH": f"{REPOSITORY}:{root / 'opt' / 'site'}",
            "NUMBA_CACHE_DIR": str(cache),
            "NUMBA_CPU_NAME": "cortex-a72",
            "OMP_NUM_THREADS": "1",
            "LD_LIBRARY_PATH": "",
        }
        inside = [str(python.resolve()), "-m", "models.instructions", "--inside"]
        command = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", str(root), "-plugin", str(plugin), *inside]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        except OSError as error:
            raise DataError(f"cannot run qemu-aarch64 ({error.strerror}); install qemu-user") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("@ ")]
        raise DataError(f"the guest failed: {(said or ['no message'])[-1]}; does {root} hold the wheels?")
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("@ ")]
    marks = {int(number): int(n_instructions) for _, number, n_instructions in lines}
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [_row(row, marks[2 * i + 3] - marks[2 * i + 2]) for i, row in enumerate(rows)]


def _row(row: dict[str, Any], n_instructions: int) -> dict[str, Any]:
    each = n_instructions / row["n_items"]
    share = each / (row["every_us"] * 1e-6 * CLOCK_HZ)
    return {
        "stage": row["stage"],
        "variant": row["variant"],
        "thousand_instructions": round(each / 1e3, 1),
        "percent_of_a_cortex_a72": round(100 * share, 2),
    }


@command("models.instructions", KellyError)
def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, count, print."""
    parser = Parser(prog="models.instructions", description=__doc__)
    parser.add_argument("--root", type=path_argument, help="an arm64 tree with python3 and the wheels")
    parser.add_argument(
        "--cache", type=path_argument, default=Path("out/numba-cortex-a72"), help="keeps numba's machine code"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.inside:
        run_inside()
        return 0
    if args.root is None:
        parser.error("--root is needed")
    rows = count(args.root.resolve(), args.cache.resolve())
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        counted = f"{row['thousand_instructions']:>9.1f} k {row['percent_of_a_cortex_a72']:>6.2f} %"
        print(f"{row['stage']:20} {row['variant']:32} {counted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
