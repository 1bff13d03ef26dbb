"""Wherever it is interrupted, the box ends on a complete release and says which."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, install
from deploy_programs import FakePrograms

from deploy.box import store, switch
from deploy.box.faults import ReleaseError
from deploy.box.layout import Layout, read_state
from deploy.bundle import Bundle

ROOT = Path(__file__).resolve().parents[2]
N_CUTS = 20
N_SIZES = 24
SWITCHER = """
import sys
from pathlib import Path
from deploy.box import store, switch
from deploy.box.health import Patience
from deploy.box.layout import Layout
from deploy.box.trust import verify_bundle
from deploy_programs import FakePrograms
box, bundle = Layout(Path(sys.argv[1])), Path(sys.argv[2])
print("begins", flush=True)
while True:
    manifest = verify_bundle(bundle, box.allowed_signers)
    store.install(box, bundle, manifest, margin_bytes=0)
    switch.switch(box, FakePrograms(box), manifest.release, Patience(0.0, 0.0))
    break
"""


def test_a_kill_at_any_moment_leaves_a_complete_release(box: Layout, bundle: Bundle, newer: Bundle) -> None:
    programs = FakePrograms(box)
    old = install(box, bundle)
    switch.switch(box, programs, old, AT_ONCE)
    new, rng = newer.manifest.release, random.Random(4)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/deploy'}"}
    words = [sys.executable, "-c", SWITCHER, str(box.root), str(newer.folder)]
    ends: list[str] = []
    longest_s = 0.4
    for number in range(N_CUTS):
        child = subprocess.Popen(words, env=env, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        started_s = time.monotonic()
        if number == 0:
            child.wait()  # learns how long it takes
            longest_s = time.monotonic() - started_s
        else:
            time.sleep(rng.uniform(0.0, longest_s))
            child.send_signal(signal.SIGKILL)
            child.wait()
        child.stdout.close()
        switch.at_boot(box, programs)
        current = box.current_release()
        assert current in (old, new)
        switch.trusted(box, current, deep=True)
        assert not [p for p in box.releases.iterdir() if p.name.startswith(".")]
        ends.append("new" if current == new else "old")
        # Back to the old release alone, for the next try.
        programs.restart()
        switch.go_back(box, programs, old, "again")
        store.remove_all_but(box, {old}, {layer.sha256 for layer in bundle.manifest.layers})
    assert ends[0] == "new"
    assert "old" in ends, f"no cut came before the end: {ends}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mount point that may be given a small disk."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk of limited size needs root")
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine allows no tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def test_a_disk_that_fills_up_at_any_step_leaves_the_old_release(
    small_disk: Path, key: Path, bundle: Bundle, newer: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Layout(small_disk)
    box.allowed_signers.parent.mkdir(parents=True)
    box.home.mkdir(parents=True)
    shutil.copyfile(f"{key}.allowed_signers", box.allowed_signers)
    box.config.write_text("audio: {}\n")
    programs = FakePrograms(box)
    old = install(box, bundle)
    switch.switch(box, programs, old, AT_ONCE)
    layers = {layer.sha256 for layer in bundle.manifest.layers}
    # The look at the free space would stop it before it begins; here it must stop in the middle.
    monkeypatch.setattr(store, "free_bytes", lambda layout: 1 << 40)
    ballast, results = small_disk / "ballast", []
    stat = os.statvfs(small_disk)
    free = stat.f_bavail * stat.f_frsize
    for number in range(N_SIZES):
        left = 4096 * number
        ballast.write_bytes(bytes(free - left))
        try:
            new = install(box, newer)
            switch.switch(box, programs, new, AT_ONCE)
            results.append("new")
        except ReleaseError as error:
            assert "make room" in str(error)
            assert "\n" not in str(error)
            results.append("full")
        except OSError as error:
            pytest.fail(f"with {left} bytes left: {error!r}")
        ballast.unlink()
        switch.at_boot(box, programs)
        assert box.current_release() in (old, newer.manifest.release)
        switch.trusted(box, box.current_release(), deep=True)
        if box.current_release() == old:
            assert programs.running == old
        switch.go_back(box, programs, old, "again")
        store.remove_all_but(box, {old}, layers)
    assert results[0] == "full"
    assert results.count("full") >= 3
    assert read_state(box).good


def test_too_little_room_is_told_before_anything_is_written(
    box: Layout, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "free_bytes", lambda layout: 1_000)
    with pytest.raises(ReleaseError, match=r"0 MiB free and .* needs"):
        store.install(box, bundle.folder, bundle.manifest)
    assert not box.releases.exists()
    assert not box.layers.exists()
