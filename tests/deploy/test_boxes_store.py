"""On boxes that boot: a rotten byte is mended, keys are rotated and revoked, two pushes share a box.

Takes minutes: `make deploy-test`.
"""

import shutil
import sys
from pathlib import Path

import pytest
from deploy_courier import Courier, Push, status, wait_for_switch, wait_until_judged
from deploy_standin import build_standin
from nspawn import Machine, base_tree, inventory, machine_of, python_of

from deploy.bundle import Bundle, make_keys

pytestmark = pytest.mark.boxes
ROT = "printf '\\\\377' | dd of={path} bs=1 seek=5000 conv=notrunc status=none && sync"
"""In place: the file keeps its size, and every release that shares it holds it."""


def _site() -> str:
    """Where a release of the boxes keeps its packages."""
    return f"venv/lib/python{python_of(base_tree())}/site-packages"


def _library() -> str:
    """A file that releases share."""
    return f"{_site()}/library/data.bin"


def _playing(courier: Courier, box: Machine) -> Bundle:
    bundle = courier.bundle()
    code, text = courier.run("push", box.name, bundle=bundle)
    assert code == 0, text
    return bundle


def test_a_rotten_byte_is_found_by_the_daily_inspection_and_mended_by_a_push(
    courier: Courier, machines: list[Machine]
) -> None:
    box = machines[0]
    before, bundle = _playing(courier, box), _playing(courier, box)
    releases = [f"/opt/kelly-edge/releases/{b.manifest.release}/{_library()}" for b in (before, bundle)]
    assert "kelly-edge-inspect.timer" in box.ssh("systemctl list-timers --all --no-legend").stdout
    box.ssh("systemctl start kelly-edge-inspect.service")
    assert status(box)["is_healthy"]
    box.ssh(ROT.format(path=releases[1]))
    assert status(box)["is_healthy"], "its size is right"
    done = box.ssh("systemctl start kelly-edge-inspect.service", check=False)
    assert done.returncode
    code, text = courier.run("status", "box0")
    assert code == 1
    assert "data.bin is damaged" in text
    code, text = courier.run("rollback", "box0")
    assert code == 1
    assert status(box)["current"] == bundle.manifest.release, "the release before shares the byte"
    code, text = courier.run("push", "box0", bundle=bundle)
    assert code == 0, text
    sums = {line.split()[0] for line in box.ssh(f"sha256sum {' '.join(releases)}").stdout.splitlines()}
    assert len(sums) == 1
    box.ssh("/opt/kelly-edge/bin/kelly-edge-release check --deep")
    assert status(box)["is_healthy"]
    code, text = courier.run("push", "box0", bundle=bundle)
    assert (code, "0 changes" in text) == (0, True)
    assert courier.run("rollback", "box0")[0] == 0


def test_a_push_notices_a_rotten_byte_that_nobody_noticed_before(
    courier: Courier, machines: list[Machine]
) -> None:
    box = machines[0]
    bundle = _playing(courier, box)
    box.ssh(ROT.format(path=f"/opt/kelly-edge/releases/{bundle.manifest.release}/{_library()}"))
    assert status(box)["is_healthy"]
    code, text = courier.run("push", "box0", bundle=bundle)
    assert code == 0, text
    assert "runs already" not in text
    box.ssh("/opt/kelly-edge/bin/kelly-edge-release check --deep")


@pytest.mark.parametrize(
    "change",
    [
        "rm {release}/venv/bin/python3",
        ": > {release}/venv/bin/kelly-edge",
        "echo import os > {release}/{site}/evil.pth",
        "cp /etc/hostname {release}/system/systemd/system/kelly-edge-evil.service",
    ],
)
def test_what_the_manifest_does_not_name_is_left_at_boot_and_mended_by_a_push(
    courier: Courier, machines: list[Machine], change: str
) -> None:
    box = machines[0]
    before, bundle = _playing(courier, box), _playing(courier, box)
    release = f"/opt/kelly-edge/releases/{bundle.manifest.release}"
    box.ssh(f"{change.format(release=release, site=_site())}; sync")
    box.cut_power()
    box.boot()
    assert wait_until_judged(box)["current"] == before.manifest.release
    assert not box.ssh("ls /etc/systemd/system/kelly-edge-evil.service", check=False).stdout
    assert courier.run("push", "box0", bundle=bundle)[0] == 0
    assert status(box)["current"] == bundle.manifest.release


