"""The command line: results where they belong; one line and exit 2 for every fault, nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from firmware_py.__main__ import main
from firmware_py.devices.audio_file import read_audio
from firmware_py.offline_commands import demo_recording
from firmware_py.runtimes import artefacts
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.latency import algorithmic_latency, total_samples
from kelly_edge.timbre.voice import Voice
from kelly_edge.units import db_to_gain


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of the demo, across its turn."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    samples = read_audio(demo_recording()).samples[32 * SAMPLE_RATE_HZ : 44 * SAMPLE_RATE_HZ]
    soundfile.write(path, samples, SAMPLE_RATE_HZ)
    return path


def run(*arguments: str | Path) -> int:
    return main([str(a) for a in arguments])


def test_play_writes_performance_voice_and_log_the_same_every_time(clip: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        assert run("play", clip, "--out", tmp_path / folder, "--seed", "3", "--json") == 0
    names = ["performance.mid", "session.jsonl", "voice.wav"]
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
    assert kinds == {"session", "emotion", "note", "knobs", "counters"}


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
    run("play", clip, "--out", tmp_path)
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
