"""Completion, done by the shells themselves: the script is sourced, and a line is completed as with Tab."""

import argparse
import shutil
import subprocess
from pathlib import Path

import pytest

from firmware_py.__main__ import main
from firmware_py.commands.completion import script
from firmware_py.commands.examples import example_names
from firmware_py.parser import EXAMPLES, parser_of_commands
from firmware_py.settings import rules

bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
COMPLETE = """
source "$1"; shift
function_name=$(complete -p kelly-edge | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
"$function_name" kelly-edge "${@: -1}" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "kelly-edge.bash"
    path.write_text(script(parser_of_commands(), "bash"))
    return path


def completed(path: Path, folder: Path, *words: str) -> list[str]:
    """What bash offers for the last of ``words``."""
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", path, "kelly-edge", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    # bash has no line to change here.
    assert "not currently executing" not in done.stderr.replace("compopt: not currently executing", "")
    return [line for line in done.stdout.splitlines() if line]


@bash
def test_commands_are_offered_and_no_internal_one(bash_script: Path, tmp_path: Path) -> None:
    offered = completed(bash_script, tmp_path, "")
    assert set(EXAMPLES) <= set(offered)
    assert not {"audio", "dsp", "guardian", "safe", "compile", "silence"} & set(offered)
    assert completed(bash_script, tmp_path, "re") == ["rehearse", "resume", "report", "replay"]


@bash
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_options_of_each_command_are_offered(bash_script: Path, tmp_path: Path, name: str) -> None:
    commands = next(
        a for a in parser_of_commands()._actions if isinstance(a, argparse._SubParsersAction)
    ).choices
    options = {option for action in commands[name]._actions for option in action.option_strings}
    shown = options - {"--debug"}
    assert shown <= set(completed(bash_script, tmp_path, name, "-")), name


@bash
def test_files_and_folders_are_offered_where_a_path_is_meant(bash_script: Path, tmp_path: Path) -> None:
    for name in ("song one.wav", "song-two.wav", "other.txt"):
        (tmp_path / name).touch()
    (tmp_path / "songs").mkdir()
    for words in (("play",), ("play", "x.wav", "--config"), ("play", "x.wav", "--out"), ("check",)):
        assert sorted(completed(bash_script, tmp_path, *words, "song")) == [
            "song one.wav",
            "song-two.wav",
            "songs",
        ], words
    assert "song-two.wav" not in completed(bash_script, tmp_path, "play", "x.wav", "--seed", "song")


@bash
def test_names_of_examples_choices_and_settings_are_offered(bash_script: Path, tmp_path: Path) -> None:
    assert completed(bash_script, tmp_path, "init", "here", "--example", "") == example_names()
    assert completed(bash_script, tmp_path, "init", "here", "--example", "pi") == [
        name for name in example_names() if name.startswith("pi")
    ]
    assert completed(bash_script, tmp_path, "gadget", "") == ["up", "down", "status"]
    assert completed(bash_script, tmp_path, "completion", "b") == ["bash"]
    keys = [f"{section}.{name}=" for section, name, *_ in rules()]
    assert completed(bash_script, tmp_path, "play", "x.wav", "--set", "") == keys
    assert completed(bash_script, tmp_path, "run", "--set", "voice.oct") == ["voice.octave="]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_is_one_that_the_shell_reads(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert "quiet-room" in text
    assert "voice.octave=" in text
    if shutil.which(shell):
        path = tmp_path / "script"
        path.write_text(text)
        subprocess.run([shell, "-n", path], check=True)


def test_another_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "fish"])
    assert "fish" in capsys.readouterr().err
