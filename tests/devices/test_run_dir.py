"""The run directory: ours alone, whole, and noticed when it is not."""

import os
import shutil
from pathlib import Path

import pytest

from firmware_py.board.map import file_board
from firmware_py.devices.files.clock import shared_clock
from firmware_py.devices.files.run_dir import HeldRunDir, RunDirWatch, make_run_dir, run_dir_of
from kelly_edge.errors import OutputError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702, 0o720])
def test_a_folder_that_others_may_write_to_is_refused_in_one_line(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(OutputError, match=rf"others may write to .*mode {mode:04o}.*chmod 700") as caught:
        make_run_dir(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750])
def test_one_that_others_may_read_is_ours(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    assert make_run_dir(str(folder)) == folder


@as_root
def test_another_users_folder_a_link_and_a_file_are_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 12_345, 12_345)
    ours = tmp_path / "ours"
    ours.mkdir()
    (tmp_path / "link").symlink_to(ours)
    for path in (theirs, tmp_path / "link"):
        with pytest.raises(OutputError, match="belongs to somebody else"):
            make_run_dir(str(path))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make"):
        make_run_dir(str(tmp_path / "file"))


@pytest.mark.parametrize("lost", ["folder", "panic.ring", "knobs.cell", "clock", "replaced"])
@pytest.mark.parametrize("has_inotify", [True, False])
def test_whatever_of_it_is_lost_is_noticed_at_once(tmp_path: Path, lost: str, has_inotify: bool) -> None:
    run_dir = make_run_dir(str(tmp_path / "run"))
    shared_clock(run_dir)
    file_board(run_dir, 128)
    watch = RunDirWatch(run_dir)
    if not has_inotify:
        watch.close()
        watch._fd = -1
    (run_dir / "somebody_elses").touch()
    (run_dir / "somebody_elses").unlink()
    assert all(watch.is_whole() for _ in range(3))
    if lost in ("folder", "replaced"):
        shutil.rmtree(run_dir)
    else:
        (run_dir / lost).unlink()
    if lost == "replaced":
        make_run_dir(str(run_dir))
        shared_clock(run_dir)
        file_board(run_dir, 128)
    assert not watch.is_whole()
    watch.close()


def test_a_folder_lost_before_its_end_is_let_go_in_peace(tmp_path: Path) -> None:
    held = HeldRunDir(str(tmp_path / "run"))
    shutil.rmtree(held.path)
    held.close()
    again = HeldRunDir(str(tmp_path / "run"))
    again.close()
    assert not (tmp_path / "run").exists()


def test_a_box_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    assert run_dir_of("/x", tmp_path / "service") == Path("/x")
    (tmp_path / "service").mkdir()
    assert run_dir_of("", tmp_path / "service") == tmp_path / "service"
    (tmp_path / "user" / "kelly-edge").mkdir(parents=True)
    assert run_dir_of("", tmp_path / "service") == tmp_path / "user" / "kelly-edge"
