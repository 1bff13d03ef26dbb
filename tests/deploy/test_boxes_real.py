"""Real boxes with the instrument itself rather than its stand-in: what only its own programs can get wrong.

The box has no sound card; `make appliance` pushes to one that has.
"""

import re
import shutil
from pathlib import Path

import pytest
from deploy_courier import ROOT, Courier, status, wait_until_judged
from deploy_real import PYTHON, build_real, libraries
from exposure import most_exposed
from nspawn import Machine, base_tree, machine_of, python_of

from deploy.bundle import Bundle
from deploy.interpreter import here
from deploy.project import Project

pytestmark = pytest.mark.boxes
CHECKED_OUT = ("kelly_edge", "firmware_py", "models/shipped", "systemd", "config.yaml", "pyproject.toml")


@pytest.fixture(scope="module")
def releases(work: Path, key: Path) -> tuple[Bundle, Bundle]:
    """This checkout; and again with one line more in its code."""
    if machine_of(base_tree()) != machine_of(Path("/")) or python_of(base_tree()) != PYTHON:
        pytest.skip(f"the libraries of this environment are for Python {PYTHON}: SUITE=bookworm has 3.11")
    newer = work / "newer"
    for name in CHECKED_OUT:
        source, copy = ROOT / name, newer / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copyfile(source, copy)
    with (newer / "kelly_edge/__init__.py").open("a", encoding="utf-8") as file:
        file.write("\n# newer\n")
    library = libraries(here())
    first = build_real(work, key, Project(ROOT), library, 101)
    return first, build_real(work, key, Project(newer), library, 102)


def test_the_instrument_is_pushed_judged_and_rolled_back(
    courier: Courier, machines: list[Machine], releases: tuple[Bundle, Bundle]
) -> None:
    first, second = releases
    code, text = courier.run("push", "box0", bundle=first)
    assert code == 0, text
    assert "no sound card yet" in text
    code, text = courier.run("push", "box0", bundle=second)
    assert code == 0, text
    assert courier.run("rollback", "box0")[0] == 0
    facts = wait_until_judged(machines[0])
    assert facts["current"] == first.manifest.release


def test_it_plays_on_after_a_power_cut(machines: list[Machine], releases: tuple[Bundle, Bundle]) -> None:
    box = machines[0]
    before = wait_until_judged(box)["current"]
    box.cut_power()
    box.boot()
    assert wait_until_judged(box)["current"] == before
    assert status(box)["is_healthy"]


def test_the_units_as_installed_are_exposed_to_less_than_the_threshold(
    machines: list[Machine], releases: tuple[Bundle, Bundle]
) -> None:
    """The template instances as well, with every drop-in that provisioning and the release brought."""
    listing = "systemctl list-units --all --plain --no-legend 'kelly-edge*.service' | cut -d' ' -f1"
    units = [unit for unit in machines[0].ssh(listing).stdout.split() if "switch" not in unit]
    assert len(units) >= 10, units
    levels = {}
    for unit in units:
        text = machines[0].ssh(f"systemd-analyze security --no-pager {unit} | tail -1").stdout
        levels[unit] = float(re.search(r"exposure level for .*: ([0-9.]+)", text)[1])  # type: ignore[index]
    print(levels)
    assert {unit: level for unit, level in levels.items() if level > most_exposed(unit)} == {}
