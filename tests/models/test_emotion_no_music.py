"""Who speaks is not answered with notes, and noise of a house is not; who sings or hums is."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from firmware_py.devices.files.audio_file import read_audio
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance
from kelly_edge.contract import SAMPLE_RATE_HZ

pytest.importorskip("scipy", reason="scipy is not installed (extra: test)")

from kelly_edge.errors import DataError
from models.emotion import melodies, not_music
from models.emotion.data import data_folder


def babble(seed: int, seconds: float = 12.0) -> np.ndarray:
    """Syllables of a voice that was drawn for no training."""
    sound = not_music.babble(np.random.default_rng([seed, 5]))[: round(seconds * SAMPLE_RATE_HZ)]
    return 0.3 * sound / np.abs(sound).max()


def heard(settings: Settings, models: Models, sound: np.ndarray) -> Performance:
    return Offline(settings, models, np.asarray(sound, np.float32)).run()


def trust(performance: Performance) -> float:
    """The most that the emotion heard was trusted."""
    entries = [entry for entry in performance.session if entry["kind"] == "emotion"]
    return max((e["confidence"] * e["presence"] for e in entries), default=0.0)


def test_a_voice_that_talks_gets_no_note(settings: Settings, models: Models) -> None:
    """Drawn voices are odder than people's: one in eight may pass for a singer."""
    answered = []
    for seed in range(8):
        performance = heard(settings, models, babble(seed))
        answered.append(len(performance.notes) > 0)
        assert answered[-1] or trust(performance) <= 0.1
    assert sum(answered) <= 1


@pytest.mark.parametrize("kind", ["fan", "knocks", "applause", "motor", "tap"])
def test_noises_of_a_house_get_no_note(settings: Settings, models: Models, kind: str) -> None:
    sound = not_music.NOISES[kind](np.random.default_rng(5))[: 12 * SAMPLE_RATE_HZ]
    performance = heard(settings, models, 0.2 * sound / np.abs(sound).max())
    assert len(performance.notes) == 0
    assert trust(performance) <= 0.1


def speech_clips() -> list[Path]:
    """Recorded voices: of the data folder, and of Debian's packages where they are installed."""
    try:
        found = sorted((data_folder() / "clips").glob("speech*"))
    except DataError:
        found = []
    found += sorted(Path("/usr/share/sounds/alsa").glob("*_*.wav"))
    found += sorted(Path("/usr/share/pocketsphinx/test/data").rglob("*.wav"))
    return found


def test_recorded_speech_gets_no_note_within_10_s(settings: Settings, models: Models) -> None:
    clips = speech_clips()
    if not clips:
        pytest.skip("no recorded speech: apt install alsa-utils, or set KELLY_DATA")
    for path in clips:
        performance = heard(settings, models, read_audio(path).samples)
        assert len(performance.notes) == 0, path
        assert trust(performance) <= 0.1, path


@pytest.mark.parametrize("words", ["Good morning. How did you sleep? Would you like to play today?"])
def test_a_synthesiser_that_reads_gets_no_note(
    settings: Settings, models: Models, words: str, tmp_path: Path
) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed; apt install espeak-ng")
    wav = tmp_path / "speech.wav"
    subprocess.run(["espeak-ng", "-s", "140", "-w", str(wav), f"{words} {words} {words}"], check=True)
    assert len(heard(settings, models, read_audio(wav).samples).notes) == 0


@pytest.mark.parametrize("seed", [0, 2, 4, 6])
def test_who_sings_or_hums_is_answered(settings: Settings, models: Models, seed: int) -> None:
    sound = melodies.sound(seed)[: 14 * SAMPLE_RATE_HZ]
    performance = heard(settings, models, 0.3 * sound / np.abs(sound).max())
    assert len(performance.notes) > 0


def test_recorded_singing_is_answered(settings: Settings, models: Models) -> None:
    try:
        clips = sorted((data_folder() / "clips").glob("singing*"))
    except DataError as error:
        pytest.skip(str(error))
    for path in clips:
        # Sung twice: after the six or nine seconds of a clip the ear is barely sure that somebody sings.
        sung = np.tile(read_audio(path).samples, 2)
        assert len(heard(settings, models, sung).notes) > 0, path
