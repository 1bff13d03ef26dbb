"""Whatever goes wrong with a command is one line and an exit code; nothing that it reads is overwritten."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware_py.__main__ import main
from firmware_py.parser import PROCESSES
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import KellyError
from kelly_edge.shared.command_line import EXIT_BUG, EXIT_FAULT, EXIT_INTERRUPTED, run_command

ROOT = Path(__file__).resolve().parents[2]
LONE_CLICK_S = 3


def one_line(capfd: pytest.CaptureFixture[str], begins: str = "kelly-edge") -> str:
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith(begins) and line.isprintable() and "Traceback" not in line
    return line


def run(*arguments: str | Path) -> int:
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stopped:  # argparse
        return int(stopped.code or 0)


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        ["bash", "-c", command.replace("KE", f"{sys.executable} -m firmware_py")],
        capture_output=True, text=True, check=False, env=environment, timeout=300,
    )  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "voice.wav"
    path.parent.mkdir()
    t = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 330.0 * t), SAMPLE_RATE_HZ)
    return path


# --- nothing is written onto what is read -------------------------------------------------
@pytest.mark.parametrize("how", ["itself", "relative", "symlink", "hard link", "dotted", "through a link"])
@pytest.mark.parametrize("command", ["voice", "analyse", "play"])
def test_no_command_overwrites_its_recording(
    command: str,
    how: str,
    recording: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, folder = recording.read_bytes(), recording.parent
    out = recording
    if how == "relative":
        monkeypatch.chdir(folder)
        out = Path("voice.wav")
    elif how == "dotted":
        out = folder / ".." / "in" / "voice.wav"
    elif how == "through a link":
        (tmp_path / "door").symlink_to(folder)
        out = tmp_path / "door" / "voice.wav"
    elif how in ("symlink", "hard link"):
        out = tmp_path / "other" / "voice.wav"
        out.parent.mkdir()
        (os.symlink if how == "symlink" else os.link)(recording, out)
    code = run(command, recording, "--out", out.parent if command == "play" else out)
    assert code == EXIT_FAULT and "which this command reads" in one_line(capfd)
    assert recording.read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["voice.wav"]


@pytest.mark.parametrize("read", ["settings", "model"])
def test_neither_settings_nor_models_are_overwritten(
    read: str, recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "mine.yaml"
    settings.write_text("composer: {seed: 3}\n")
    models = Path(shutil.copytree(ROOT / "models" / "shipped", tmp_path / "models"))
    out = settings if read == "settings" else models / "emotion_model.tflite"
    before = out.read_bytes()
    more = ["--config", settings, "--set", f"runtime.models_dir={models}"]
    assert run("analyse", recording, "--out", out, *more) == EXIT_FAULT
    assert "which this command reads" in one_line(capfd)
    assert out.read_bytes() == before


# --- what is heard of nothing --------------------------------------------------------------
def sounds() -> dict[str, tuple[np.ndarray, str]]:
    rng = np.random.default_rng(0)
    n = 6 * SAMPLE_RATE_HZ
    t = np.arange(n) / SAMPLE_RATE_HZ
    click = np.zeros(n)
    click[LONE_CLICK_S * SAMPLE_RATE_HZ] = 0.9
    return {
        "silence": (np.zeros(n), "silence"),
        "noise floor": (1e-4 * rng.normal(size=n), "too quiet"),
        "hiss": (0.05 * rng.normal(size=n), "no music was heard"),
        "hum": (0.05 * np.sin(2 * np.pi * 50.0 * t), "no music was heard"),
        "quiet microphone": (1e-4 * np.sin(2 * np.pi * 330.0 * t), "too quiet"),
        "a click": (click, "heard"),
    }


@pytest.mark.parametrize("kind", sounds())
def test_no_emotion_is_told_of_what_is_no_music(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sound, reason = sounds()[kind]
    path = tmp_path / "in.wav"
    soundfile.write(path, sound, SAMPLE_RATE_HZ, "FLOAT")
    assert run("play", path, "--out", tmp_path / "out", "--json") == 0
    told = capfd.readouterr()
    summary = json.loads(told.out)
    assert summary["heard"] == [] and summary["n_notes"] == 0
    (notice,) = summary["notices"]
    assert reason in notice and "in.wav" in notice
    assert told.err.strip() == f"kelly-edge: {notice}"


# --- one place for any fault ---------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KellyError("wrong (here); do that"), EXIT_FAULT, "wrong (here); do that"),
        (OSError(28, "No space left on device", "/x/y"), EXIT_FAULT, "No space left on device (/x/y)"),
        (PermissionError(13, "Permission denied", "a\nb"), EXIT_FAULT, "a\\nb"),
        (MemoryError(), EXIT_FAULT, "not enough memory"),
        (ModuleNotFoundError("No module named 'x'", name="x"), EXIT_FAULT, "x is not installed"),
        (KeyError("kind"), EXIT_BUG, "a fault of the program: KeyError: 'kind'"),
        (ValueError("two\nlines"), EXIT_BUG, "two lines"),
        (RecursionError("x" * 10_000), EXIT_BUG, "RecursionError"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "interrupted"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), EXIT_BUG, "UnicodeDecodeError"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_any_fault_is_one_line_and_a_code(
    error: BaseException, code: int, text: str, debug: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise error

    assert run_command("program", work, (KellyError,), debug) == code
    lines = capfd.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("program: ") and text in lines[-1]
    assert (lines[0].startswith("Traceback") and len(lines) > 1) if debug else len(lines) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "--seconds", "0"],
        ["bench", "--seconds", "-1"],
        ["bench", "--seconds", "nan"],
        ["learn", "valence", "--seconds", "inf"],
        ["learn", "--forget"],
        ["learn", "kazoo"],
        ["play"],
        ["play", "x.wav", "--out", ""],
        ["play", "x.wav", "--out", "o", "--seed", "x"],
        ["play", "x.wav", "--out", "o", "--seed", "-1"],
        ["play", "x.wav", "--out", "~nobody-of-that-name/o"],
        ["report", "no-such-folder"],
        ["check", "no-such-file"],
        ["run", "--json"],
        ["safe", "--json"],
        *([name, "--json"] for name in PROCESSES),
        ["a\x1b[31mb"],
        [],
    ],
    ids=" ".join,
)
def test_bad_arguments_are_one_line(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == EXIT_FAULT
    one_line(capfd)


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", "null", "3", '{"kind": "note"}', '{"kind": "emotion", "time_s": "x"}', "{", "[" * 9_000],
)  # fmt: skip
def test_a_line_that_is_no_entry_of_a_log_is_named(
    line: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "session.jsonl").write_text('{"kind": "session", "schema": 2}\n' + line + "\n")
    # The rest of the session is drawn.
    assert run("report", tmp_path) == 0
    assert "1 entries of" in (said := capfd.readouterr().err) and "damaged" in said
    assert said.count("\n") == 1
    assert (tmp_path / "session.png").exists()


@pytest.mark.parametrize("command", ["check", "check --json", "doctor --json", "learn --json", "--version"])
def test_a_full_disk_under_the_output_is_one_line(command: str) -> None:
    done = shell(f"KE {command} > /dev/full")
    assert done.returncode == EXIT_FAULT, done.stderr
    assert "No space left on device" in done.stderr and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_and_a_closed_output_are_no_traceback() -> None:
    done = shell("set -o pipefail; KE check | head -c 1 > /dev/null")
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(f"KE check {closed}")
        assert done.returncode in (0, EXIT_FAULT) and done.stderr == ""


def test_a_result_is_not_written_into_a_closed_output(recording: Path, tmp_path: Path) -> None:
    """The first file opened would get its number, and what is printed would go there."""
    before = recording.read_bytes()
    done = shell(f"KE voice {recording} --out {tmp_path}/a.wav >&- 2>&-")
    assert done.returncode == 0
    assert recording.read_bytes() == before
    assert soundfile.info(tmp_path / "a.wav").frames == 2 * SAMPLE_RATE_HZ


def test_the_demo_plays_without_matplotlib_and_says_what_it_leaves_out(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A plain ``pip install kelly-edge`` has none."""
    import firmware_py.commands.demo

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(firmware_py.commands.demo, "demo_recording", lambda: recording)
    assert run("demo", "--out", tmp_path / "out", "--json") == 0
    said = capfd.readouterr()
    assert "no session.png, for matplotlib is missing: pip install kelly-edge[report]" in said.err
    files = {Path(name).name for name in json.loads(said.out)["files"]}
    assert {"performance.mid", "voice.wav", "session.jsonl"} <= files
    assert files == {path.name for path in (tmp_path / "out").iterdir()}
    assert "session.png" not in files
    assert run("report", tmp_path / "out") == EXIT_FAULT
    assert "kelly-edge[report]" in one_line(capfd)


def test_the_version_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    name, version = capfd.readouterr().out.split()
    assert name == "kelly-edge" and version[0].isdigit()


def test_the_help_counts_the_processes(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert f"start the {len(PROCESSES)} processes" in " ".join(capfd.readouterr().out.split())


def test_a_tilde_in_an_argument_is_the_home_folder(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run("voice", "~/in/voice.wav", "--out=~/a.wav") == 0
    assert (tmp_path / "a.wav").is_file() and not (tmp_path / "~").exists()
