"""What an offline command holds does not grow with the recording: counted in bytes, at two lengths."""

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware_py.commands.analyse import analyse
from firmware_py.commands.analysis import HOP, Analysis
from firmware_py.commands.play import play
from firmware_py.commands.voice import speak
from firmware_py.devices.files.output import OutputFolder, Rows, write_npz
from firmware_py.settings import Settings
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ

SHORT_S, LONG_S = 12, 48
ALLOWED_PER_S = 6_000
"""Bytes a second of music may cost: its notes and moods. The sound alone has 192,000, the features 96,000."""


def nobody(share: float) -> None:
    pass


def peak_of(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("command", ["play", "voice", "analyse"])
def test_four_times_the_length_takes_no_more_memory(command: str, tmp_path: Path) -> None:
    settings = Settings()
    t = np.arange(LONG_S * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tune = 220.0 * 2.0 ** (np.floor(2.0 * t) % 7 / 12.0)
    sound = 0.2 * np.sin(2.0 * np.pi * np.cumsum(tune) / SAMPLE_RATE_HZ)

    def work(path: Path) -> None:
        if command == "play":
            play(path, tmp_path / "out", settings, nobody)
        elif command == "voice":
            speak(path, tmp_path / "a.wav", settings, nobody)
        else:
            analyse(path, tmp_path / "a.npz", settings, nobody)

    peaks = []
    # The first run loads what stays.
    for seconds in (SHORT_S, SHORT_S, LONG_S):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, sound[: seconds * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
        peaks.append(peak_of(lambda path=path: work(path)))  # type: ignore[misc]
    assert peaks[2] - peaks[1] < ALLOWED_PER_S * (LONG_S - SHORT_S), peaks


def test_arrays_in_blocks_are_the_bytes_of_arrays_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(5_000, 128)).astype(np.float32),
        "b": np.arange(70_000),
        "c": np.zeros((0, 3)),
    }

    def in_blocks(values: np.ndarray) -> Rows:
        return Rows(values.shape, values.dtype, lambda: np.array_split(values, 37))

    with OutputFolder(tmp_path) as output:
        write_npz(output, "one.npz", arrays)
        write_npz(output, "two.npz", {name: in_blocks(values) for name, values in arrays.items()})
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_what_advances_once_a_group_is_held_for_its_hops(tmp_path: Path) -> None:
    """Across the border of a block, too."""

    class Told:
        def __init__(self) -> None:
            self.tracker = self.meter = self.extractor = self
            self.f0_hz = self.confidence = self.loudness_db = 0.0
            self.age_samples = 480
            self.features = np.zeros(128, np.float32)
            self.heard = {
                "emotion": np.zeros(64), "valence": 0.0, "arousal": 0.0, "confidence": 0.0, "presence": 0.0,
            }  # fmt: skip
            self.counters = {"n_emotion_steps": 0}

    n = 40_000
    told = Told()
    with OutputFolder(tmp_path) as output, Analysis(output) as analysis:
        for hop in range(1, n + 1):
            told.f0_hz = float(hop)
            if hop % 16 == 0:
                told.counters["n_emotion_steps"] += 1
                told.features[:] = told.counters["n_emotion_steps"]
            analysis.note_down(told)  # type: ignore[arg-type]
        write_npz(output, "a.npz", analysis.arrays())
    with np.load(tmp_path / "a.npz") as arrays:
        steps = np.arange(1, n + 1) // 16
        np.testing.assert_array_equal(arrays["emotion_step"], steps)
        np.testing.assert_array_equal(arrays["features"][:, 5], steps)
        np.testing.assert_array_equal(arrays["f0_hz"], np.arange(1, n + 1))
        np.testing.assert_array_equal(arrays["time_s"], np.arange(1, n + 1) * (HOP_SIZE / SAMPLE_RATE_HZ))
        late = arrays["time_s"] - arrays["f0_time_s"]
        np.testing.assert_allclose(late[1:], told.age_samples / SAMPLE_RATE_HZ, atol=1e-9)
        assert arrays["f0_time_s"][0] == 0.0
        assert arrays["emotion_step"].dtype == HOP["emotion_step"]
