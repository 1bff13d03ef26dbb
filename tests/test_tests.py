"""The tests themselves: each can fail, and each reason to skip says what would run it. Then the Makefile: it
installs what builds the emulated box."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from box_build import HOST_PROGRAMS
from skips import SKIPS, kind_of_skip

TESTS: Final = Path(__file__).parent
FILES: Final = sorted(TESTS.rglob("*.py"))
CHECKS: Final = {"raises", "warns", "fail", "deprecated_call"}
"""Of pytest: what fails where something does not happen."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(call: ast.Call) -> str:
    """The last part of the name that is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def can_fail(node: ast.stmt | ast.expr) -> bool:
    """An assertion that is not true whatever happens, or a check of pytest's or numpy's."""
    if isinstance(node, ast.Assert):
        # A constant, or a tuple (of a condition and what was meant as its message), is always true.
        return not isinstance(node.test, ast.Constant | ast.Tuple)
    return isinstance(node, ast.Call) and (name_of(node) in CHECKS or name_of(node).startswith("assert_"))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def without_a_check(sources: dict[str, str]) -> list[str]:
    """``file: function`` of each test in which, and in whose helpers, nothing can fail."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    calls: dict[str, set[str]] = {}
    failing: set[str] = set()
    for tree in trees.values():
        for function in functions(tree):
            if function.name.startswith("test_"):
                continue
            nodes = list(ast.walk(function))
            calls.setdefault(function.name, set()).update(
                name_of(n) for n in nodes if isinstance(n, ast.Call)
            )
            if any(can_fail(node) for node in nodes):
                failing.add(function.name)
    # Helpers by name, and helpers of helpers.
    while more := {name for name, called in calls.items() if name not in failing and called & failing}:
        failing |= more
    found = []
    for file, tree in trees.items():
        for function in functions(tree):
            if function.name.startswith("test_"):
                nodes = list(ast.walk(function))
                called = {name_of(node) for node in nodes if isinstance(node, ast.Call)}
                if not called & failing and not any(can_fail(node) for node in nodes):
                    found.append(f"{file}: {function.name}")
    return found


def test_every_test_can_fail() -> None:
    sources = {str(path.relative_to(TESTS)): path.read_text() for path in FILES}
    assert without_a_check(sources) == []


@pytest.mark.parametrize(
    ("body", "is_found"),
    [
        ("run()", True),
        ("assert True", True),
        ("assert (run(), 'it runs')", True),
        ("for _ in range(3): run()", True),
        ("assert run()", False),
        ("with pytest.raises(OSError): run()", False),
        ("np.testing.assert_array_equal(run(), 1)", False),
        ("checked()", False),
        ("through()", False),
    ],
)
def test_a_test_that_asserts_nothing_is_found(body: str, is_found: bool) -> None:
    helpers = "def checked():\n  assert run()\ndef through():\n  checked()\ndef run():\n  pass\n"
    source = f"{helpers}def test_it():\n  {body}\n"
    assert without_a_check({"a.py": source}) == (["a.py: test_it"] if is_found else [])


def reasons(tree: ast.Module) -> Iterator[str]:
    """The texts given to ``skip``, ``skipif`` and ``importorskip``, with X for what is computed."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or name_of(node) not in {"skip", "skipif", "importorskip"}:
            continue
        given = [k.value for k in node.keywords if k.arg == "reason"]
        given += node.args[:1] if name_of(node) == "skip" else []
        for text in given:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value
            elif isinstance(text, ast.JoinedStr):
                yield "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in text.values)


def test_every_reason_to_skip_says_what_would_run_it() -> None:
    found = [reason for path in FILES for reason in reasons(ast.parse(path.read_text()))]
    assert len(found) > 30
    assert [reason for reason in found if kind_of_skip(reason) is SKIPS[-1]] == []


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_what_did_not_run_is_told_alike_in_one_process_and_side_by_side(tmp_path: Path, jobs: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "from skips import Left\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'faults: of the live box')\n"
        "    config.pluginmanager.register(Left(False), 'what did not run')\n"
    )
    (tmp_path / "test_module.py").write_text("import pytest\npytest.importorskip('torch_of_no_version')\n")
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_one(): pass\n"
        "def test_two(): pytest.skip('no sound font')\n"
        "@pytest.mark.faults\n"
        "def test_three(): pass\n"
    )
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            jobs,
            "-m",
            "not faults",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        env={"PYTHONPATH": str(TESTS / "shared")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    said = [line for line in run.stdout.splitlines() if "skipped: " in line or "left out: " in line]
    assert sorted(said) == [
        "1 left out: marked faults; make faults",
        "1 skipped: sound fonts; make test-workshop",
        "1 skipped: the workshop's packages; make test-workshop",
    ]


ESSENTIAL: Final = {"apt-cache", "apt-get", "dpkg", "dpkg-deb", "sh", "tar"}
"""In every Debian."""


def programs_run(folder: Path) -> set[str]:
    """The first words of the calls of ``run`` in ``folder``."""
    calls = [
        node
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run"
    ]
    firsts = [call.args[0] for call in calls if call.args]
    return {node.value for node in firsts if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_each_program_that_builds_the_appliance_is_asked_for_and_installed() -> None:
    asked = {program for programs in HOST_PROGRAMS.values() for program in programs.split()}
    found = programs_run(TESTS / "appliance") - ESSENTIAL
    assert len(found) > 5
    assert found - asked == set()
    makefile = (TESTS.parent / "Makefile").read_text().replace("\\\n", " ")
    installed = set(re.findall(r"^APPLIANCE_PACKAGES := (.*)", makefile, re.MULTILINE)[0].split())
    assert set(HOST_PROGRAMS) - installed == set()