def test_two_pushes_at_once_both_arrive(courier: Courier, machines: list[Machine]) -> None:
    box = machines[0]
    bundles = [courier.bundle() for _ in range(2)]
    pushes = [courier.push("box0", bundle) for bundle in bundles]
    ends = [push.end() for push in pushes]
    facts = wait_until_judged(box)
    # The second to switch may be the older one, which then is refused in a line.
    assert sorted(code for code, _, _ in ends) in ([0, 0], [0, 1]), ends
    assert facts["current"] in [bundle.manifest.release for bundle in bundles]
    same = courier.bundle()
    ends = [push.end() for push in [courier.push("box0", same) for _ in range(2)]]
    assert [code for code, _, _ in ends] == [0, 0], ends
    assert status(box)["current"] == same.manifest.release
    left = box.ssh("find /opt/kelly-edge/incoming -type f | wc -l").stdout.strip()
    print(f"{left} files left in incoming")


def test_keys_are_rotated_and_one_is_revoked_while_the_box_plays_on(
    courier: Courier, machines: list[Machine], key: Path, tmp_path: Path
) -> None:
    box = machines[2]
    before = _playing(courier, box)
    old, new = tmp_path / "old", tmp_path / "new"
    for suffix in ("", ".pub", ".allowed_signers"):
        shutil.copy2(f"{key}{suffix}", f"{old}{suffix}")
    make_keys(new)
    hosts = inventory([box], tmp_path / "hosts.yaml")

    def deploy(signing: Path, *words: str) -> tuple[int, str]:
        code, text, error = Push([sys.executable, "-m", "deploy", "--key", str(signing), *words]).end()
        return code, text + error

    def with_hosts(signing: Path, *words: str) -> tuple[int, str]:
        return deploy(signing, *words, "--hosts", str(hosts))

    def active_since() -> str:
        return box.ssh("systemctl show -P ActiveEnterTimestampMonotonic kelly-edge@audio.service").stdout

    since = active_since()
    assert deploy(old, "keys", "--add", f"{new}.pub")[0] == 0
    code, text = with_hosts(old, "trust", "box2")
    assert (code, "2 trusted" in text) == (0, True), text
    # Provisioning with the new key silences nothing, and a second time changes nothing.
    code, text = with_hosts(new, "provision", "box2")
    assert (code, "nothing to do" in text) == (0, True), text
    assert active_since() == since, "it plays on"
    machine, python = machine_of(base_tree()), python_of(base_tree())
    bad = build_standin(tmp_path, new, "crash", 9_000, machine, "new-bad", python)
    code, text = with_hosts(new, "push", "box2", "--bundle", str(bad.folder))
    assert code == 1
    assert f"back on {before.manifest.release}" in text
    wait_for_switch(box)
    good = build_standin(tmp_path, new, "good", 9_001, machine, "new-good", python)
    assert with_hosts(new, "push", "box2", "--bundle", str(good.folder))[0] == 0
    since = active_since()
    assert deploy(new, "keys", "--revoke", f"{old}.pub")[0] == 0
    code, text = with_hosts(new, "trust", "box2")
    assert (code, "1 revoked" in text) == (0, True), text
    assert active_since() == since, "it plays on"
    late = build_standin(tmp_path, old, "good", 9_002, machine, "late", python)
    code, text = with_hosts(new, "push", "box2", "--bundle", str(late.folder))
    assert code == 1
    assert "by a revoked key" in text
    code, text = with_hosts(old, "provision", "box2")
    assert code == 1
    assert "retired or revoked your key" in text
    box.cut_power()
    box.boot()
    facts = wait_until_judged(box)
    assert facts["current"] == good.manifest.release
