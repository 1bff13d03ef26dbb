"""``kelly-edge play song.mid``: the file is somebody at a keyboard."""

import json
from pathlib import Path

import mido
import numpy as np
import pytest

from firmware_py.__main__ import main
from firmware_py.commands.mix import font
from firmware_py.devices.files.config_file import load_settings
from kelly_edge.errors import ConfigError
from kelly_edge.shared.command_line import EXIT_FAULT

BEAT_S, N_BEATS = 0.5, 36
CHORDS = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (48, 60, 64, 67))


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen seconds of I IV V I in C at 120 beats per minute: a chord a beat, downbeats accented."""
    track = mido.MidiTrack()
    for beat in range(N_BEATS):
        chord = CHORDS[beat // 4 % 4]
        track += [mido.Message("note_on", note=pitch, velocity=80 if beat % 4 else 96) for pitch in chord]
        track += [
            mido.Message("note_off", note=pitch, time=420 if pitch == chord[0] else 0) for pitch in chord
        ]
        track.append(mido.Message("control_change", control=64, value=0, time=60))
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    path = tmp_path_factory.mktemp("song") / "song.mid"
    midi.save(path)
    return path


def test_the_box_answers_a_midi_file_in_its_key_and_on_its_beat(
    song: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", str(song), "--out", str(tmp_path), "--no-picture", "--json"]) == 0
    summary = json.loads(capfd.readouterr().out)
    assert summary["n_notes_heard"] == N_BEATS * 4 and summary["n_notes"] > 10 and summary["heard"]
    assert (tmp_path / "mix.wav").exists() == (font() is not None)
    entries = [json.loads(line) for line in (tmp_path / "session.jsonl").read_text().splitlines()]
    assert entries[0]["settings"]["ears.listen"] == "keyboard"
    notes = [entry for entry in entries if entry["kind"] == "note" and entry["onset_s"] > 5.0]
    scale = {0, 2, 4, 5, 7, 9, 11}
    assert np.mean([note["pitch"] % 12 in scale for note in notes]) > 0.9
    # Anywhere in a sixteenth the mean direction would be near 0; the asynchrony is that of the ears.
    phases = np.array([note["onset_s"] / BEAT_S * 4 for note in notes])
    assert np.abs(np.mean(np.exp(2j * np.pi * phases))) > 0.7


def test_a_broken_midi_file_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.mid"
    path.write_bytes(b"MThd")
    assert main(["play", str(path), "--out", str(tmp_path / "out")]) == EXIT_FAULT
    said = capfd.readouterr()
    assert not said.out and len(said.err.splitlines()) == 1 and "broken.mid" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("listen", ["keyboard", "both"])
def test_a_keyboard_needs_an_input(listen: str) -> None:
    with pytest.raises(ConfigError, match=rf"ears.listen: {listen} needs a port in midi.inputs"):
        load_settings(None, [f"ears.listen={listen}", "midi.inputs=[]"])
    assert load_settings(None, [f"ears.listen={listen}"]).ears.listen == listen


def test_the_free_models_do_not_read_a_keyboards_mood_by_emopia(
    song: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    free = ["--set", "runtime.models=free"]
    assert main(["play", str(song), "--out", str(tmp_path / "out"), *free]) == EXIT_FAULT
    said = capfd.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "EMOPIA" in said[0]
    assert not (tmp_path / "out").exists()
    keyboard = ["ears.listen=keyboard", 'midi.inputs=["*"]', "runtime.models=free"]
    with pytest.raises(ConfigError, match="listen to both"):
        load_settings(None, keyboard)
