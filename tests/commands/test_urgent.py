"""A panic's word is in the box's ring before the command line is loaded, and in no other's."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from firmware_py.board.map import COMMANDS, PRESS_DTYPE, RINGS
from firmware_py.board.pipes import PipeRing
from firmware_py.commands.urgent import press
from firmware_py.devices.files.run_dir import run_dir_of

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {"XDG_RUNTIME_DIR": "/nowhere"}


def ring_in(folder: Path) -> PipeRing:
    """The ``panic`` ring of a box in ``folder``."""
    folder.mkdir(exist_ok=True)
    spec = RINGS["panic"]
    return PipeRing(folder / "panic.ring", spec.dtype, (), spec.capacity)


def words_in(ring: PipeRing) -> list[str]:
    """What was asked for, as ``guardian`` reads it."""
    record, found = np.zeros((), PRESS_DTYPE), []
    while ring.read(record):
        found.append(COMMANDS[int(record["what"])])
    assert not ring.n_foreign
    return found


@pytest.mark.parametrize(
    "words",
    [
        ["panic", "--set", "runtime.run_dir=RUN"],
        ["panic", "--set=runtime.run_dir=RUN"],
        ["panic", "--set", "runtime.run_dir = RUN", "--json"],
        ["--debug", "panic", "--set=composer.seed=2", "--set=runtime.run_dir=RUN"],
        ["panic", "--set=runtime.run_dir=/nowhere", "--set=runtime.run_dir=RUN"],
        ["panic", "--config", "FILE"],
        ["panic", "--config=FILE", "--debug"],
        ["panic", "--config=/nowhere", "--set=runtime.run_dir=RUN"],
    ],
)
def test_the_box_reads_a_panic(tmp_path: Path, words: Sequence[str]) -> None:
    ring, config = ring_in(tmp_path / "run"), tmp_path / "config.yaml"
    config.write_text(f'runtime:\n  run_dir: "{tmp_path}/run"  # here\n')
    given = [word.replace("RUN", f"{tmp_path}/run").replace("FILE", str(config)) for word in words]
    assert press(given, ELSEWHERE)
    assert words_in(ring) == ["panic"]
    ring.close()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["resume"],
        ["panic", "--help"],
        ["panic", "-h"],
        ["panic", "now"],
        ["panic", "--set"],
        ["panic", "--set=runtime.run_dir='RUN'"],
        ["panic", "--set=runtime.run_dir=RUN # here"],
        ["panic", "--set=runtime.run_dir=run"],
        ["panic", "--config=FILE"],
        ["learn", "panic"],
        ["session", "start"],
        ["--version", "panic"],
    ],
)
def test_no_other_line_is_taken_for_one(tmp_path: Path, words: Sequence[str]) -> None:
    ring, config = ring_in(tmp_path / "kelly-edge"), tmp_path / "config.yaml"
    config.write_text("runtime: [\n")
    given = [word.replace("RUN", f"{tmp_path}/kelly-edge").replace("FILE", str(config)) for word in words]
    assert not press(given, {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert words_in(ring) == []
    ring.close()


def test_the_box_is_the_one_that_the_whole_command_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value, place in (
        ("XDG_RUNTIME_DIR", tmp_path / "user", tmp_path / "user/kelly-edge"),
        ("RUNTIME_DIRECTORY", f"{tmp_path}/service:/more", tmp_path / "service"),
    ):
        place.parent.mkdir(exist_ok=True)
        ring = ring_in(place)
        monkeypatch.setenv(name, str(value))
        assert press(["panic"], dict(os.environ)) and run_dir_of("") == place
        assert words_in(ring) == ["panic"]
        ring.close()


def test_nothing_is_written_into_what_is_no_box_of_ours(tmp_path: Path) -> None:
    words = ["panic", f"--set=runtime.run_dir={tmp_path}"]
    place = tmp_path / "panic.ring"
    assert not press(words) and not place.exists()
    place.write_bytes(b"a file")
    assert not press(words) and place.read_bytes() == b"a file"
    place.unlink()
    ring = ring_in(tmp_path)
    place.chmod(0o666)
    assert not press(words) and words_in(ring) == []
    place.chmod(0o600)
    place.rename(tmp_path / "other")
    place.symlink_to(tmp_path / "other")
    assert not press(words) and words_in(ring) == []
    ring.close()


def test_a_full_ring_holds_it_up_no_more_than_an_empty_one(tmp_path: Path) -> None:
    ring = ring_in(tmp_path)
    words = ["panic", f"--set=runtime.run_dir={tmp_path}"]
    n_written = 0
    while press(words):
        n_written += 1
    assert n_written > 1 and set(words_in(ring)) == {"panic"}
    ring.close()


LOADED = """
import sys
from firmware_py import __main__
__main__.press(["panic", "--set=runtime.run_dir=/nowhere"], {})
print(*sys.modules)
"""


def test_it_waits_for_no_module_that_takes_long_to_load() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n{LOADED}"],
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {name for name in done.stdout.split() if name.startswith(("firmware_py.", "kelly_edge"))}
    assert ours == {
        "firmware_py.__main__",
        "firmware_py.commands",
        "firmware_py.commands.urgent",
        "firmware_py.devices",
        "firmware_py.devices.files",
        "firmware_py.devices.files.run_dir_places",
    }
    assert not {"argparse", "numpy", "tempfile", "yaml"} & set(done.stdout.split())
