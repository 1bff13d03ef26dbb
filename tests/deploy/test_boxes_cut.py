"""Cut the line, the disk's room or the power while a release is pushed: the box ends on a complete release,
old or new, plays, and says which; the next push brings the new one.

Takes minutes: `make deploy-test`. A power cut here ends every process of a box at once; it does not lose what
a disk still had in its cache.
"""

import os
import random
import time
from pathlib import Path

import pytest
from deploy_courier import Courier, Line, status, wait_for_switch, wait_until_judged
from nspawn import Machine, inventory, slowness

pytestmark = pytest.mark.boxes
N_POWER_CUTS = int(os.environ.get("KELLY_DEPLOY_CUTS", "20"))
STEPS = ("looking", "sending 1 of", "installing", "switching")
FLIPPED_WITHIN_S = 120.0
LATER_S = (0.0, 0.4, 1.5)
"""How long after a step began the line is cut."""


def running(courier: Courier, box: Machine) -> str:
    """The good release that ``box`` runs; it is given one where it has none."""
    if not status(box)["is_healthy"]:
        assert courier.run("push", box.name, bundle=courier.bundle())[0] == 0
    return str(status(box)["current"])


@pytest.mark.parametrize("later_s", LATER_S)
@pytest.mark.parametrize("step", STEPS)
def test_a_line_cut_at_any_step_leaves_a_healthy_box(
    courier: Courier, machines: list[Machine], tmp_path: Path, step: str, later_s: float
) -> None:
    box = machines[0]
    before, bundle = running(courier, box), courier.bundle()
    line = Line(box.port)
    push = courier.push("box0", bundle, inventory([box], tmp_path / "hosts.yaml", line.port))
    assert push.wait_for(step)
    time.sleep(later_s)
    line.cut()
    code, text, _ = push.end()
    wait_for_switch(box)
    facts = wait_until_judged(box)
    print(f"{step} + {later_s} s: {facts['last']}")
    assert facts["current"] in (before, bundle.manifest.release)
    assert code == 1
    assert "connect" in text
    assert courier.run("push", "box0", bundle=bundle)[0] == 0


def test_the_box_goes_on_alone_once_the_release_is_on_trial(
    courier: Courier, machines: list[Machine]
) -> None:
    box = machines[0]
    running(courier, box)
    bundle = courier.bundle()
    push = courier.push("box0", bundle)
    _wait_for_flip(box, bundle.manifest.release)
    push.kill()
    wait_for_switch(box)
    assert wait_until_judged(box)["current"] == bundle.manifest.release


def _wait_for_flip(box: Machine, release: str) -> None:
    end_s = time.monotonic() + FLIPPED_WITHIN_S * slowness()
    while box.ssh("readlink /opt/kelly-edge/current").stdout.strip() != f"releases/{release}":
        assert time.monotonic() < end_s
        time.sleep(0.2)


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_full_at_any_step_leaves_a_healthy_box(
    courier: Courier, machines: list[Machine], step: str
) -> None:
    box = machines[0]
    before, bundle = running(courier, box), courier.bundle()
    push = courier.push("box0", bundle)
    assert push.wait_for(step)
    box.fill()
    try:
        code, text, _ = push.end()
        assert code == 1
        assert "room" in text
        ready = box.ssh("systemctl is-active kelly-edge@audio.service kelly-edge@composer.service").stdout
        assert ready.split() == ["active", "active"], "it plays on a full disk"
    finally:
        box.make_room()
    facts = status(box)
    print(f"full from {step}: {facts['last']}")
    assert facts["current"] in (before, bundle.manifest.release)
    assert courier.run("push", "box0", bundle=bundle)[0] == 0


def test_a_release_that_fails_is_taken_back_on_a_full_disk(courier: Courier, machines: list[Machine]) -> None:
    box = machines[0]
    before, bundle = running(courier, box), courier.bundle("no-ready")
    push = courier.push("box0", bundle)
    assert push.wait_for("switching")
    _wait_for_flip(box, bundle.manifest.release)
    box.fill()
    try:
        assert push.end()[0] == 1
        assert box.ssh("readlink /opt/kelly-edge/current").stdout.strip() == f"releases/{before}"
        ready = box.ssh("systemctl is-active kelly-edge@audio.service kelly-edge@composer.service").stdout
        assert ready.split() == ["active", "active"]
    finally:
        box.make_room()
    assert courier.run("push", "box0", bundle=courier.bundle())[0] == 0


def test_a_power_cut_at_any_moment_leaves_a_box_that_plays(courier: Courier, machines: list[Machine]) -> None:
    rng, box, ends = random.Random(6), machines[1], []
    running(courier, box)
    started_s = time.monotonic()
    assert courier.run("push", "box1", bundle=courier.bundle())[0] == 0
    whole_s = time.monotonic() - started_s
    for _ in range(N_POWER_CUTS):
        before, bundle = running(courier, box), courier.bundle()
        push = courier.push("box1", bundle)
        time.sleep(rng.uniform(0.0, whole_s))
        box.cut_power()
        push.kill()
        box.boot()
        facts = wait_until_judged(box)
        assert facts["current"] in (before, bundle.manifest.release)
        box.ssh("/opt/kelly-edge/bin/kelly-edge-release check --deep")
        ends.append("new" if facts["current"] == bundle.manifest.release else "old")
    print(f"power cuts: {ends.count('old')} ended on the old release, {ends.count('new')} on the new one")
