"""Root does nothing by name in a folder that another user owns: it becomes that user, or refuses."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from firmware_py.devices.files.kept import replace_file
from firmware_py.devices.files.owner import foreign_owner

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can own files as another user")
NOBODY = 65_534
ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that another user owns and may be reached by it."""
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    return folder


PLANTED = """
import os, sys
from pathlib import Path
state, treasure = map(Path, sys.argv[1:3])
(state / f".controls.json.{os.getpid()}").symlink_to(treasure)
from firmware_py.__main__ import main
sys.exit(main(["learn", "valence", "--forget", f"--set=runtime.state_dir={state}"]))
"""
"""As it was done: a link by the name that root was going to write to, which a number told."""


def learn(state: Path, treasure: Path) -> subprocess.CompletedProcess[str]:
    """``kelly-edge learn`` as root, with a link in its way."""
    command = [sys.executable, "-c", PLANTED, str(state), str(treasure)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@needs_root
@pytest.mark.parametrize("is_map_a_link", [False, True])
def test_learn_as_root_follows_no_link_and_gives_no_file_away(
    state: Path, tmp_path: Path, is_map_a_link: bool
) -> None:
    treasure = tmp_path / "shadow"
    treasure.write_text("root's")
    treasure.chmod(0o600)
    if is_map_a_link:
        (state / "controls.json").symlink_to(treasure)
    done = learn(state, treasure)
    assert "root's" not in done.stdout + done.stderr
    # What the service's user cannot read is set aside: the link, not what it leads to.
    assert done.returncode == 0, done.stderr
    assert (state / "controls.json.unreadable").is_symlink() == is_map_a_link
    assert (treasure.read_text(), treasure.stat().st_uid) == ("root's", 0)
    assert stat.S_IMODE(treasure.stat().st_mode) == 0o600


@needs_root
def test_what_learn_as_root_writes_is_the_services(state: Path) -> None:
    done = learn(state, Path("/dev/null"))
    assert done.returncode == 0, done.stderr
    kept = (state / "controls.json").stat()
    assert (kept.st_uid, kept.st_gid) == (NOBODY, NOBODY)
    assert json.loads((state / "controls.json").read_text())["controls"] == []


@needs_root
def test_settings_that_root_alone_may_read_are_read_before(state: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"runtime:\n  state_dir: {state}\n")
    config.chmod(0o600)
    command = [sys.executable, "-m", "firmware_py", "learn", "--config", str(config), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["{}"], "")


@needs_root
def test_root_is_refused_in_another_users_folder(state: Path) -> None:
    with pytest.raises(PermissionError, match="another user's folder"):
        replace_file(state / "controls.json", b"{}")
    assert list(state.iterdir()) == []


@needs_root
def test_a_folder_on_the_way_counts(state: Path) -> None:
    assert foreign_owner(state / "a" / "b" / "board.json") == NOBODY
    assert foreign_owner(Path("/etc/kelly-edge")) == 0
    (state / "inner").mkdir()
    assert foreign_owner(state / "inner") == NOBODY, "its parent's owner can put another one there"


def test_a_file_is_replaced_and_what_was_there_by_link_is_not(tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    aim.write_text("kept")
    place = tmp_path / "controls.json"
    place.symlink_to(aim)
    replace_file(place, b"new", 0o640)
    assert (aim.read_text(), place.read_text(), place.is_symlink()) == ("kept", "new", False)
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["aim", "controls.json"]


def test_nothing_is_left_beside_what_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "controls.json").mkdir()
    with pytest.raises(OSError, match="a folder"):
        replace_file(tmp_path / "controls.json", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["controls.json"]
