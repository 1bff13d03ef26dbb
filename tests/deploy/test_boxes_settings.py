"""Real boxes over real SSH: settings for three of them, one with a fault; what is fetched; their doctors.

Takes minutes: `make deploy-test T=tests/deploy/test_boxes_settings.py`.
"""

import json
import time
from pathlib import Path

import pytest
from deploy_courier import Courier, Push, wait_until_judged
from nspawn import Machine, inventory

from deploy.bundle import Bundle

pytestmark = pytest.mark.boxes
CONFIG = "/etc/kelly-edge/config.yaml"
GOOD = "# {name}\naudio: {{n_periods: 4}}\n"
FAULTY = "# box1\naudio: {}\n\nnewer: {}\n"
ILL = "audio: {card: gone}\n"


@pytest.fixture(scope="module")
def bundle(courier: Courier) -> Bundle:
    """A good release on all three."""
    bundle = courier.bundle()
    assert courier.run("push", "@ward", bundle=bundle)[0] == 0
    return bundle


@pytest.fixture
def hosts(machines: list[Machine], tmp_path: Path) -> Path:
    """An inventory in which each box has settings of its own, beside it."""
    path = inventory(machines, tmp_path / "hosts.yaml")
    text = path.read_text()
    for machine in machines:
        text = text.replace(f"  {machine.name}: {{", f"  {machine.name}: {{settings: {machine.name}.yaml, ")
        (tmp_path / f"{machine.name}.yaml").write_text(GOOD.format(name=machine.name))
    path.write_text(text)
    return path


def config_of(machine: Machine) -> str:
    return machine.ssh(f"cat {CONFIG}").stdout


def rows(text: str) -> dict[str, str]:
    found = (line.split(maxsplit=1) for line in text.splitlines() if "  " in line)
    return {words[0]: words[1] for words in found if len(words) == 2}


def test_settings_for_three_boxes_one_with_a_fault_in_its_file(
    courier: Courier, bundle: Bundle, machines: list[Machine], hosts: Path
) -> None:
    """Must show 6: two changed, one refused with line and remedy, all play."""
    before = config_of(machines[1])
    (hosts.parent / "box1.yaml").write_text(FAULTY)
    started_s = time.monotonic()
    code, text, _ = Push(courier.words("settings", "@ward", hosts=hosts)).end()
    print(f"settings for three boxes: {time.monotonic() - started_s:.1f} s")
    assert code == 1
    told = rows(text)
    assert told["box0"].startswith("good") and "1 changes" in told["box0"]
    assert told["box2"].startswith("good") and "1 changes" in told["box2"]
    assert told["box1"].startswith("BAD") and "0 changes" in told["box1"]
    assert "newer: unknown section (box1.yaml line 4); take it out; those before stay" in told["box1"]
    assert "+audio: {n_periods: 4}" in text
    assert [config_of(machine) for machine in machines] == [
        GOOD.format(name="box0"),
        before,
        GOOD.format(name="box2"),
    ]
    for machine in machines:
        assert wait_until_judged(machine)["current"] == bundle.manifest.release
    code, text, _ = Push(courier.words("settings", "box0", hosts=hosts)).end()
    assert code == 0
    assert "0 changes" in text
    owner = "stat -c '%U %a' /etc/kelly-edge/config.yaml /etc/kelly-edge/config.yaml.before"
    assert machines[0].ssh(owner).stdout.split("\n")[:2] == ["root 644", "root 644"]


def test_a_box_that_falls_ill_has_its_settings_again(
    courier: Courier, bundle: Bundle, machines: list[Machine], hosts: Path
) -> None:
    before = config_of(machines[0])
    (hosts.parent / "box0.yaml").write_text(ILL)
    code, text, _ = Push(courier.words("settings", "box0", hosts=hosts)).end()
    assert code == 1
    assert "sound card that this box had is not there" in text
    assert "those before are back" in text
    assert config_of(machines[0]) == before
    wait_until_judged(machines[0])


def test_a_power_cut_while_settings_are_on_trial_ends_in_a_verdict(
    courier: Courier, bundle: Bundle, machines: list[Machine], hosts: Path
) -> None:
    box = machines[2]
    before = config_of(box)
    (hosts.parent / "box2.yaml").write_text(ILL)
    push = Push(courier.words("settings", "box2", hosts=hosts))
    end_s = time.monotonic() + 120
    while config_of(box) != ILL and time.monotonic() < end_s:
        time.sleep(0.2)
    assert config_of(box) == ILL
    box.cut_power()
    push.kill()
    box.boot()
    while config_of(box) != before and time.monotonic() < end_s + 240:
        time.sleep(0.5)
    assert config_of(box) == before
    facts = wait_until_judged(box)
    assert facts["settings"]["trial"] == ""
    assert "those before are back" in facts["settings"]["last"]


def test_what_is_fetched_and_what_the_doctor_finds(
    courier: Courier, bundle: Bundle, machines: list[Machine], hosts: Path
) -> None:
    out = hosts.parent / "out"
    for what in ("sessions", "journal"):
        code, text, _ = Push([*courier.words("fetch", what, "@ward", hosts=hosts), "--out", str(out)]).end()
        assert code == 0, text
    for machine in machines:
        logs = list((out / machine.name / "sessions").iterdir())
        assert logs, "the stand-in leaves a log at each start, and a link to /etc/shadow"
        assert all(path.read_text() == '{"kind": "session", "schema": 3}\n' for path in logs)
        assert "kelly-edge" in (out / machine.name / "journal.txt").read_text()
        assert machine.ssh("ls -d /opt/kelly-edge/incoming/fetch.*", check=False).stdout == ""
    code, text, _ = Push([*courier.words("doctor", "@ward", hosts=hosts), "--json"]).end()
    assert code == 0, text
    assert [host["facts"]["faults"] for host in json.loads(text).values()] == [0, 0, 0]
    code, text, _ = Push([*courier.words("status", "@ward", hosts=hosts), "--json"]).end()
    assert code == 0, text
    assert all(host["facts"]["is_healthy"] for host in json.loads(text).values())
