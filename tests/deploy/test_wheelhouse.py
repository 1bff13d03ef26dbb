"""What a box is given: what the lock vouches for, and everything that runs there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.__main__ import DEFAULT_PYTHON
from deploy.errors import DeployError
from deploy.interpreter import SSL, Interpreter, here
from deploy.inventory import find_hosts
from deploy.layers import is_kept
from deploy.phrase import phrase_wav
from deploy.target import TARGETS, Target, find_target
from deploy.wheelhouse import Pin, build_tools, read_lock, wheelhouse

ROOT = Path(__file__).resolve().parents[2]
LOADED = """
import sys
from importlib.metadata import packages_distributions
from packaging.utils import canonicalize_name
given = {"kelly-edge", *sys.argv[1:]}
for module, packages in packages_distributions().items():
    if not given.intersection(map(canonicalize_name, packages)):
        sys.modules[module] = None
import firmware_py.__main__, firmware_py.wiring.live, firmware_py.commands.run
from firmware_py.wiring.offline import Offline, open_models
from firmware_py.settings import Settings
Offline.warm_up(Settings(), open_models(Settings()))
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None) or "")
"""
"""With a box's packages alone: numba loads scipy where it can, and scipy parts of numpy that no box has."""


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_every_package_of_the_box_is_locked_by_hash(target: Target) -> None:
    pins = read_lock(ROOT / target.lock)
    for name in ("numpy", "onnxruntime", "llvmlite", *target.source_only, *target.from_debian):
        assert pins[name].hashes, name
    assert target.markers["platform_machine"] == "aarch64"


def test_a_missing_lock_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"cannot read .*; run `make lock`"):
        read_lock(tmp_path / "requirements.lock")


def test_a_python_no_box_has_is_refused() -> None:
    with pytest.raises(DeployError, match=r"no box has Python 3\.12; known are 3\.13, 3\.11"):
        find_target("3.12")


def test_another_process_compiles_to_the_same_bytes() -> None:
    sources = {"a.py": b"x = 'text'\n", "broken.py": b"def\n", "package/b.py": b"import a\nprint(a.x)\n"}
    apart = Interpreter((sys.executable,), "3.11.0")
    assert apart != here()
    assert apart.compile_all(sources) == here().compile_all(sources)
    assert sorted(here().compile_all(sources)) == ["a.py", "package/b.py"]
    assert apart.tag == "cpython-311"


def test_no_module_that_the_instrument_loads_is_left_out_of_the_bundle() -> None:
    words = [sys.executable, "-c", LOADED, *read_lock(ROOT / find_target("3.13").lock)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    site = "/site-packages/"
    loaded = {line.partition(site)[2] for line in done.stdout.splitlines() if site in line}
    assert len(loaded) > 300
    assert sorted(path for path in loaded if not is_kept(path)) == []


def test_the_phrase_is_five_seconds_of_sound() -> None:
    content = phrase_wav()
    assert len(content) == 44 + 2 * 230_400
    assert max(content[44::2]) > 0


def test_hosts_are_named_by_address_name_or_group(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(
        "hosts:\n  a: {address: 10.0.0.1, user: pi}\n  b: {address: b.local, port: 2222}\n"
        "groups: {ward: [a, b]}\n"
    )
    assert [h.name for h in find_hosts(["@ward", "a"], path)] == ["a", "b"]
    assert find_hosts(["b"], path)[0].port == 2222
    assert find_hosts(["pi@10.0.0.9:23"], path)[0].user == "pi"


@pytest.mark.parametrize(
    ("text", "words", "why"),
    [
        ("hosts: {a: {address: x}}", ["@wrad"], "@wrad is no group"),
        ("hosts: {ward-1: {address: x}}", ["ward-2"], "did you mean ward-1"),
        ("hosts: {a: {address: x, password: y}}", ["a"], "password is unknown"),
        ("hosts: {a: {address: x, port: no}}", ["a"], "port is no"),
        ("hosts: {a: {user: x}}", ["a"], "a has no address"),
        ("hosts: [", ["a"], "not YAML"),
        ("groups: {g: [z]}", ["@g"], "names z, which is no host"),
    ],
)
def test_a_wrong_inventory_is_one_clear_line(tmp_path: Path, text: str, words: list[str], why: str) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(text)
    with pytest.raises(DeployError, match=why) as caught:
        find_hosts(words, path)
    assert "\n" not in str(caught.value)


def test_the_default_target_is_that_of_todays_raspberry_pi_os() -> None:
    assert next(iter(TARGETS)) == DEFAULT_PYTHON == "3.13"
    assert find_target(DEFAULT_PYTHON).suite == "trixie"


def test_the_box_is_given_what_drives_its_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is asked for where nothing is fetched: the project's own requirements, with the extra ``box``."""
    asked: list[str] = []

    class Asked(Exception):
        pass

    def ask(folder: Path, pin: Pin, target: Target) -> None:
        asked.append(pin.name)

    def fetch(pins: list[Pin], folder: Path, target: Target) -> None:
        raise Asked

    monkeypatch.setattr("deploy.wheelhouse._find", ask)
    monkeypatch.setattr("deploy.wheelhouse._fetch", fetch)
    for target in TARGETS.values():
        asked.clear()
        with pytest.raises(Asked):
            wheelhouse(ROOT, target, here(), tmp_path, 0)
        drives = {"gpiozero", "lgpio", "pyalsaaudio", "python-rtmidi", "systemd-python"} - set(
            target.from_debian
        )
        assert {"numpy", "onnxruntime", *drives} <= set(asked)


def test_everything_that_signs_and_sends_is_locked_by_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = read_lock(ROOT / "requirements-deploy.lock")
    for text in project["optional-dependencies"]["deploy"]:
        requirement = Requirement(text)
        pin = pins[canonicalize_name(requirement.name)]
        assert pin.hashes and requirement.specifier.contains(pin.version), text
    # What pyinfra brings: it talks to the boxes with these.
    assert all(pins[name].hashes for name in ("paramiko", "gevent", "cryptography", "bcrypt", "pynacl"))
    assert all(pin.hashes for pin in pins.values())
    assert "numpy" not in pins, "the courier needs nothing of the instrument"
    documented = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    assert "pip install --require-hashes -r requirements-deploy.lock" in documented
    assert "-r requirements-deploy.lock" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_what_compiles_for_the_box_is_pinned_by_hash_and_not_taken_from_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A new venv of Python 3.13, which a laptop with trixie makes, has no setuptools."""
    ran: list[list[str]] = []

    def run(words: list[str | Path], remedy: str) -> bytes:
        ran.append([str(word) for word in words])
        listing = Path(ran[-1][ran[-1].index("-r") + 1]).read_text()
        assert re.fullmatch(r"setuptools==[\d.]+ --hash=sha256:[0-9a-f]{64}", listing)
        Path(ran[-1][ran[-1].index("--target") + 1]).mkdir()
        return b""

    monkeypatch.setattr("deploy.wheelhouse.run", run)
    folder = build_tools(tmp_path)
    assert folder.is_dir() and "--require-hashes" in ran[0]
    assert build_tools(tmp_path) == folder and len(ran) == 1, "it is fetched once"


def test_the_python_that_compiles_is_known_for_every_release_of_debian() -> None:
    assert set(SSL) == {target.suite for target in TARGETS.values()}
