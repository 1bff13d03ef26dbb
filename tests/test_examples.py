"""Every example is taken as it is, plays, and keeps what its page says of it."""

import json
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from firmware_py.__main__ import main
from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.config_file import load_settings
from firmware_py.settings import Settings, rules
from kelly_edge.contract import SAMPLE_RATE_HZ

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "firmware_py" / "examples").glob("*.yaml"))
SECONDS = 10
LIVELY_S = 50
"""Where the demonstration is quick and loud, so that bounds are reached."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("in") / "lively.wav"
    samples, rate = soundfile.read(demo_recording(), start=0, dtype="float32")
    soundfile.write(path, samples[LIVELY_S * rate : (LIVELY_S + SECONDS) * rate], rate)
    return path


def settings_of(example: Path) -> Settings:
    return load_settings(example)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_clean_and_each_line_of_it_changes_something(
    example: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(example), "--json"]) == 0
    said = capfd.readouterr()
    assert not said.err
    assert json.loads(said.out)["settings"]
    settings, usual = settings_of(example), Settings()
    changed = [
        f"{section}.{name}"
        for section, name, _, _ in rules()
        if getattr(getattr(settings, section), name) != getattr(getattr(usual, section), name)
    ]
    assert changed or example.stem == "no-panel"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_plays_within_its_own_bounds(example: Path, recording: Path, tmp_path: Path) -> None:
    command = ["play", str(recording), "--out", str(tmp_path), "--config", str(example), "--no-picture"]
    assert main([*command, "--set", "session.prometheus="]) == 0
    settings = settings_of(example)
    entries = [json.loads(line) for line in (tmp_path / "session.jsonl").read_text().splitlines()]
    notes = [entry for entry in entries if entry["kind"] == "note"]
    assert notes
    assert max(note["velocity"] for note in notes) <= settings.envelope.velocity_max
    assert settings.envelope.pitch_min <= min(note["pitch"] for note in notes)
    assert max(note["pitch"] for note in notes) <= settings.envelope.pitch_max
    onsets = np.array([note["onset_s"] for note in notes])
    densest = max(np.count_nonzero((onsets >= onset) & (onsets < onset + 1.0)) for onset in onsets)
    assert densest <= settings.envelope.density_max_hz
    channels = {m.channel for m in mido.MidiFile(tmp_path / "performance.mid") if m.type == "note_on"}
    assert channels == {settings.composer.channel}
    voice, rate = soundfile.read(tmp_path / "voice.wav", dtype="float32")
    assert rate == SAMPLE_RATE_HZ
    assert np.max(np.abs(voice)) <= 10 ** (settings.limiter.ceiling_db / 20) + 1e-4


def test_there_are_twelve_and_each_has_a_page_that_shows_it() -> None:
    names = {path.stem for path in EXAMPLES}
    assert len(names) == 12
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "examples").glob("*.md")}
    assert names == set(pages) - {"index"}
    for name in names:
        assert f"firmware_py/examples/{name}.yaml" in pages[name]
        assert f"({name}.md)" in pages["index"]
