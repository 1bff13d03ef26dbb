"""Real boxes over real SSH: provision, push, roll back, three at once, releases that are not healthy.

Takes minutes: `make deploy-test`. The boxes are Debian 12 trees under systemd-nspawn with a stand-in for the
instrument; what it takes is in ``nspawn.py``.
"""

import re
import time

import pytest
from deploy_courier import Courier, status, wait_until_judged
from nspawn import Machine, base_tree, python_of, slowness

pytestmark = pytest.mark.boxes
BACK_WITHIN_S = 600.0
"""Wanted: 60 s, and 20 s for a change of code. What it took is printed: a loaded machine must not fail."""
DELTA_MB = 2.0


def test_a_second_provision_changes_nothing(courier: Courier) -> None:
    code, text = courier.run("provision", "@ward")
    assert code == 0
    assert text.count("0 changes  nothing to do") == 3


def test_push_status_second_push_and_rollback(courier: Courier, machines: list[Machine]) -> None:
    first, second = courier.bundle(), courier.bundle()
    assert courier.run("push", "box0", bundle=first)[0] == 0
    code, text = courier.run("push", "box0", bundle=first)
    assert code == 0
    assert "0 changes" in text
    code, text = courier.run("provision", "box0")
    assert code == 0
    assert "nothing to do" in text, "a push leaves a box as provisioning wants it"
    code, text = courier.run("plan", "box0", bundle=second)
    match = re.search(r"would send ([0-9.]+) MB \(1 layers: kelly-edge\)", text)
    assert match is not None
    assert float(match[1]) <= DELTA_MB
    assert courier.run("push", "box0", bundle=second)[0] == 0
    assert courier.run("rollback", "box0")[0] == 0
    assert status(machines[0])["current"] == first.manifest.release
    code, text = courier.run("status", "box0")
    assert code == 0
    assert "healthy" in text


def test_one_bad_box_stops_no_other(courier: Courier, machines: list[Machine]) -> None:
    bundle = courier.bundle()
    # A drop-in of its own: on this box alone the sound's unit cannot start.
    folder = "/etc/systemd/system/kelly-edge@audio.service.d"
    bad = "[Service]\\nExecStart=\\nExecStart=/bin/false\\n"
    machines[1].ssh(f"mkdir -p {folder} && printf '{bad}' > {folder}/bad.conf")
    machines[2].cut_power()
    code, text = courier.run("push", "@ward", bundle=bundle)
    assert code == 1
    lines = dict(line.split(maxsplit=1) for line in text.splitlines()[:3])
    assert lines["box0"].startswith("good")
    assert "kelly-edge@audio.service" in lines["box1"]
    assert "cannot connect" in lines["box2"]
    assert "1 of 3 good" in text
    code, text = courier.run("provision", "@ward")
    assert code == 1
    assert text.count("nothing to do") == 2
    assert "cannot connect" in text
    machines[1].ssh(f"rm {folder}/bad.conf; systemctl daemon-reload")
    machines[2].boot()
    assert courier.run("push", "@ward", bundle=bundle)[0] == 0


@pytest.mark.parametrize("behaviour", ["no-ready", "crash", "silent", "broken", "refuses"])
def test_an_unhealthy_release_is_taken_back(
    courier: Courier, machines: list[Machine], behaviour: str
) -> None:
    before = status(machines[0])["current"]
    bundle = courier.bundle(behaviour)
    started_s = time.monotonic()
    code, text = courier.run("push", "box0", bundle=bundle)
    took_s = time.monotonic() - started_s
    facts = wait_until_judged(machines[0])
    healthy_s = time.monotonic() - started_s
    print(f"{behaviour}: back after {took_s:.1f} s, sending included; healthy after {healthy_s:.1f} s")
    assert code == 1
    assert took_s < BACK_WITHIN_S * slowness()
    assert facts["current"] == before
    assert str(before) in text


def test_a_damaged_release_is_left_for_the_sound_one_at_boot(
    courier: Courier, machines: list[Machine]
) -> None:
    box, before = machines[0], status(machines[0])["current"]
    bundle = courier.bundle()
    assert courier.run("push", "box0", bundle=bundle)[0] == 0
    model = f"/opt/kelly-edge/releases/{bundle.manifest.release}/models/one.tflite"
    box.ssh(f"cp {model} /tmp/m && rm {model} && tr w x < /tmp/m > {model} && sync")
    box.cut_power()
    box.boot()
    facts = wait_until_judged(box)
    assert facts["current"] == before
    assert "is damaged or missing" in str(facts["last"])


def test_quick_power_cycles_change_no_release(courier: Courier, machines: list[Machine]) -> None:
    box = machines[0]
    before = wait_until_judged(box)["current"]
    for _ in range(5):
        box.cut_power()
        box.boot()
    assert wait_until_judged(box)["current"] == before


def test_an_older_release_is_refused_until_asked_for(courier: Courier, machines: list[Machine]) -> None:
    bundle = courier.bundle(counter=1)
    code, text = courier.run("push", "box0", bundle=bundle)
    assert code == 1
    assert "counter 1" in text
    assert courier.run("push", "box0", "--allow-older", bundle=bundle)[0] == 0
    assert status(machines[0])["current"] == bundle.manifest.release


def test_a_bundle_for_another_python_is_refused(courier: Courier, machines: list[Machine]) -> None:
    before = status(machines[0])["current"]
    code, text = courier.run("push", "box0", bundle=courier.bundle(python="3.12"))
    assert code == 1
    assert f"build it with --python {python_of(base_tree())}" in text
    assert status(machines[0])["current"] == before


def test_the_boxes_hold_no_password_and_one_release_program(
    courier: Courier, machines: list[Machine]
) -> None:
    listing = "grep -h -i passwordauthentication /etc/ssh/sshd_config.d/*; ls /opt/kelly-edge/bin"
    text = machines[0].ssh(listing).stdout
    assert text.splitlines() == ["PasswordAuthentication no", "kelly-edge-release"]
