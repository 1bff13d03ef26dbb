"""The command line: results where they belong; one line and exit 2 for every fault, nothing half-written."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from firmware_py.__main__ import main
from firmware_py.commands import mix
from firmware_py.commands.demo import demo_recording
from firmware_py.commands.examples import example_names, example_text
from firmware_py.commands.mix import font
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.config_file import settings_text
from firmware_py.parser import EXAMPLES, PROCESSES, parser_of_commands
from firmware_py.runtimes import artefacts
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.latency import algorithmic_latency, total_samples
from kelly_edge.shared.command_line import EXIT_FAULT
from kelly_edge.signal.limiter import Limiter
from kelly_edge.timbre.voice import Voice
from kelly_edge.units import db_to_gain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the demo, across its turn."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    samples = read_audio(demo_recording()).samples[32 * SAMPLE_RATE_HZ : 44 * SAMPLE_RATE_HZ]
    soundfile.write(path, samples, SAMPLE_RATE_HZ)
    return path


def run(*arguments: str | Path) -> int:
    return main([str(a) for a in arguments])


THREADS = """
import os
from firmware_py.__main__ import main
assert main(["check"]) == 0
print(len(os.listdir("/proc/self/task")))
"""


def test_no_pool_of_threads_works_beside_the_command() -> None:
    env = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "1"


def test_play_writes_performance_voice_and_log_the_same_every_time(clip: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert run("play", clip, "--out", tmp_path / folder, "--seed", "3", "--json") == 0
    names = [*(["mix.wav"] if font() else []), "performance.mid", "session.jsonl", "session.png", "voice.wav"]
    assert sorted(p.name for p in (tmp_path / "one").iterdir()) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    sounding: set[int] = set()
    for message in mido.MidiFile(tmp_path / "one" / "performance.mid"):
        if message.type == "note_on":
            assert message.note not in sounding
            sounding.add(message.note)
        elif message.type == "note_off":
            sounding.remove(message.note)
    assert not sounding
    voice, rate_hz = soundfile.read(tmp_path / "one" / "voice.wav")
    assert rate_hz == SAMPLE_RATE_HZ and np.max(np.abs(voice)) <= db_to_gain(-1.0)
    kinds = {
        json.loads(line)["kind"] for line in (tmp_path / "one" / "session.jsonl").read_text().splitlines()
    }
    told = {"session", "emotion", "note", "knobs", "sound", "plan", "counters", "bar"}
    assert kinds == told | {"composer", "turns"}


def test_analyse_writes_the_documented_arrays(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "features.npz"
    assert run("analyse", clip, "--out", out) == 0
    with np.load(out) as arrays:
        n = len(arrays["time_s"])
        assert n == 12 * SAMPLE_RATE_HZ // 256
        for name in ("f0_hz", "confidence", "loudness_db", "valence", "arousal", "presence"):
            assert arrays[name].shape == (n,) and np.all(np.isfinite(arrays[name]))
        # When the pitch held lies in the past, by no more than the longest window.
        late_s = arrays["time_s"] - arrays["f0_time_s"]
        assert late_s.min() > 0.0 and late_s.max() < 0.05
        assert arrays["features"].shape == (n, 128)
        assert arrays["emotion"].shape == (n, 64)
        # Held between the steps of the network: the rows change only where the step does.
        changes = np.any(np.diff(arrays["emotion"], axis=0) != 0, axis=1)
        assert changes.any() and not np.any(changes & (np.diff(arrays["emotion_step"]) == 0))


def test_voice_writes_one_file(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "voice.wav"
    assert run("voice", clip, "--voice", "flute", "--out", out) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["voice.wav"]


def test_the_dry_sound_arrives_exactly_as_late_as_check_says(tmp_path: Path) -> None:
    click = np.zeros(SAMPLE_RATE_HZ, np.float32)
    click[20_000] = 0.5
    soundfile.write(tmp_path / "click.wav", click, SAMPLE_RATE_HZ, "FLOAT")
    out = tmp_path / "out.wav"
    assert run("voice", tmp_path / "click.wav", "--out", out, "--set", "voice.dry_wet=0") == 0
    heard, _ = soundfile.read(out)
    stated = total_samples(algorithmic_latency(Voice.delay_samples))
    assert int(np.argmax(np.abs(heard))) - 20_000 == stated


def test_report_draws_what_play_wrote(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("play", clip, "--out", tmp_path, "--no-picture")
    assert not (tmp_path / "session.png").exists()
    assert run("report", tmp_path) == 0
    assert (tmp_path / "session.png").stat().st_size > 10_000


def test_check_finds_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["faults"] == []
    assert {row["model"] for row in found["models"]} >= {"emotion_model", "transformer_model", "ddsp_flute"}
    assert found["latency"][-1]["samples"] > 0


def test_check_says_which_model_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--set", "voice.names=[flute, kazoo]", "--json") == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert "ddsp_kazoo" in fault


def refuse(capfd: pytest.CaptureFixture[str], folder: Path, *arguments: str | Path) -> str:
    """Run a command that must fail; its one line. Nothing may have appeared in ``folder``."""
    before = sorted(folder.rglob("*"))
    assert run(*arguments) == 2
    assert sorted(folder.rglob("*")) == before
    captured = capfd.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("kelly-edge: "), lines
    return lines[0]


@pytest.mark.parametrize("command", ["play", "analyse", "voice"])
def test_bad_recordings_are_refused(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.wav").write_text("not sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), SAMPLE_RATE_HZ)
    for name in ("text.wav", "empty.wav", "missing.wav", "."):
        line = refuse(capfd, tmp_path, command, tmp_path / name, "--out", tmp_path / "out" / "x")
        assert str(tmp_path) in line


def test_an_output_that_is_a_file_is_refused(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    refuse(capfd, tmp_path, "play", clip, "--out", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_damaged_model_is_refused(clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shipped = Path(artefacts.__file__).parents[2] / "models" / "shipped"
    models = tmp_path / "models"
    shutil.copytree(shipped, models)
    for name in ("emotion_model.tflite", "transformer_model.onnx", "ddsp_flute.tflite"):
        content = (models / name).read_bytes()
        (models / name).write_bytes(content[:-100] + bytes(100))
        line = refuse(
            capfd, tmp_path, "play", clip, "--out", tmp_path / "out", "--set", f"runtime.models_dir={models}"
        )
        assert name in line and "damaged or swapped" in line
        (models / name).write_bytes(content)


def test_faults_of_the_settings_are_all_told(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = run("play", clip, "--out", tmp_path, "--set", "audio.period=99", "--set", "emotion.programm=iso")
    assert code == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 2


def test_the_command_is_installed() -> None:
    script = Path(sys.executable).with_name("kelly-edge")
    if not script.exists():
        pytest.skip("kelly-edge is not installed in this environment")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "music-therapy" in done.stdout


def test_a_mix_holds_the_player_the_answer_and_the_voice(clip: Path, tmp_path: Path) -> None:
    if font() is None:
        pytest.skip("needs fluidsynth and a sound font (apt-get install fluidsynth timgm6mb-soundfont)")
    assert run("play", clip, "--out", tmp_path, "--set", "limiter.ceiling_db=-6") == 0
    mixed, rate_hz = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    voice, _ = soundfile.read(tmp_path / "voice.wav", dtype="float32")
    player = read_audio(clip).samples
    assert rate_hz == SAMPLE_RATE_HZ and len(mixed) >= max(len(voice), len(player))
    assert 0.9 * db_to_gain(-3.0) * np.max(np.abs(player)) < np.max(np.abs(mixed)) <= db_to_gain(-6.0)
    # What is left without the player (the limiter's delay aside) is the answer and the voice.
    n, late = len(player), Limiter.delay_samples
    rest = mixed[late : n + late] - db_to_gain(-3.0) * player
    onsets = [m.time for m in mido.MidiFile(tmp_path / "performance.mid") if m.type == "note_on"]
    assert onsets and np.sqrt(np.mean(rest**2)) > 1e-3


def test_no_mix_is_written_where_it_is_not_wanted_or_cannot_be_rendered(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("play", clip, "--out", tmp_path / "unwanted", "--no-mix") == 0
    monkeypatch.setattr(mix, "FONTS", ())
    assert run("play", clip, "--out", tmp_path / "no font") == 0
    for folder in ("unwanted", "no font"):
        assert not (tmp_path / folder / "mix.wav").exists()
        assert (tmp_path / folder / "performance.mid").exists()


def test_a_synthesiser_that_fails_is_one_line_and_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    synth = tmp_path / "bin" / "fluidsynth"
    synth.parent.mkdir()
    synth.write_text("#!/bin/sh\nexit 3\n")
    synth.chmod(0o755)
    monkeypatch.setenv("PATH", str(synth.parent))
    monkeypatch.setattr(mix, "FONTS", (clip,))
    assert run("play", clip, "--out", tmp_path / "out") == EXIT_FAULT
    assert "fluidsynth rendered nothing" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


# --- the first steps ----------------------------------------------------------------------
@pytest.mark.parametrize("example", [None, *example_names()])
def test_init_writes_settings_that_are_clean(example: str | None, tmp_path: Path) -> None:
    more = [] if example is None else ["--example", example]
    assert run("init", tmp_path / "new", *more) == 0
    assert run("check", tmp_path / "new" / "config.yaml", "--json") == 0
    text = (tmp_path / "new" / "config.yaml").read_text()
    assert text == (settings_text() if example is None else example_text(example))


@pytest.mark.parametrize("kind", ["file", "link to nothing"])
def test_init_leaves_settings_that_are_there(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "config.yaml"
    if kind == "file":
        mine.write_text("composer: {seed: 4}\n")
    else:
        mine.symlink_to(tmp_path / "nowhere")
    assert run("init", tmp_path) == EXIT_FAULT
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "is there already" in said[0]
    assert not (tmp_path / "nowhere").exists()
    assert mine.is_symlink() or mine.read_text() == "composer: {seed: 4}\n"


def test_the_first_help_page_holds_what_people_type_and_nothing_else(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with suppress(SystemExit):
        run("--help")
    page = capfd.readouterr().out
    listed = set(re.findall(r"^    (\w+)(?:  |$)", page, re.MULTILINE))
    assert listed == set(EXAMPLES)
    internal = {*PROCESSES, "silence", "compile", "safe"}
    assert len(internal) == 9 and not internal & listed


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_command_is_taken(name: str) -> None:
    program, *words = shlex.split(EXAMPLES[name])
    assert program == "kelly-edge" and words[0] == name
    assert parser_of_commands().parse_args(words).command == name
