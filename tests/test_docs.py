"""The documents name what is there: files, commands, targets and settings."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from firmware_py.devices.files.config_file import load_settings
from firmware_py.parser import parser_of_commands

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
COMMANDS = next(a.choices for a in parser_of_commands()._actions if isinstance(a.choices, dict))


def found(pattern: str) -> list[tuple[str, str]]:
    """Page and what ``pattern`` captures in its code (between backticks or in a fence)."""
    rows = []
    for page in PAGES:
        text = page.read_text()
        code = [*re.findall(r"^```\n(.*?)^```", text, re.M | re.S), *re.findall(r"`([^`\n]+)`", text)]
        rows += [(page.name, match) for part in code for match in re.findall(pattern, part)]
    return sorted(set(rows))


def test_the_pages_hold_what_is_looked_for() -> None:
    assert len(found(r"\bmake ([a-z-]+)")) > 10
    assert len(found(r"\bkelly-edge ([a-z]+)")) > 15
    assert len(found(r"--set[ =](\S+)")) > 3


@pytest.mark.parametrize(("page", "target"), found(r"^make ([a-z-]+)"))
def test_a_make_target_exists(page: str, target: str) -> None:
    assert target in TARGETS


@pytest.mark.parametrize(("page", "command"), found(r"(?:^|/|\n)kelly-edge ([a-z]+)"))
def test_a_command_exists(page: str, command: str) -> None:
    assert command in COMMANDS


@pytest.mark.parametrize(("page", "line"), found(r"(.*--set[ =]'?[a-z].*)"))
def test_the_settings_of_an_example_are_taken(page: str, line: str) -> None:
    overrides = re.findall(r"--set[ =]('[^']+'|[a-z_.]+=[^\s`]+)", line)
    # A word in capitals stands for a value of the reader's; brackets, for what may be left out.
    texts = [shlex.split(o)[0].replace("FILE", "file") for o in overrides]
    texts = [t for t in texts if "NAME" not in t and "mine" not in t]
    load_settings(None, [t.rstrip("]") if "[" not in t else t for t in texts])
    assert overrides


@pytest.mark.parametrize(("page", "n_places"), [("architecture.md", 50), ("contributing.md", 20)])
def test_every_place_that_a_page_names_exists(page: str, n_places: int) -> None:
    text = (ROOT / "docs" / page).read_text()
    places = re.findall(
        r"`((?:kelly_edge|firmware_py|models|deploy|systemd|tests)[\w/]*(?:\.py|\.yaml|/))`", text
    )
    assert len(places) > n_places
    assert [place for place in places if "NAME" not in place and not (ROOT / place).exists()] == []


@pytest.mark.parametrize("package", ["kelly_edge", "firmware_py"])
def test_the_layers_of_the_architecture_are_those_of_the_contracts(package: str) -> None:
    [line] = re.findall(rf"^{package}: +(.*)$", (ROOT / "docs/architecture.md").read_text(), re.M)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [c["layers"] for c in contracts if c.get("containers") == [package]]
    told = [{word.strip() for word in layer.split("|")} for layer in line.split("─▶")]
    assert told == [{word.strip() for word in layer.split("|")} for layer in layers]


def test_the_glossary_tells_a_word_once_in_each_sense() -> None:
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/glossary.md").read_text(), re.M)[2:]
    assert len(words) > 50
    assert sorted(words) == sorted(set(words))
