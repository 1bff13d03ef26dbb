"""The random string instrument and the random room: what they do to notes and to levels."""

from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest

from kelly_edge.errors import DataError
from models.emotion import acoustics, strings

RATE_HZ = 48_000


def write_midi(path: Path, messages: list[mido.Message]) -> Path:
    """A file at 960 ticks a second."""
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(mido.MidiTrack(messages))
    midi.save(path)
    return path


def note(pitch: int, velocity: int, time: int = 0) -> mido.Message:
    return mido.Message("note_on", note=pitch, velocity=velocity, time=time)


def pedal(value: int, time: int = 0) -> mido.Message:
    return mido.Message("control_change", control=64, value=value, time=time)


@pytest.fixture
def one_note(tmp_path: Path) -> Path:
    return write_midi(tmp_path / "one.mid", [note(69, 80), note(69, 0, 1_920)])


def test_the_pedal_holds_a_note_until_it_is_up(tmp_path: Path) -> None:
    path = write_midi(
        tmp_path / "p.mid",
        [note(60, 80), pedal(127, 480), note(60, 0, 480), note(64, 70, 480), pedal(0, 480), note(64, 0, 480)],
    )
    np.testing.assert_allclose(strings.pressed(path), [[0.0, 2.0, 60, 80], [1.5, 1.0, 64, 70]], atol=1e-3)


def test_a_key_struck_again_under_the_pedal_ends_its_first_note(tmp_path: Path) -> None:
    path = write_midi(
        tmp_path / "p.mid", [pedal(127), note(60, 80), note(60, 0, 480), note(60, 90, 480), note(60, 0, 960)]
    )
    np.testing.assert_allclose(strings.pressed(path), [[0.0, 1.0, 60, 80], [1.0, 1.0, 60, 90]], atol=1e-3)


def test_a_file_without_notes_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.mid holds no notes"):
        strings.play(write_midi(tmp_path / "p.mid", [pedal(0)]), np.random.default_rng(0))


def test_a_seed_is_an_instrument(one_note: Path) -> None:
    first, again, other = (strings.play(one_note, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[:RATE_HZ], other[:RATE_HZ])


def test_partials_lie_where_the_pitch_says(one_note: Path) -> None:
    for seed in range(5):
        audio = strings.play(one_note, np.random.default_rng(seed))[:RATE_HZ].astype(float)
        power = np.abs(np.fft.rfft(audio * np.hanning(RATE_HZ))) ** 2  # 1 Hz per bin
        near = sum(power[440 * k - 12 : 440 * k + 13 + 12 * k].sum() for k in range(1, 6))
        assert near > 0.8 * power[100:].sum()


def test_velocity_makes_loud_as_the_instrument_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voice = replace(strings.instrument(np.random.default_rng(0)), bright_velocity=0.0, beat_share=0.0)
    path = write_midi(
        tmp_path / "two.mid", [note(69, 32), note(69, 0, 1_920), note(69, 127), note(69, 0, 1_920)]
    )

    def louder_db(exponent: float) -> float:
        chosen = replace(
            voice, loudness=exponent, hammer_db=-80.0, release_s=0.05, decay_s=1.0, decay_pitch=0.0
        )
        monkeypatch.setattr(strings, "instrument", lambda _rng: chosen)
        audio = strings.play(path, np.random.default_rng(3)).astype(float)
        soft, loud = (audio[at : at + RATE_HZ].std() for at in (0, 2 * RATE_HZ))
        return float(20.0 * np.log10(loud / soft))

    assert louder_db(0.0) == pytest.approx(0.0, abs=1.0)
    assert louder_db(2.0) == pytest.approx(40.0 * np.log10(127 / 32), abs=1.0)


def test_noise_is_added_at_the_ratio_asked_for() -> None:
    rng = np.random.default_rng(0)
    audio = np.sin(np.arange(RATE_HZ) / 20.0).astype(np.float32)
    noisy = acoustics.add_noise(audio, acoustics.coloured(3_000, rng), 10.0)
    assert 10.0 * np.log10(np.mean(audio**2) / np.mean((noisy - audio) ** 2)) == pytest.approx(10.0, abs=0.01)


def test_a_microphone_keeps_the_length_and_repeats() -> None:
    audio = np.sin(np.arange(RATE_HZ) / 20.0).astype(np.float32)
    first, again, other = (acoustics.microphone(audio, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == audio.shape
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
