"""``kelly-edge rehearse``: the live box plays to a recording, and what came out is left."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile
from rig import PATIENCE_S, wait_until

from firmware_py.__main__ import main
from firmware_py.commands import rehearse
from firmware_py.commands.demo import demo_recording
from firmware_py.commands.examples import example_names
from firmware_py.rehearsal.server import DummyServer, absent
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DeviceError

pytest.importorskip("alsaaudio", reason="pyalsaaudio is not installed")
pytest.importorskip("rtmidi", reason="python-rtmidi is not installed")
SECONDS = 8


def started_with(mark: str) -> list[str]:
    """Command lines of the processes that have ``mark`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode().replace("\0", " "))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return [words for words in found if words]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    samples, rate = soundfile.read(demo_recording(), dtype="float32")
    soundfile.write(tmp_path / "clip.wav", samples[50 * rate : (50 + SECONDS) * rate], rate)
    return tmp_path / "clip.wav"


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent() or "-")
def test_a_rehearsal_leaves_midi_voice_and_session(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["rehearse", str(clip), "--out", str(out), "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert sorted(p.name for p in out.iterdir()) == sorted(rehearse.FILES)
    entries = [json.loads(line) for line in (out / "session.jsonl").read_text().splitlines()]
    assert entries[0]["kind"] == "session" and any(e["kind"] == "emotion" for e in entries)
    # How many notes came in time is the machine's to say; what was sent is what is written.
    sent = sum(e["kind"] == "note" for e in entries)
    written = [m for m in mido.MidiFile(out / "performance.mid") if m.type == "note_on" and m.velocity]
    assert summary["n_notes"] == sent == len(written)
    voice, rate = soundfile.read(out / "voice.wav", dtype="float32")
    assert rate == SAMPLE_RATE_HZ and len(voice) / rate == pytest.approx(SECONDS + rehearse.TAIL_S, abs=0.1)
    assert np.max(np.abs(voice)) > 1e-4


@pytest.mark.slow
@pytest.mark.skipif(bool(absent()), reason=absent() or "-")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rehearsal_that_is_ended_leaves_no_process(
    number: signal.Signals, clip: Path, tmp_path: Path
) -> None:
    # On a busy machine it is seen late, and must not have come to its own end by then.
    samples, rate = soundfile.read(clip, dtype="float32")
    soundfile.write(clip, np.tile(samples, round(PATIENCE_S / SECONDS)), rate)
    # What a shell starts in the background ignores Ctrl-C, and so would its children.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "firmware_py", "rehearse", str(clip)]
    command += ["--out", str(tmp_path / "out")]
    mark = str(tmp_path)
    rehearsal = subprocess.Popen(
        command, start_new_session=True, stderr=subprocess.DEVNULL, env={**os.environ, "REHEARSED": mark}
    )
    wait_until(lambda: any(" audio " in words for words in started_with(mark)), PATIENCE_S)
    rehearsal.send_signal(number)
    assert rehearsal.wait(PATIENCE_S) != 0
    wait_until(lambda: not started_with(mark), PATIENCE_S)
    assert not (tmp_path / "out").exists()


@pytest.mark.faults
@pytest.mark.skipif(bool(absent()), reason=absent() or "-")
@pytest.mark.parametrize("example", example_names())
def test_every_example_rehearses(
    example: str, clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "mine"), "--example", example]) == 0
    config = tmp_path / "mine/config.yaml"
    capfd.readouterr()
    assert main(["check", str(config)]) == 0
    assert not capfd.readouterr().err
    settings = [f"--config={config}", "--set=session.prometheus="]
    samples, rate = soundfile.read(clip, dtype="float32")
    # Ten seconds; a machine on which the composer waits for other work gets longer.
    for seconds in (10, 60):
        soundfile.write(clip, np.resize(samples, seconds * rate), rate)
        out = tmp_path / f"out of {seconds} s"
        assert main(["rehearse", str(clip), "--out", str(out), "--json", *settings]) == 0
        told = json.loads(capfd.readouterr().out)
        counted = f"{told['n_notes']} notes, {told['n_xruns']} xruns, {told['n_late_notes']} late"
        with capfd.disabled():
            print(f"{example}: in {seconds} s {counted}")
        if told["n_notes"]:
            break
    assert told["n_notes"] > 0


@pytest.mark.parametrize(
    ("there", "package"), [((), "jackd2"), (("jackd",), "jack-example-tools")], ids=["nothing", "no tools"]
)
def test_without_a_sound_server_one_line_says_what_to_install(
    there: tuple[str, ...],
    package: str,
    clip: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert main(["rehearse", str(clip), "--out", str(tmp_path / "out")]) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and f"apt-get install {package}" in said[0]
    assert not (tmp_path / "out").exists()


def test_a_server_that_ends_at_once_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, does in (("jackd", "echo no driver; exit 1"), ("jack_lsp", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    server = DummyServer(tmp_path)
    with pytest.raises(DeviceError, match="jackd did not start: no driver"):
        server.start()
    server.stop()
