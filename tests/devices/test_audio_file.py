"""Recordings: every common format is read right; every fault is one line."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware_py.devices.audio_file import read_audio
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import AudioFileError


def tone(rate_hz: int, seconds: float = 0.5, f_hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * f_hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def fault_of(path: Path) -> str:
    with pytest.raises(AudioFileError) as caught:
        read_audio(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


@pytest.mark.parametrize(
    ("name", "rate_hz", "n_channels"),
    [
        ("a.wav", 8_000, 1),
        ("a.wav", 192_000, 2),
        ("a.flac", 44_100, 6),
        ("a.ogg", 48_000, 2),
        ("a.mp3", 44_100, 1),
    ],
)
def test_formats_rates_and_channels(tmp_path: Path, name: str, rate_hz: int, n_channels: int) -> None:
    path = tmp_path / name
    soundfile.write(path, np.tile(tone(rate_hz)[:, None], (1, n_channels)), rate_hz)
    recording = read_audio(path)
    assert recording.samples.dtype == np.float32
    assert recording.duration_s == pytest.approx(0.5, abs=0.06)  # MP3 pads
    assert len(recording.samples) == pytest.approx(recording.duration_s * SAMPLE_RATE_HZ, abs=2)
    spectrum = np.abs(np.fft.rfft(recording.samples))
    assert np.argmax(spectrum) / len(recording.samples) * SAMPLE_RATE_HZ == pytest.approx(440.0, abs=3.0)
    assert np.max(np.abs(recording.samples[5_000:15_000])) == pytest.approx(0.5, abs=0.03)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left], axis=1), SAMPLE_RATE_HZ)
    assert np.max(np.abs(read_audio(tmp_path / "a.wav").samples)) < 1e-4


def test_not_a_number_becomes_silence_and_is_counted(tmp_path: Path) -> None:
    samples = tone(SAMPLE_RATE_HZ)
    samples[100:110] = np.nan
    samples[200] = np.inf
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ, "FLOAT")
    recording = read_audio(tmp_path / "a.wav")
    assert recording.n_non_finite == 11
    assert not recording.samples[100:110].any()
    assert np.all(np.isfinite(recording.samples))


def test_clipping_is_counted_and_kept(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "a.wav", np.clip(4.0 * tone(SAMPLE_RATE_HZ), -1.0, 1.0), SAMPLE_RATE_HZ, "FLOAT"
    )
    assert read_audio(tmp_path / "a.wav").n_clipped > 1_000


def test_a_missing_file() -> None:
    assert "No such file" in fault_of(Path("no-such.wav"))


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in fault_of(tmp_path)


def test_a_text_named_wav(tmp_path: Path) -> None:
    path = tmp_path / "letter.wav"
    path.write_text("Dear therapist,\n" * 100)
    assert "not a readable recording" in fault_of(path)


def test_zero_frames(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), SAMPLE_RATE_HZ)
    assert "no sound" in fault_of(tmp_path / "a.wav")


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    fault_of(tmp_path / "a.wav")


def test_nothing_but_nan(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(1_000, np.nan), SAMPLE_RATE_HZ, "FLOAT")
    assert "no finite sample" in fault_of(tmp_path / "a.wav")


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_truncated_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).normal(0.0, 0.1, 50_000)
    soundfile.write(path, noise, SAMPLE_RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in fault_of(path) or "not a readable" in fault_of(path)


@pytest.mark.parametrize("rate_hz", [4_000, 384_000])
def test_a_rate_out_of_range(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate_hz), rate_hz)
    assert "samples a second" in fault_of(tmp_path / "a.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    path.chmod(0)
    assert "Permission denied" in fault_of(path)


def test_a_device_is_no_recording() -> None:
    fault_of(Path("/dev/null"))
