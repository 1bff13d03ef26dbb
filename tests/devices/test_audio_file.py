"""Recordings: every common format is read right; every fault is one line."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from firmware_py.devices.audio_file import BLOCK_VALUES, LOUDEST, read_audio
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import AudioFileError

NOBODY = 65_534


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


def test_one_dead_channel_leaves_the_other(tmp_path: Path) -> None:
    sound = tone(SAMPLE_RATE_HZ)
    soundfile.write(
        tmp_path / "a.wav", np.stack([sound, np.full_like(sound, np.nan)], axis=1), SAMPLE_RATE_HZ, "FLOAT"
    )
    recording = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(recording.samples, 0.5 * sound, atol=1e-6)
    assert recording.n_non_finite == len(sound)


def test_enormous_values_stay_finite_through_the_resampler(tmp_path: Path) -> None:
    sound = tone(44_100)
    sound[100:200] = 3e38
    soundfile.write(tmp_path / "a.wav", sound, 44_100, "FLOAT")
    assert np.max(np.abs(read_audio(tmp_path / "a.wav").samples)) == LOUDEST


def test_resampling_by_the_block_is_resampling_at_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, 3 * BLOCK_VALUES + 7).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", noise, 44_100, "FLOAT")
    at_once = soxr.resample(noise, 44_100, SAMPLE_RATE_HZ, quality="HQ")
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav").samples, at_once, atol=1e-6)


def test_clipping_of_either_sign_counts_at_16_bits(tmp_path: Path) -> None:
    sound = np.zeros(1_000)
    sound[10:20], sound[30:35] = 1.0, -1.0
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE_HZ, "PCM_16")
    assert read_audio(tmp_path / "a.wav").n_clipped == 15


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


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("container", ["WAV", "RF64", "FLAC", "OGG", "MP3"])
def test_a_truncated_file(tmp_path: Path, container: str, share: float) -> None:
    path = tmp_path / "a.wav"
    noise = np.random.default_rng(0).normal(0.0, 0.1, 100_000)
    soundfile.write(path, noise, SAMPLE_RATE_HZ, format=container)
    read_audio(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "truncated" in fault_of(path)


def test_a_wav_written_to_a_pipe_says_no_length_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[4:8], content[at : at + 4] = b"\x24\0\0\x80", b"\0\0\0\x80"
    path.write_bytes(content)
    assert read_audio(path).duration_s == 0.5


def test_an_mp3_behind_a_tag_is_read_and_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(SAMPLE_RATE_HZ, 2.0), SAMPLE_RATE_HZ)
    n_tag = 20_000  # in digits of seven bits: 1, 28, 32
    content = b"ID3\x03\0\0" + bytes([0, 1, 28, 32]) + bytes(n_tag) + path.read_bytes()
    path.write_bytes(content)
    assert read_audio(path).duration_s == pytest.approx(2.0, abs=0.06)
    path.write_bytes(content[: (n_tag + len(content)) // 2])
    assert "truncated" in fault_of(path)


def test_longer_than_two_hours(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(8_000), 8_000)
    content = bytearray(path.read_bytes())
    # The count of samples in STREAMINFO.
    content[22:26] = (2 * 3_600 * 8_000 + 1).to_bytes(4, "big")
    path.write_bytes(content)
    assert "longer than 2 hours" in fault_of(path)


@pytest.mark.parametrize("rate_hz", [4_000, 384_000])
def test_a_rate_out_of_range(tmp_path: Path, rate_hz: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate_hz), rate_hz)
    assert "samples a second" in fault_of(tmp_path / "a.wav")


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_no_permission(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    (path if closed == "file" else tmp_path).chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)  # root may read everything
    try:
        assert "Permission denied" in fault_of(path)
    finally:
        os.seteuid(was)
        tmp_path.chmod(0o700)


def test_a_device_is_no_recording() -> None:
    assert "is not a file" in fault_of(Path("/dev/null"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert "is not a file" in fault_of(tmp_path / "a.wav")


def test_headerless_samples_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(9_000))
    assert "not a readable recording" in fault_of(tmp_path / "a.raw")


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError) as caught:
        read_audio(tmp_path / "a\nb.wav")
    assert str(caught.value).isprintable()
