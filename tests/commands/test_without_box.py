"""A laptop without the extra ``box``: files are computed; live commands say in one line what is missing."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
BOX_MODULES = {
    "python-rtmidi": "rtmidi", "pyalsaaudio": "alsaaudio", "gpiozero": "gpiozero", "lgpio": "lgpio",
    "systemd-python": "systemd",
}  # fmt: skip
"""What the extra installs, and what is imported of it."""
SCRIPT = """
import json, sys
# An import of them fails as if they were not installed.
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
from firmware_py.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


def extras() -> tuple[list[str], list[str]]:
    """Names of what everybody installs, and of what the extra ``box`` adds."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base, box = project["dependencies"], project["optional-dependencies"]["box"]
    return [Requirement(text).name for text in base], [Requirement(text).name for text in box]


def without_box(*words: str) -> tuple[int, str]:
    """Exit code and stderr of a command, in an interpreter where the extra's modules are absent."""
    absent = json.dumps(sorted(BOX_MODULES.values()))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, absent, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def test_what_drives_a_board_is_in_the_extra_alone() -> None:
    base, box = extras()
    assert set(box) == set(BOX_MODULES)
    assert not set(base) & set(box)


@pytest.mark.parametrize("words", ["run", "safe", "learn valence", "audio", "midi", "guardian"])
def test_a_live_command_says_in_one_line_which_extra_it_needs(tmp_path: Path, words: str) -> None:
    code, text = without_box(*words.split(), f"--set=runtime.run_dir={tmp_path}/run", "--set=panel.chip=none")
    assert code == 2
    assert text.count("\n") == 1 and text.strip().endswith("pip install 'kelly-edge[box]'"), text


def test_files_are_computed_without_it(tmp_path: Path) -> None:
    demo = ROOT / "firmware_py/demo"
    recording = next(path for path in sorted(demo.iterdir()) if path.suffix in (".wav", ".flac", ".ogg"))
    out = tmp_path / "features.npz"
    assert without_box("analyse", str(recording), "--out", str(out)) == (0, "")
    assert out.is_file()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-3.13.lock"])
def test_the_locks_hold_the_extra_too(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for package in BOX_MODULES:
        assert f"\n{package}==" in f"\n{text}", package
