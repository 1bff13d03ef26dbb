"""Labels, augmentation and training of the emotion network, on made-up features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kelly_edge.contract import N_FEATURES
from kelly_edge.emotion.features import LIMIT
from kelly_edge.emotion.symbolic import N_DESCRIPTORS, TARGETS
from kelly_edge.errors import ConfigError, DataError
from models.emotion.augment import Augmentation, augment, font_shifts

pytest.importorskip("torch", reason="training needs torch (extra: train)")
import torch

from kelly_edge.emotion.circumplex import SIGNS, clip_log_odds
from kelly_edge.emotion.vector import slice_of
from models.emotion.network import EmotionLstm, calibrated, load_run, run_clips
from models.emotion.train import Example, TrainConfig, graded_arousal, labels, read_config, taught, train

QUIET = Augmentation(
    noise=0.0, offset=0.0, equaliser=0.0, pulse_drop=0.0, pulse_lift=0.0, group_drop=0.0, timbre_drop=0.0
)


def example(clip: str, quadrant: int, n: int = 80) -> Example:
    rng = np.random.default_rng(list(clip.encode()))
    x = rng.normal(0.0, 0.3, (n, N_FEATURES)).astype(np.float32)
    x[:, quadrant] += 2.0
    symbolic = np.zeros(len(TARGETS) + N_DESCRIPTORS, np.float32)
    return Example(clip, x, np.ones(n, np.float32), quadrant, symbolic)


def test_no_strength_leaves_the_features_as_they_are() -> None:
    x = example("a", 0).features
    same = augment(x, QUIET, np.zeros((0, N_FEATURES), np.float32), np.random.default_rng(0))
    np.testing.assert_allclose(same, np.clip(x, -LIMIT, LIMIT))


def test_a_shift_is_what_two_sounds_differ_by() -> None:
    x = np.zeros((40, N_FEATURES), np.float32)
    y = x.copy()
    y[:, 5] = 1.0
    shifts = font_shifts([x, y, x], ["a", "a", "b"])
    assert shifts.shape == (1, N_FEATURES)
    assert shifts[0, 5] == 1.0
    assert np.count_nonzero(shifts) == 1
    moved = augment(x, replace(QUIET, font_shift=1.0), shifts, np.random.default_rng(0))
    assert np.flatnonzero(moved[0]).tolist() == [5]
    assert font_shifts([x], ["a"]).shape == (0, N_FEATURES)


def test_augmented_features_stay_within_the_limit() -> None:
    x = example("a", 0).features * 3.0
    moved = augment(
        x, Augmentation(offset=2.0), np.zeros((0, N_FEATURES), np.float32), np.random.default_rng(0)
    )
    assert np.abs(moved).max() <= LIMIT
    assert moved.dtype == np.float32


def test_labels_are_smoothed_and_shared_with_the_teacher() -> None:
    data = [example("a", 0), example("b", 2)]
    config = TrainConfig(label_smoothing=0.2, distil=0.5, graded=0.0)
    found = labels(data, {"b": np.array([0.0, 0.0, 0.0, 1.0], np.float32)}, config)
    np.testing.assert_allclose(found, [[0.85, 0.05, 0.05, 0.05], [0.025, 0.025, 0.425, 0.525]], atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-6)


def test_the_notes_grade_the_arousal_of_a_label_and_leave_its_valence() -> None:
    data = [example(f"{q}{i}", q) for q in range(4) for i in range(8)]
    plain = labels(data, {}, TrainConfig(graded=0.0))
    found = labels(data, {}, TrainConfig(graded=0.5))
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(found[:, 0] / found[:, 1], plain[:, 0] / plain[:, 1], rtol=1e-4)
    p = np.array([graded_arousal(data)[e.clip] for e in data])
    np.testing.assert_allclose(found[:, :2].sum(1), 0.5 * p + 0.5 * plain[:, :2].sum(1), atol=1e-5)


def test_a_sound_without_a_quadrant_teaches_music_and_arousal_alone() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    data = [example(f"{q}{i}", q) for q in range(4) for i in range(4)]
    n = len(data[0].features)
    for i in range(16):
        loud = np.clip(rng.normal(i % 2 * 4.0 - 2.0, 0.3, (n, 128)), -2.5, 2.5).astype(np.float32)
        arousal = np.full(n, float(i % 2), np.float32)
        data.append(Example(f"wild{i}", loud, np.ones(n, np.float32), -1, data[0].symbolic, True, arousal))
        noise = np.zeros((n, 128), np.float32)
        data.append(Example(f"noise{i}", noise, np.ones(n, np.float32), -1, data[0].symbolic, False))
    config = TrainConfig(epochs=40, batch=16, crop=64, warm_up=8, learning_rate=1e-2, augmentation=QUIET)
    network = train(config, data)
    [wild, other] = run_clips(network, [data[17 + 1].features, data[17].features])
    assert wild[-1, slice_of("arousal")] > 0.5
    assert wild[-1, slice_of("music")] > 1.0 > -1.0 > other[-1, slice_of("music")]


def test_training_learns_repeats_and_resumes(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    data = [example(f"{q}{i}", q) for q in range(4) for i in range(8)]
    config = TrainConfig(epochs=6, batch=16, crop=64, warm_up=8, learning_rate=1e-2, augmentation=QUIET)
    network = train(config, data)
    posterior = taught([network], data)
    assert sum(posterior[e.clip].argmax() == e.quadrant for e in data) >= 30
    again = train(config, data, checkpoint=tmp_path / "c.pt", log=tmp_path / "log")
    np.testing.assert_array_equal(again.out.weight.detach(), network.out.weight.detach())
    resumed = train(config, data, checkpoint=tmp_path / "c.pt")
    np.testing.assert_array_equal(resumed.out.weight.detach(), network.out.weight.detach())
    assert len((tmp_path / "log").read_text().splitlines()) == 6


def test_without_a_network_nobody_teaches() -> None:
    assert taught([], [example("a", 0)]) == {}


def test_clips_of_different_lengths_run_together_as_alone() -> None:
    torch.manual_seed(0)
    network = EmotionLstm().eval()
    clips = [example("a", 0, 30).features, example("b", 1, 70).features, example("c", 2, 50).features]
    together = run_clips(network, clips)
    for clip, found in zip(clips, together, strict=True):
        np.testing.assert_allclose(found, run_clips(network, [clip])[0], atol=1e-6)
    assert [len(x) for x in together] == [30, 70, 50]


def test_calibration_scales_and_shifts_the_clips_log_odds() -> None:
    torch.manual_seed(0)
    network = EmotionLstm().eval()
    clip = example("a", 0, 120).features
    before = clip_log_odds(run_clips(network, [clip])[0])
    after = clip_log_odds(run_clips(calibrated(network, 1.5, 0.2, -0.4), [clip])[0])
    np.testing.assert_allclose(after, 1.5 * (before + SIGNS @ [0.2, -0.4]), atol=1e-5)


def test_settings_are_read_and_unknown_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("epochs: 3\naugmentation: {noise: 0.5}\n")
    assert read_config(path).epochs == 3
    assert read_config(path).augmentation == Augmentation(noise=0.5)
    for text in ("epoch: 3\n", "augmentation: {nose: 1}\n"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="unknown; known are"):
            read_config(path)


def test_a_run_without_a_network_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"models\.emotion\.train"):
        load_run(tmp_path)


def test_the_shipped_configuration_can_be_read() -> None:
    config = read_config(Path(__file__).resolve().parents[2] / "models" / "emotion" / "emotion.yaml")
    assert not [c for c in config.conditions if c.startswith(("timgm", "opl3"))]
