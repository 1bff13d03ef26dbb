"""Recordings: every common format is read right; every fault is one line."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from firmware_py.devices.files.audio_file import BLOCK_VALUES, LOUDEST, STEP_FRAMES, read_audio
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


def test_a_name_need_not_be_utf_8(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(4_800, 0.5, np.float32), SAMPLE_RATE_HZ)
    path = Path(os.fsdecode(bytes(tmp_path) + b"/Gro\xdfe Fuge.wav"))
    (tmp_path / "a.wav").rename(path)
    np.testing.assert_allclose(read_audio(path).samples, 0.5, atol=1e-4)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -0.4 * left], axis=1), SAMPLE_RATE_HZ, "FLOAT")
    recording = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(recording.samples, 0.3 * left, atol=1e-6)
    assert recording.notices == ()


@pytest.mark.parametrize(
    "gains", [(1.0, -1.0), (0.9, -1.0), (1.0, -1.0, 1.0, -1.0), (0.0, 0.5, 0.5, -1.0)], ids=str
)
@pytest.mark.parametrize("sounding_share", [1.0, 0.5])
def test_channels_that_cancel_leave_the_loudest_alone(
    tmp_path: Path, gains: tuple[float, ...], sounding_share: float
) -> None:
    """Also where only the second half is out of phase."""
    sound = np.tile(tone(SAMPLE_RATE_HZ, 6.0)[:, None], (1, len(gains))) * np.abs(gains)
    n = round((1.0 - sounding_share) * len(sound))
    sound[n:] *= np.sign(gains)
    soundfile.write(tmp_path / "a.wav", sound, SAMPLE_RATE_HZ, "FLOAT")
    recording = read_audio(tmp_path / "a.wav")
    loudest = int(np.argmax(np.abs(gains)))
    np.testing.assert_allclose(recording.samples, sound[:, loudest], atol=1e-6)
    (notice,) = recording.notices
    assert "cancel" in notice and f"channel {loudest + 1} " in notice


def test_unrelated_channels_do_not_cancel(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.1, (100_000, 8))
    soundfile.write(tmp_path / "a.wav", noise, SAMPLE_RATE_HZ, "FLOAT")
    recording = read_audio(tmp_path / "a.wav")
    assert recording.notices == ()
    np.testing.assert_allclose(recording.samples, noise.mean(axis=1), atol=1e-6)


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


CONTAINERS = {
    "wav": ("WAV", "PCM_16"),
    "wavex": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
BY_THE_PAGE = 1.5
"""Seconds that a cut may cost: a page of Ogg, a block of FLAC, the bits an MP3 borrows."""


def whole_file(path: Path, container: str, seconds: float = 8.0) -> np.ndarray:
    """Writes it; returns its sound as the reader gives it."""
    kind, subtype = CONTAINERS[container]
    noise = np.random.default_rng(0).normal(0.0, 0.1, round(seconds * SAMPLE_RATE_HZ))
    soundfile.write(path, noise, SAMPLE_RATE_HZ, subtype, format=kind)
    recording = read_audio(path)
    assert recording.notices == () and recording.duration_s == pytest.approx(seconds, abs=0.06)
    return recording.samples


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("container", CONTAINERS)
def test_of_a_file_cut_short_is_read_what_is_there_and_one_line_says_so(
    tmp_path: Path, container: str, share: float
) -> None:
    path = tmp_path / "a.snd"
    sound = whole_file(path, container)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    recording = read_audio(path)
    assert share * 8.0 - BY_THE_PAGE < recording.duration_s < share * 8.0 + BY_THE_PAGE
    n = recording.n_samples - SAMPLE_RATE_HZ
    np.testing.assert_allclose(recording.samples[:n], sound[:n], atol=1e-3)
    (notice,) = recording.notices
    assert path.name in notice and "\n" not in notice
    assert f"{recording.duration_s:.1f} s are read" in notice


def test_an_ogg_cut_at_a_page_border_is_told_from_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    whole_file(path, "ogg")
    content = path.read_bytes()
    pages = [i for i in range(len(content)) if content.startswith(b"OggS", i)]
    path.write_bytes(content[: pages[len(pages) // 2]])
    recording = read_audio(path)
    (notice,) = recording.notices
    assert "its end was never written" in notice and 1.0 < recording.duration_s < 7.0


@pytest.mark.parametrize(
    "size", [bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"], ids=["0", "-1", "large"]
)
@pytest.mark.parametrize("container", ["wav", "wavex", "aiff"])
def test_a_recorder_that_lost_power_left_its_sound(tmp_path: Path, container: str, size: bytes) -> None:
    path = tmp_path / "a.snd"
    sound = whole_file(path, container)
    content = bytearray(path.read_bytes())
    at = content.index(b"SSND" if container == "aiff" else b"data") + 4
    content[4:8] = content[at : at + 4] = size if container != "aiff" else size[::-1]
    path.write_bytes(content)
    recording = read_audio(path)
    np.testing.assert_array_equal(recording.samples, sound)
    (notice,) = recording.notices
    assert "its end was never written" in notice


@pytest.mark.parametrize("size", [0, 24, 2**63 - 1])
def test_a_wave64_and_a_caf_without_a_size_are_read(tmp_path: Path, size: int) -> None:
    for container, order, at_least in (("w64", "little", 24), ("caf", "big", 0)):
        path = tmp_path / "a.snd"
        sound = whole_file(path, container)
        content = bytearray(path.read_bytes())
        at = content.index(b"data")
        at += 16 if container == "w64" else 4
        if container == "caf" and size == 24:
            continue  # twenty-four bytes of sound, in a CAF
        content[at : at + 8] = max(size, at_least if size else 0).to_bytes(8, order)  # type: ignore[arg-type]
        path.write_bytes(content)
        recording = read_audio(path)
        assert recording.n_samples == pytest.approx(len(sound), abs=4)
        np.testing.assert_array_equal(recording.samples[: len(sound)], sound[: recording.n_samples])
        assert len(recording.notices) == 1


def test_an_au_without_a_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.au"
    sound = whole_file(path, "au")
    content = bytearray(path.read_bytes())
    for size in (bytes(4), b"\xff" * 4):
        content[8:12] = size
        path.write_bytes(content)
        np.testing.assert_array_equal(read_audio(path).samples, sound)


def test_a_flac_that_does_not_say_its_length_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    sound = whole_file(path, "flac")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    recording = read_audio(path)
    assert len(sound) - STEP_FRAMES <= recording.n_samples <= len(sound)
    np.testing.assert_array_equal(recording.samples, sound[: recording.n_samples])
    assert len(recording.notices) == 1


def test_the_blocks_of_a_recording_are_bounded_whatever_its_length(tmp_path: Path) -> None:
    largest = []
    for seconds in (20, 80):
        soundfile.write(tmp_path / "a.wav", np.zeros((8_000 * seconds, 2)), 8_000)
        recording = read_audio(tmp_path / "a.wav")
        lengths = [len(block) for block in recording.blocks()]
        assert sum(lengths) == recording.n_samples == seconds * SAMPLE_RATE_HZ
        largest.append(max(lengths))
    assert largest[1] <= BLOCK_VALUES * SAMPLE_RATE_HZ // 8_000


def test_a_file_that_shrinks_while_it_is_read_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(SAMPLE_RATE_HZ, 20.0), SAMPLE_RATE_HZ)
    recording = read_audio(path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(AudioFileError, match="changed while it was read"):
        list(recording.blocks())


def test_an_mp3_behind_a_tag_is_read_and_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, tone(SAMPLE_RATE_HZ, 2.0), SAMPLE_RATE_HZ)
    n_tag = 20_000  # in digits of seven bits: 1, 28, 32
    content = b"ID3\x03\0\0" + bytes([0, 1, 28, 32]) + bytes(n_tag) + path.read_bytes()
    path.write_bytes(content)
    assert read_audio(path).duration_s == pytest.approx(2.0, abs=0.06)
    path.write_bytes(content[: (n_tag + len(content)) // 2])
    (notice,) = read_audio(path).notices
    assert "cut short" in notice


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
    assert "samples per second" in fault_of(tmp_path / "a.wav")


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
