"""Real boxes: nothing that a service leaves behind ever runs as root, and no silent box is called healthy."""

import os
import time

import pytest
from deploy_courier import Courier, status, wait_until_judged
from nspawn import Machine, base_tree, python_of

pytestmark = pytest.mark.boxes
N_FIRST_PUSHES = int(os.environ.get("KELLY_FIRST_PUSHES", "3"))
FIRST_PUSHES = [round(20 * n / max(N_FIRST_PUSHES - 1, 1)) for n in range(N_FIRST_PUSHES)]
"""Seconds until the last process is READY, on a box without any release: both ends, and between them."""
PLANTED = "/var/lib/kelly-edge/.local/lib/python{python}/site-packages/usercustomize.py"
FORGET = (
    "systemctl stop kelly-edge.target kelly-edge-gadget.service; rm -rf /opt/kelly-edge/current "
    "/opt/kelly-edge/releases/* /opt/kelly-edge/store/layers/* /opt/kelly-edge/state.json "
    "/opt/kelly-edge/had-card "
    "/opt/kelly-edge/highest.json; find /etc/systemd/system -xtype l -delete; systemctl daemon-reload"
)
"""A box as provisioning leaves it."""


@pytest.mark.parametrize("number", range(N_FIRST_PUSHES))
def test_a_first_push_is_good(courier: Courier, machines: list[Machine], number: int) -> None:
    ready_s = FIRST_PUSHES[number]
    machines[0].ssh(FORGET)
    code, text = courier.run("push", "box0", bundle=courier.bundle(f"slow-{ready_s}"))
    assert code == 0, text
    assert "periods captured and played" in text


@pytest.mark.parametrize(
    ("behaviour", "why"), [("deaf", "dsp heard 0 hops"), ("still", "no process counts anything")]
)
def test_a_box_that_is_ready_and_silent_goes_back(
    courier: Courier, machines: list[Machine], behaviour: str, why: str
) -> None:
    before = wait_until_judged(machines[0])["current"]
    code, text = courier.run("push", "box0", bundle=courier.bundle(behaviour))
    assert code == 1
    assert why in text
    assert wait_until_judged(machines[0])["current"] == before


def test_a_card_that_is_gone_is_missed(courier: Courier, machines: list[Machine]) -> None:
    before = wait_until_judged(machines[0])["current"]
    code, text = courier.run("push", "box0", bundle=courier.bundle("no-card"))
    assert code == 1
    assert "sound card that this box had is not there" in text
    assert wait_until_judged(machines[0])["current"] == before


def test_six_dead_processes_are_not_healthy(courier: Courier, machines: list[Machine]) -> None:
    machines[0].ssh("systemctl stop kelly-edge.target")
    facts = status(machines[0])
    assert not facts["is_healthy"]
    assert not any(u["is_ready"] for u in facts["units"] if "@" in u["name"] or "target" in u["name"])
    machines[0].ssh("systemctl start kelly-edge.target")
    assert status(machines[0])["is_healthy"]


def test_nothing_that_a_service_leaves_behind_runs_as_root(courier: Courier, machines: list[Machine]) -> None:
    """The release plants code wherever it may write; then everything starts again, every way there is."""
    box = machines[0]
    code, text = courier.run("push", "box0", bundle=courier.bundle("rude"))
    assert code == 0, text
    assert box.ssh(f"test -s {PLANTED.format(python=python_of(base_tree()))}", check=False).returncode == 0, (
        "it could plant nothing"
    )
    shadow = box.ssh("stat -c '%u %a' /etc/shadow /etc/kelly-edge/allowed_signers").stdout
    box.ssh("systemctl restart kelly-edge.target")
    box.ssh("systemctl kill -s KILL 'kelly-edge@*.service'; sleep 3")
    for words in ("status", "status --deep", "check --deep", "confirm"):
        box.ssh(f"HOME=/var/lib/kelly-edge /opt/kelly-edge/bin/kelly-edge-release {words}")
    box.cut_power()
    box.boot()
    wait_until_judged(box)
    assert courier.run("push", "box0", bundle=courier.bundle())[0] == 0
    assert courier.run("rollback", "box0")[0] == 0
    time.sleep(1.0)
    assert box.ssh("ls /etc/kelly-edge").stdout.split() == ["allowed_signers", "config.yaml", "health.json"]
    assert box.ssh("stat -c '%u %a' /etc/shadow /etc/kelly-edge/allowed_signers").stdout == shadow
    roots = box.ssh("find /var/lib/kelly-edge /var/cache/kelly-edge-compiled -user root").stdout
    assert roots == "", "root wrote where services write"
    # What was planted is live: a root that is not careful runs it.
    box.ssh("HOME=/var/lib/kelly-edge python3 -c pass")
    assert "PWNED" in box.ssh("ls /etc/kelly-edge; rm /etc/kelly-edge/PWNED").stdout
