"""A signing key, a bundle of the stand-in, a box that is only a folder; and three that boot."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deploy_box import AT_ONCE, install
from deploy_courier import Courier
from deploy_programs import FakePrograms
from deploy_standin import build_standin, signing_key
from nspawn import Machine, absent, base_tree, inventory, machine_of, slowness

from deploy.box import store, switch
from deploy.box.layout import Layout
from deploy.bundle import Bundle


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power of this machine: waiting for its disk would only take time."""
    monkeypatch.setattr(store, "sync", lambda: None)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is built once."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    return tmp_path_factory.mktemp("deploy")


@pytest.fixture(scope="session")
def key(work: Path) -> Path:
    """The key the boxes trust."""
    return signing_key(work)


@pytest.fixture(scope="session")
def bundle(work: Path, key: Path) -> Bundle:
    """A good release with counter 5."""
    return build_standin(work, key, counter=5)


@pytest.fixture(scope="session")
def newer(work: Path, key: Path) -> Bundle:
    """A good release with counter 6: only its code differs."""
    return build_standin(work, key, counter=6, note="newer")


@pytest.fixture
def programs(box: Layout) -> FakePrograms:
    """What runs on the box that is only a folder."""
    return FakePrograms(box)


@pytest.fixture
def both(box: Layout, bundle: Bundle, newer: Bundle, programs: FakePrograms) -> tuple[str, str]:
    """Two good releases with counters 5 and 6 that share the library; the second runs."""
    names = []
    for one in (bundle, newer):
        names.append(install(box, one))
        switch.switch(box, programs, names[-1], AT_ONCE)
    return names[0], names[1]


@pytest.fixture
def box(tmp_path: Path, key: Path) -> Layout:
    """A provisioned box, in a folder."""
    layout = Layout(tmp_path / "box")
    layout.home.mkdir(parents=True)
    layout.allowed_signers.parent.mkdir(parents=True)
    shutil.copyfile(f"{key}.allowed_signers", layout.allowed_signers)
    layout.config.write_text("audio: {}\n")
    return layout


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Bundle], Path]:
    """A copy of a bundle that a test may damage."""

    def copy(original: Bundle) -> Path:
        return Path(shutil.copytree(original.folder, tmp_path / "copy" / original.folder.name))

    return copy


READY_S = 120.0
"""A box of its own has 35 s; here three share a machine with whatever else runs on it."""
STEADY_S = 3.0
"""A box of its own has 30 s."""


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    """Three boxes, switched on."""
    if "KELLY_DEPLOY_TREE" not in os.environ:
        pytest.skip("booting boxes takes minutes; `make deploy-test` does it")
    if why := absent():
        pytest.skip(why)
    patience = {"ready_s": READY_S * slowness(), "steady_s": STEADY_S, "look_every_s": 0.5}
    made = [Machine(tmp_path_factory.mktemp(f"box{number}"), number) for number in range(3)]
    try:
        for machine in made:
            machine.make()
            settings = machine.root / "etc/kelly-edge"
            settings.mkdir()
            (settings / "health.json").write_text(json.dumps(patience))
            machine.boot()
        yield made
    finally:
        for machine in made:
            machine.close()


@pytest.fixture(scope="session")
def courier(work: Path, key: Path, machines: list[Machine]) -> Courier:
    """With every box provisioned, all at once."""
    hosts = inventory(machines, work / "hosts.yaml")
    courier = Courier(work, key, hosts, machine_of(base_tree()))
    code, text = courier.run("provision", "@ward")
    assert code == 0, text
    return courier
