"""Everything below a release is what its manifest says, or the release is refused, boot or start."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, call, install
from deploy_programs import FakePrograms

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout
from deploy.bundle import Bundle

SITE = "venv/lib/python3.11/site-packages"


def _add(name: str, text: str = "") -> Callable[[Path], None]:
    def change(release: Path) -> None:
        path = release / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return change


def _link(name: str, points_to: str) -> Callable[[Path], None]:
    def change(release: Path) -> None:
        path = release / name
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, release.parent.parent / "elsewhere")
            shutil.rmtree(path)
            points_to_all = str(release.parent.parent / "elsewhere")
        else:
            path.unlink(missing_ok=True)
            points_to_all = points_to
        path.symlink_to(points_to_all)

    return change


def _mode(name: str, mode: int) -> Callable[[Path], None]:
    return lambda release: (release / name).chmod(mode)


CHANGES = {
    "an emptied command": _add("venv/bin/kelly-edge"),
    "a changed command": _add("venv/bin/kelly-edge", "#!/bin/sh\n"),
    "a removed interpreter": lambda release: (release / "venv/bin/python3").unlink(),
    "another interpreter": _link("venv/bin/python3", "/tmp/python3"),
    "environment settings": _add("venv/pyvenv.cfg", "home = /tmp\ninclude-system-site-packages = true\n"),
    "an added .pth": _add(f"{SITE}/evil.pth", "import os\n"),
    "an added sitecustomize": _add(f"{SITE}/sitecustomize.py"),
    "an added module": _add(f"{SITE}/kelly_edge/new.py"),
    "an added compiled module": _add(f"{SITE}/kelly_edge/__pycache__/new.cpython-311.pyc"),
    "an added unit": _add("system/systemd/system/kelly-edge-evil.service", "[Service]\n"),
    "an added drop-in": _add("system/systemd/system/kelly-edge@audio.service.d/evil.conf"),
    "an added folder": lambda release: (release / "models/more").mkdir(),
    "a file beside the manifest": _add("notes.txt"),
    "a hidden file": _add(".hidden"),
    "a model that is a link": _link("models/one.tflite", "/etc/hostname"),
    "a folder that is a link": _link("models", ""),
    "units that are a link": _link("system", ""),
    "an unreadable model": _mode("models/one.tflite", 0o600),
    "a model that all may write": _mode("models/one.tflite", 0o666),
    "a folder that all may write": _mode("models", 0o777),
    "a release that all may write": _mode("", 0o777),
    "a FIFO for a model": lambda release: (
        (release / "models/one.tflite").unlink(),
        os.mkfifo(release / "models/one.tflite"),
    ),
    "a folder for a file": lambda release: (
        (release / "models/one.tflite").unlink(),
        (release / "models/one.tflite").mkdir(),
    ),
    "a link to the disk's end for a library": _link(f"{SITE}/library/data.bin", "/dev/zero"),
}


@pytest.fixture
def second(box: Layout, bundle: Bundle, newer: Bundle) -> str:
    """Runs, and the first one is good as well."""
    programs = FakePrograms(box)
    for one in (bundle, newer):
        release = install(box, one)
        switch.switch(box, programs, release, AT_ONCE)
    return release


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_in_the_manifest_is_refused_and_mended(
    box: Layout, bundle: Bundle, newer: Bundle, second: str, what: str
) -> None:
    CHANGES[what](box.releases / second)
    for deep in (False, True):
        with pytest.raises(ReleaseError, match=f"(damaged or missing|does not belong there); push {second}"):
            switch.trusted(box, second, deep)
    assert call(box, "check") == 2
    # An unreadable, shared file is wrong in the first release too; everything else is the second's alone.
    programs = FakePrograms(box)
    if "model" not in what or "link" in what or "FIFO" in what or "compiled" in what:
        assert f"back on {bundle.manifest.release}" in switch.at_boot(box, programs)
    install(box, newer)
    switch.trusted(box, second, deep=True)


def test_an_environment_that_python_made_itself_is_accepted(box: Layout, second: str) -> None:
    release = box.releases / second
    (release / "venv/bin/python").symlink_to("python3")
    (release / "venv/bin/python3.11").symlink_to("python3")
    (release / "venv/lib64").symlink_to("lib")
    (release / "venv/include/python3.11").mkdir(parents=True)
    switch.trusted(box, second, deep=True)
    (release / "venv/include/python3.11/evil.h").write_text("")
    with pytest.raises(ReleaseError, match="does not belong there"):
        switch.trusted(box, second)


def test_a_link_that_leads_elsewhere_is_no_current_release(box: Layout, bundle: Bundle, second: str) -> None:
    elsewhere = box.root / "tmp" / second
    shutil.copytree(box.releases / second, elsewhere, symlinks=True)
    box.current.unlink()
    box.current.symlink_to(elsewhere)
    assert box.current_release() == ""
    assert "back on" in switch.at_boot(box, FakePrograms(box))
    assert os.readlink(box.current) == f"releases/{second}"


def test_a_release_that_is_a_link_is_not_installed(box: Layout, second: str) -> None:
    (box.releases / "9.9-9-evil").symlink_to(box.releases / second)
    assert "9.9-9-evil" not in box.installed()


def test_the_units_of_root_are_checked_before_anything_else(box: Layout, second: str) -> None:
    release = box.releases / second
    (release / "models/one.tflite").unlink()
    (release / f"{SITE}/kelly_edge/__init__.py").unlink()
    (release / "system/systemd/system/kelly-edge.target").unlink()
    with pytest.raises(ReleaseError, match=r"kelly-edge\.target is damaged"):
        switch.trusted(box, second)


@pytest.mark.parametrize("umask", [0o027, 0o077, 0o777 & ~0o700])
def test_an_install_under_any_umask_can_be_read_by_the_services(
    box: Layout, newer: Bundle, umask: int
) -> None:
    before = os.umask(umask)
    try:
        release = install(box, newer)
        switch.switch(box, FakePrograms(box), release, AT_ONCE)
    finally:
        os.umask(before)
    for folder in (box.home, box.releases, box.layers, box.units):
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink() and path.name not in ("lock",):
                wanted = 0o5 if path.is_dir() else 0o4
                assert path.stat().st_mode & wanted == wanted, path
    switch.trusted(box, release, deep=True)


def test_a_release_that_a_umask_closed_is_opened_by_a_push(box: Layout, newer: Bundle, second: str) -> None:
    for folder in (box.home, box.releases, box.releases / second, box.releases / second / "models"):
        folder.chmod(0o700)
    with pytest.raises(ReleaseError):
        switch.trusted(box, second)
    install(box, newer)
    switch.trusted(box, second)
    assert (box.releases.stat().st_mode & 0o777, box.home.stat().st_mode & 0o777) == (0o755, 0o755)
    assert store.present_layers(box)
