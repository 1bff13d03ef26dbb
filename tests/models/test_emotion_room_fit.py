"""The regression that reads rooms: fitted, written, ranked, and fed by the treatments that draw rooms."""

from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.emotion.room import N_STATISTICS
from kelly_edge.emotion.room_weights import BIASES, WEIGHTS
from models.emotion import data
from models.emotion.acoustics import Truth
from models.emotion.data import ROOMS, TREATMENTS
from models.emotion.rooms import READINGS, Rooms, fit, main, ranks, write


def drawn(n: int = 240) -> Rooms:
    """Statistics of which three are the truth and noise, and the others noise."""
    rng = np.random.default_rng(2)
    truth = rng.normal(0.0, 1.0, (n, 3))
    x = rng.normal(0.0, 0.3, (n, N_STATISTICS))
    x[:, :3] += truth
    return Rooms(x, truth, np.arange(n) % 2 == 0, np.array([f"song {i // 4}" for i in range(n)]))


def test_what_the_statistics_tell_is_ranked_on_songs_held_out() -> None:
    found = ranks(drawn())
    assert list(found) == list(READINGS)
    assert all(row["all"] > 0.8 and row["in_rooms"] > 0.8 for row in found.values())


def test_the_numbers_are_written_as_the_module_reads_them(tmp_path: Path) -> None:
    rooms = drawn()
    weights, biases = fit(rooms.statistics, rooms.truth)
    write(tmp_path / "weights.py", weights, biases)
    read = run_path(str(tmp_path / "weights.py"))
    assert np.allclose(read["WEIGHTS"], weights, rtol=1e-4)
    assert np.allclose(read["BIASES"], biases, rtol=1e-5)
    assert WEIGHTS.shape == weights.shape and BIASES.shape == biases.shape


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_a_treatment_that_draws_a_room_tells_it_and_sounds_as_it_did(name: str) -> None:
    audio = np.random.default_rng(0).normal(0.0, 0.1, SAMPLE_RATE_HZ // 4).astype(np.float32)
    told = Truth()
    heard = ROOMS[name](audio, np.random.default_rng(7), told)
    assert -8.0 <= told["drr_db"] <= 8.0 and 0.2 <= told["rt60_s"] <= 1.2
    assert ("snr_db" in told) == (not name.endswith("wet"))
    assert np.array_equal(heard, TREATMENTS[name](audio, np.random.default_rng(7)))


def test_clips_of_which_none_is_in_a_room_fit_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = [data.Clip(f"Q1_song{i}_0", Path(f"Q1_song{i}_0.mid"), "train", 1, 1) for i in range(10)]
    monkeypatch.setattr(data, "emopia", lambda split: clips)
    for clip in clips:
        path = data.frames_path(tmp_path, data.Condition("fluid"), clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, frames=np.zeros((3, 8, 27), np.float16), presence=np.ones(3, np.float32))
    assert main(["fit", "--cache", str(tmp_path), "--out", str(tmp_path / "weights.py")]) != 0
    assert "in a drawn room" in capsys.readouterr().err
    assert not (tmp_path / "weights.py").exists()
