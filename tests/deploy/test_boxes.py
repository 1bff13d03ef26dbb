"""Real boxes over real SSH: provision, push, roll back, three at once, cuts of line and power.

Takes minutes: `make deploy-test`. The boxes are Debian 12 trees under systemd-nspawn with a stand-in for the
instrument; what it takes is in ``nspawn.py``.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_standin import build_standin
from nspawn import Machine, absent, base_tree, inventory, machine_of

from deploy.bundle import Bundle

pytestmark = pytest.mark.boxes
ROOT = Path(__file__).resolve().parents[2]
PATIENCE = {"ready_s": 20.0, "steady_s": 3.0, "look_every_s": 0.5}
N_POWER_CUTS = int(os.environ.get("KELLY_DEPLOY_CUTS", "20"))
N_LINE_CUTS = 10
BACK_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Three boxes, switched on."""
    if "KELLY_DEPLOY_TREE" not in os.environ:
        pytest.skip("booting boxes takes minutes; `make deploy-test` does it")
    if why := absent():
        pytest.skip(why)
    made = [Machine(tmp_path_factory.mktemp(f"box{number}"), number) for number in range(3)]
    try:
        for machine in made:
            machine.make()
            settings = machine.root / "etc/kelly-edge"
            settings.mkdir()
            (settings / "health.json").write_text(json.dumps(PATIENCE))
            machine.boot()
        yield made
    finally:
        for machine in made:
            machine.close()


