"""Fold validation, calibration and VGMIDI's curves, on made-up numbers."""

import json
from pathlib import Path

import mido
import numpy as np
import pytest

from kelly_edge.emotion.circumplex import SIGNS
from kelly_edge.errors import DataError
from models.emotion import curves, data

pytest.importorskip("torch", reason="training needs torch (extra: train)")
from models.emotion import validate


def clips(n_songs: int) -> list[data.Clip]:
    return [
        data.Clip(f"Q1_song{s}_{k}", Path("x.mid"), "train", 1, 1) for s in range(n_songs) for k in range(3)
    ]


def test_songs_are_held_out_whole_and_once() -> None:
    everything = clips(10)
    held_names = []
    for fold in range(3):
        outside, held = validate.split_songs(everything, 3, fold)
        assert not {c.song for c in outside} & {c.song for c in held}
        assert len(outside) + len(held) == len(everything)
        held_names += [c.name for c in held]
    assert sorted(held_names) == sorted(c.name for c in everything)


def test_no_evaluation_font_is_used_to_choose() -> None:
    assert not {data.parse_condition(c).font for c in validate.HEARD} & {"timgm", "opl3"}


def biased(n: int = 4_000) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of known truth, seen through half the scale and a bias."""
    rng = np.random.default_rng(0)
    quadrants = rng.integers(0, 4, n)
    true = rng.normal(0.0, 1.0, (n, 4))
    true[np.arange(n), quadrants] += 1.0  # two normals a unit apart: exactly these log odds
    return true / 2.0 - SIGNS @ [0.3, -0.5], quadrants


def test_calibration_finds_scale_and_bias() -> None:
    log_odds, quadrants = biased()
    found = validate.fit_calibration(log_odds, quadrants)
    assert found["scale"] == pytest.approx(2.0, rel=0.1)
    assert found["valence"] == pytest.approx(0.3, abs=0.05)
    assert found["arousal"] == pytest.approx(-0.5, abs=0.05)


def test_crossed_calibration_helps_clips_it_was_not_fitted_on() -> None:
    log_odds, quadrants = biased()
    fold_of = np.arange(len(quadrants)) % 3
    before = validate.judge(log_odds, quadrants)
    after = validate.judge(validate.crossed(log_odds, quadrants, fold_of), quadrants)
    assert after["arousal"]["accuracy"] > before["arousal"]["accuracy"]
    assert after["quadrant"]["ece"] < before["quadrant"]["ece"]


def write_phrase(path: Path, seconds: float) -> Path:
    track = mido.MidiTrack([mido.Message("note_on", note=60), mido.Message("note_off", note=60, time=0)])
    track[1].time = round(seconds * 960)  # 480 ticks a beat of half a second
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(path)
    return path


def test_phrases_of_a_piece_lie_end_to_end(tmp_path: Path) -> None:
    paths = [
        write_phrase(tmp_path / name, s) for name, s in (("a_1.mid", 3.0), ("a_0.mid", 2.0), ("b_0.mid", 4.0))
    ]
    spans = curves.phrase_spans(paths)
    assert spans[paths[1]] == ("a", 0.0, pytest.approx(2.0))
    assert spans[paths[0]] == ("a", pytest.approx(2.0), pytest.approx(5.0))
    assert spans[paths[2]] == ("b", 0.0, pytest.approx(4.0))


def test_a_span_takes_the_measures_it_covers() -> None:
    curve = [0.0, 1.0, 2.0, 3.0]
    assert curves.span_mean(curve, 2.0, 0.0, 8.0) == 1.5
    assert curves.span_mean(curve, 2.0, 3.9, 8.0) == 2.5
    assert curves.span_mean(curve, 2.0, 9.0, 9.5) == 3.0


def test_correlation_by_hand() -> None:
    people = np.repeat(np.arange(30.0)[:, None], 3, 1)
    result = curves.correlate(1.0 + 2.0 * people[:, 0], people)
    assert result["r"] == 1.0
    assert result["split_half"] == 1.0
    assert result["ceiling"] == 1.0


def test_missing_curves_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emopia" / "midis").mkdir(parents=True)
    monkeypatch.setenv("KELLY_DATA", str(tmp_path))
    with pytest.raises(DataError, match=curves.CURVES):
        curves.human_means([])
    (tmp_path / curves.CURVES).write_text(json.dumps({}))
    clip = data.Clip("vgmidi_p_0", write_phrase(tmp_path / "p_0.mid", 1.0), "vgmidi", 1, 1)
    with pytest.raises(DataError, match="no curve of p"):
        curves.human_means([clip])
