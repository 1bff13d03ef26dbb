"""A thousand malformed inputs at the readers: a clear line or a result, never anything else."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from firmware_py.devices.files.audio_file import read_audio
from firmware_py.devices.files.config_file import load_settings
from kelly_edge.errors import KellyError

N_AUDIO, N_CONFIG = 700, 300
SUFFIXES = ("wav", "flac", "ogg", "mp3")
ROOT = Path(__file__).parents[2]


def mutate(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip, cut, repeat or replace bytes, mostly in the header, where it hurts."""
    data = np.frombuffer(content, np.uint8).copy()
    kind = rng.integers(4)
    if kind == 0:
        at = rng.integers(0, min(len(data), 64), rng.integers(1, 8))
        data[at] = rng.integers(0, 256, len(at))
    elif kind == 1:
        data = data[: rng.integers(0, len(data))]
    elif kind == 2:
        start = rng.integers(0, len(data))
        data = np.concatenate([data[:start], data[max(0, start - 50) :]])
    else:
        data = rng.integers(0, 256, rng.integers(0, 2_000)).astype(np.uint8)
    return data.tobytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_malformed_recordings(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(7)
    valid = tmp_path / f"valid.{suffix}"
    soundfile.write(valid, rng.normal(0.0, 0.1, 2_000), 16_000)
    content = valid.read_bytes()
    n_refused = 0
    path = tmp_path / f"malformed.{suffix}"
    for _ in range(N_AUDIO // len(SUFFIXES)):
        path.write_bytes(mutate(rng, content))
        try:
            recording = read_audio(path)
        except KellyError as error:
            n_refused += 1
            assert str(error).isprintable() and path.name in str(error)
        else:
            assert np.all(np.isfinite(recording.samples)) and len(recording.samples) > 0
    assert n_refused > 50


def test_malformed_settings(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    content = (ROOT / "config.yaml").read_bytes()
    path = tmp_path / "config.yaml"
    n_refused = 0
    for _ in range(N_CONFIG):
        at = rng.integers(0, len(content))
        path.write_bytes(content[:at] + mutate(rng, content[at:] or b"x"))
        try:
            load_settings(path)
        except KellyError as error:
            n_refused += 1
            assert all(line.isprintable() and line for line in str(error).split("\n"))
    assert n_refused > 50