@pytest.fixture(scope="module")
def hosts(machines: list[Machine], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their inventory."""
    return inventory(machines, tmp_path_factory.mktemp("inventory") / "hosts.yaml")


class Courier:
    """``python -m deploy`` as a person runs it."""

    def __init__(self, work: Path, key: Path, hosts: Path, machine: str) -> None:
        self._work, self._key, self._hosts, self._machine = work, key, hosts, machine

    def bundle(self, behaviour: str = "good", counter: int = 5, note: str = "") -> Bundle:
        return build_standin(self._work, self._key, behaviour, counter, self._machine, note)

    def words(self, command: str, *words: str, bundle: Bundle | None = None) -> list[str]:
        given = ["--bundle", str(bundle.folder)] if bundle is not None else []
        deploy = [sys.executable, "-m", "deploy", "--key", str(self._key)]
        return [*deploy, command, *words, "--hosts", str(self._hosts), *given]

    def run(self, command: str, *words: str, bundle: Bundle | None = None) -> tuple[int, str]:
        done = subprocess.run(
            self.words(command, *words, bundle=bundle), cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(done.stdout, done.stderr)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def courier(work: Path, key: Path, hosts: Path) -> Courier:
    """With every box provisioned."""
    courier = Courier(work, key, hosts, machine_of(base_tree()))
    code, text = courier.run("provision", "@ward")
    assert code == 0, text
    return courier


def status(machine: Machine) -> dict[str, object]:
    facts = json.loads(machine.ssh("/opt/kelly-edge/bin/kelly-edge-release status --json").stdout)
    assert isinstance(facts, dict)
    return facts


def test_a_second_provision_changes_nothing(courier: Courier) -> None:
    code, text = courier.run("provision", "@ward")
    assert code == 0
    assert text.count("0 changes  nothing to do") == 3


def test_push_status_second_push_and_rollback(courier: Courier, machines: list[Machine]) -> None:
    first, second = courier.bundle(counter=5), courier.bundle(counter=6, note="second")
    assert courier.run("push", "box0", bundle=first)[0] == 0
    code, text = courier.run("push", "box0", bundle=first)
    assert code == 0
    assert "0 changes" in text
    code, text = courier.run("plan", "box0", bundle=second)
    size_mb = float(re.search(r"would send ([0-9.]+) MB \(1 layers: kelly-edge\)", text)[1])  # type: ignore[index]
    assert size_mb <= 2.0
    started_s = time.monotonic()
    assert courier.run("push", "box0", bundle=second)[0] == 0
    print(f"push of a delta: {time.monotonic() - started_s:.1f} s")
    code, text = courier.run("rollback", "box0")
    assert code == 0
    assert status(machines[0])["current"] == first.manifest.release
    code, text = courier.run("status", "box0")
    assert code == 0
    assert "healthy" in text


def test_one_bad_box_stops_no_other(courier: Courier, machines: list[Machine]) -> None:
    bundle = courier.bundle(counter=7, note="three")
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
    machines[1].ssh(f"rm {folder}/bad.conf; systemctl daemon-reload")
    machines[2].boot()
    assert courier.run("push", "@ward", bundle=bundle)[0] == 0


@pytest.mark.parametrize("behaviour", ["no-ready", "crash", "silent", "broken", "refuses"])
def test_an_unhealthy_release_is_taken_back_within_a_minute(
    courier: Courier, machines: list[Machine], behaviour: str
) -> None:
    before = status(machines[0])["current"]
    bundle = courier.bundle(behaviour, counter=9)
    started_s = time.monotonic()
    code, text = courier.run("push", "box0", bundle=bundle)
    took_s = time.monotonic() - started_s
    print(f"{behaviour}: back after {took_s:.1f} s, sending included")
    assert code == 1
    assert took_s < BACK_WITHIN_S
    facts = status(machines[0])
    assert facts["current"] == before
    assert facts["is_healthy"]
    assert str(before) in text


def test_a_damaged_release_is_left_for_the_sound_one_at_boot(
    courier: Courier, machines: list[Machine]
) -> None:
    box, before = machines[0], status(machines[0])["current"]
    bundle = courier.bundle(counter=10, note="damaged")
    assert courier.run("push", "box0", bundle=bundle)[0] == 0
    model = f"/opt/kelly-edge/releases/{bundle.manifest.release}/models/one.tflite"
    box.ssh(f"cp {model} /tmp/m && rm {model} && tr w x < /tmp/m > {model} && sync")
    box.cut_power()
    box.boot()
    end_s = time.monotonic() + BACK_WITHIN_S
    while not status(box)["is_healthy"]:
        assert time.monotonic() < end_s, status(box)
        time.sleep(0.5)
    assert status(box)["current"] == before
    assert "is damaged or missing" in str(status(box)["last"])


def test_an_older_release_is_refused_until_asked_for(courier: Courier, machines: list[Machine]) -> None:
    bundle = courier.bundle(counter=1, note="old")
    code, text = courier.run("push", "box0", bundle=bundle)
    assert code == 1
    assert "counter 1" in text
    assert courier.run("push", "box0", "--allow-older", bundle=bundle)[0] == 0
    assert status(machines[0])["current"] == bundle.manifest.release


def test_a_line_cut_at_any_moment_leaves_a_healthy_box(courier: Courier, machines: list[Machine]) -> None:
    rng, box = random.Random(5), machines[0]
    for number in range(N_LINE_CUTS):
        bundle = courier.bundle(counter=20 + number, note=f"line{number}")
        before = status(box)["current"]
        child = subprocess.Popen(
            courier.words("push", "box0", bundle=bundle),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(rng.uniform(0.5, 12.0))
        child.kill()
        child.communicate()
        _wait_for_switch(box)
        facts = status(box)
        print(f"cut {number}: {facts['last']}")
        assert facts["current"] in (before, bundle.manifest.release)
        assert facts["is_healthy"], facts
        assert courier.run("push", "box0", bundle=bundle)[0] == 0


def test_a_power_cut_at_any_moment_leaves_a_box_that_plays(courier: Courier, machines: list[Machine]) -> None:
    rng, box, ends = random.Random(6), machines[1], []
    for number in range(N_POWER_CUTS):
        bundle = courier.bundle(counter=50 + number, note=f"power{number}")
        before = status(box)["current"]
        child = subprocess.Popen(
            courier.words("push", "box1", bundle=bundle),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(rng.uniform(0.5, 14.0))
        box.cut_power()
        child.kill()
        child.communicate()
        box.boot()
        _wait_until_judged(box)
        facts = status(box)
        assert facts["current"] in (before, bundle.manifest.release)
        assert facts["is_healthy"], facts
        box.ssh("/opt/kelly-edge/bin/kelly-edge-release check --deep")
        ends.append("new" if facts["current"] == bundle.manifest.release else "old")
    print(f"power cuts: {ends.count('old')} ended on the old release, {ends.count('new')} on the new one")


def _wait_for_switch(box: Machine) -> None:
    end_s = time.monotonic() + 120.0
    while box.ssh("systemctl is-active --quiet kelly-edge-switch.service", check=False).returncode == 0:
        assert time.monotonic() < end_s
        time.sleep(0.5)


def _wait_until_judged(box: Machine) -> None:
    end_s = time.monotonic() + 120.0
    while True:
        facts = status(box)
        if not facts["trial"] and facts["is_healthy"]:
            return
        assert time.monotonic() < end_s, facts
        time.sleep(0.5)


def test_the_boxes_hold_no_password_and_one_release_program(
    courier: Courier, machines: list[Machine]
) -> None:
    text = (
        machines[0]
        .ssh("grep -h -i passwordauthentication /etc/ssh/sshd_config.d/*; ls /opt/kelly-edge/bin")
        .stdout
    )
    assert "PasswordAuthentication no" in text
    assert "kelly-edge-release" in text
