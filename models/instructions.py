"""Count what every stage of ``kelly-edge bench`` costs in Cortex-A72 instructions: exact, free of noise.

``python -m models.instructions --root ARM64_ROOT [--json]`` runs the same subjects as the bench in
``qemu-aarch64`` (Debian's qemu-user 7.2, whose build loads plugins; and gcc). ARM64_ROOT is a Debian bookworm
arm64 tree with python3 and, in ``opt/site`` or its own site-packages, the box's wheels; it needs a
``proc/cpuinfo`` that names a Cortex-A72 (CPU part 0xd08), or onnxruntime takes other kernels. A share of a
core is told at one instruction a cycle and 1.5 GHz, the Pi 4's clock.

With ``--hops`` it counts the whole of ``dsp`` instead, hop by hop, as the appliance runs it (one voice, a
period of a hop): mean and percentiles on the demo's chords, on one clear voice and in silence. What the
kernel does for the rings is not in them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from kelly_edge.contract import HOP_SIZE, HOPS_PER_EMOTION_STEP
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

DEMO: Final = REPOSITORY / "firmware_py/demo/sad_to_happy.flac"
N_HOPS: Final = 20 * HOPS_PER_EMOTION_STEP
N_HOPS_BEFORE: Final = 25 * HOPS_PER_EMOTION_STEP
"""Hops that are counted, and that come before. Chosen: 1.7 s, whose p99 is a hop that ends a group; 2.1 s, in
which the windows fill."""


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


def run_hops_inside() -> None:
    """In the guest: every hop between two marks; a row of JSON for each sound on stdout."""
    from firmware_py.board.map import memory_board
    from firmware_py.commands.costs import playing
    from firmware_py.devices.files.audio_file import read_audio
    from firmware_py.devices.offline import VirtualClock
    from firmware_py.processes.dsp import DspStage
    from firmware_py.settings import Settings
    from firmware_py.wiring.dsp_models import new_voice, open_decoders, open_emotion

    whole = Settings()
    settings = replace(whole, voice=replace(whole.voice, names=("flute",), selected="flute"))
    n_hops = N_HOPS_BEFORE + N_HOPS
    chords = read_audio(DEMO).samples[: n_hops * HOP_SIZE].reshape(-1, HOP_SIZE)
    sounds = {"chords": chords, "a voice": playing(n_hops), "silence": np.zeros_like(chords)}
    number, block = 2, np.zeros(HOP_SIZE, np.float32)
    for name, hops in sounds.items():
        board, voice = memory_board(), new_voice(settings, open_decoders(settings))
        dsp = DspStage(board.ends("dsp"), open_emotion(settings), voice, HOP_SIZE, VirtualClock())
        for i, hop in enumerate(hops):
            board.rings["capture"].write(hop)
            is_counted = i >= N_HOPS_BEFORE
            if is_counted:
                _mark(number)
            dsp.step()
            if is_counted:
                _mark(number + 1)
                number += 2
            board.rings["playback"].read(block)
            board.rings["heard"].read(dsp.heard)
        print(json.dumps({"sound": name, "n_hops": N_HOPS}), flush=True)


def _build_plugin(folder: Path) -> Path:
    target = folder / "count.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(target), str(PLUGIN)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DataError(f"cannot build {PLUGIN.name} ({error}); install gcc") from None
    return target


def _in_guest(root: Path, cache: Path, inside: str) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """The rows that this module prints in the guest, and instructions so far by mark.

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
        words = [str(python.resolve()), "-m", "models.instructions", "--inside", inside]
        command = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", str(root), "-plugin", str(plugin), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        except OSError as error:
            raise DataError(f"cannot run qemu-aarch64 ({error.strerror}); install qemu-user") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if not line.startswith("@ ")]
        raise DataError(f"the guest failed: {(said or ['no message'])[-1]}; does {root} hold the wheels?")
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("@ ")]
    marks = {int(number): int(n_instructions) for _, number, n_instructions in lines}
    return [json.loads(line) for line in done.stdout.splitlines()], marks


def count(root: Path, cache: Path) -> list[dict[str, Any]]:
    """Rows of stage, variant, instructions an item and share of a Cortex-A72; see ``_in_guest``."""
    rows, marks = _in_guest(root, cache, "stages")
    return [_row(row, marks[2 * i + 3] - marks[2 * i + 2]) for i, row in enumerate(rows)]


def count_hops(root: Path, cache: Path) -> list[dict[str, Any]]:
    """Rows of sound, and the mean, median, p99 and most of a hop's instructions; see ``_in_guest``."""
    rows, marks = _in_guest(root, cache, "hops")
    found, number = [], 2
    for row in rows:
        ends = range(number, number + 2 * row["n_hops"], 2)
        each = np.array([marks[n + 1] - marks[n] for n in ends]) / 1e6
        number += 2 * row["n_hops"]
        p50, p99 = np.quantile(each, [0.5, 0.99])
        shown = {"mean": each.mean(), "p50": p50, "p99": p99, "most": each.max()}
        found.append(
            {"sound": row["sound"], **{f"{k}_million": round(float(v), 2) for k, v in shown.items()}}
        )
    return found


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
    parser.add_argument("--hops", action="store_true", help="count the whole of dsp, hop by hop")
    parser.add_argument("--inside", choices=("stages", "hops"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.inside:
        run_hops_inside() if args.inside == "hops" else run_inside()
        return 0
    if args.root is None:
        parser.error("--root is needed")
    rows = (count_hops if args.hops else count)(args.root.resolve(), args.cache.resolve())
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    if args.hops:
        for row in rows:
            numbers = " ".join(f"{name.split('_')[0]} {row[name]:5.2f} M" for name in list(row)[1:])
            print(f"{row['sound']:10} {numbers}")
        return 0
    for row in rows:
        counted = f"{row['thousand_instructions']:>9.1f} k {row['percent_of_a_cortex_a72']:>6.2f} %"
        print(f"{row['stage']:20} {row['variant']:32} {counted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
