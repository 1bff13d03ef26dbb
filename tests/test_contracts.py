"""Every import contract of pyproject.toml fails on a wrong import, written into a copy of the tree."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
SHARED_BY_THE_INSTRUMENT = "Of what is shared the instrument knows how text is printed and where it stood"

WRONG = (
    ("kelly_edge.signal.fade", "firmware_py.ports", "The workshop uses the box"),
    ("firmware_py.ports", "models.precision", "The workshop uses the box"),
    ("deploy.phrase", "kelly_edge.units", "The courier knows neither"),
    ("deploy.phrase", "firmware_py.board.map", "The courier knows neither"),
    ("deploy.phrase", "models.precision", "The courier knows neither"),
    ("models.precision", "deploy.phrase", "Nobody knows the courier"),
    ("firmware_py.compiled", "deploy.phrase", "Nobody knows the courier"),
    ("deploy.box.limits", "packaging.version", "What runs on a box is Python's own library"),
    ("deploy.box.limits", "kelly_edge.shared.yaml_file", "What runs on a box is Python's own library"),
    ("kelly_edge.units", "kelly_edge.signal.fade", "The instrument's layers"),
    ("kelly_edge.music.target", "kelly_edge.timbre.voice", "The instrument's layers"),
    ("firmware_py.processes.contacts", "firmware_py.devices.sound.alsa", "The box's layers"),
    ("firmware_py.devices.midi.watched", "firmware_py.processes.contacts", "The box's layers"),
    ("firmware_py.processes.contacts", "firmware_py.runtimes.tflite", "The box's layers"),
    ("firmware_py.board.channels", "firmware_py.ports.learned", "The box's layers"),
    ("firmware_py.wiring.pacing", "firmware_py.commands.common", "The box's layers"),
    ("firmware_py.panel_lines", "firmware_py.board.map", "The box's layers"),
    ("kelly_edge.config", "firmware_py.panel_lines", "The workshop uses the box"),
    ("kelly_edge.signal.fade", "time", "The instrument knows no device"),
    ("kelly_edge.signal.fade", "kelly_edge.shared.yaml_file", SHARED_BY_THE_INSTRUMENT),
    ("firmware_py.processes.contacts", "threading", "Processes know ports"),
    ("firmware_py.processes.audio", "firmware_py.processes.midi", "Processes do not know each other"),
    ("firmware_py.devices.sound.absent_card", "kelly_edge.timbre.voice", "audio and the sound cards"),
    ("firmware_py.processes.panic_watch", "kelly_edge.music.envelope", "audio and the sound cards"),
)
"""A module, what it must not import, and how the contract that forbids it begins."""
IN_NO_LAYER = {
    "kelly_edge/homeless.py": "The instrument's layers",
    "firmware_py/homeless.py": "The box's layers",
}


def path_of(module: str, root: Path) -> Path:
    """The file of ``module``."""
    path = root / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def copied(folder: Path) -> Path:
    """A copy of the code and its contracts."""
    for package in LINTER["root_packages"]:
        for path in (ROOT / package).rglob("*.py"):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    return folder


def broken_in(folder: Path, wrong: dict[str, list[str]]) -> dict[str, list[str]]:
    """What ``broken_contracts.py`` finds in ``folder``."""
    program = ROOT / "tests/shared/broken_contracts.py"
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        input=json.dumps(wrong),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The contracts that each wrong import breaks."""
    folder, wrong = copied(tmp_path_factory.mktemp("tree")), defaultdict(list)
    for module, imported, _ in WRONG:
        wrong[module].append(imported)
        with path_of(module, folder).open("a") as file:
            file.write(f"\nimport {imported}\n")
    return broken_in(folder, wrong)


@pytest.fixture(scope="module")
def broken_by_homeless(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The contracts that modules in no layer break."""
    folder = copied(tmp_path_factory.mktemp("tree"))
    for name in IN_NO_LAYER:
        (folder / name).write_text("")
    return broken_in(folder, {})[""]


def test_the_tree_as_it_is_keeps_every_contract(broken: dict[str, list[str]]) -> None:
    assert broken[""] == []


@pytest.mark.parametrize(("module", "imported", "contract"), WRONG)
def test_a_wrong_import_breaks_its_contract(
    broken: dict[str, list[str]], module: str, imported: str, contract: str
) -> None:
    assert [name for name in broken[f"{module} {imported}"] if name.startswith(contract)]


@pytest.mark.parametrize("contract", IN_NO_LAYER.values())
def test_a_module_in_no_layer_breaks_the_layers(broken_by_homeless: list[str], contract: str) -> None:
    assert contract in broken_by_homeless


def test_every_contract_has_a_wrong_import() -> None:
    starts = tuple(contract for _, _, contract in WRONG)
    assert [c["name"] for c in LINTER["contracts"] if not c["name"].startswith(starts)] == []


def test_the_contract_about_what_is_shared_holds_the_whole_instrument() -> None:
    [contract] = [c for c in LINTER["contracts"] if c["name"] == SHARED_BY_THE_INSTRUMENT]
    found = {
        f"kelly_edge.{path.stem}"
        for path in (ROOT / "kelly_edge").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert set(contract["source_modules"]) == found - {"kelly_edge.shared", "kelly_edge.__init__"}
