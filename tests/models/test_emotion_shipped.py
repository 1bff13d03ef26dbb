"""The shipped emotion model: both runtimes against the float file, and the sense it makes of music."""

import importlib.util

import numpy as np
import pytest

from firmware_py.runtimes.artefacts import load, open_tflite
from firmware_py.runtimes.emotion_network import TfliteEmotion
from kelly_edge.contract import EMOTION_RATE_HZ, N_FEATURES
from kelly_edge.emotion.circumplex import clip_decision
from models.emotion.data import extract
from models.emotion.evaluate import open_network, stream

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
MAJOR = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (48, 60, 64, 67))
MINOR = ((45, 60, 64, 69), (50, 57, 62, 65), (52, 56, 62, 64), (45, 60, 64, 69))


def need(runtime: str) -> None:
    if importlib.util.find_spec(runtime) is None:
        pytest.skip(f"{runtime} is not installed")


def music(chords: tuple[tuple[int, ...], ...], chord_s: float, decay: float, n_s: float = 24.0) -> np.ndarray:
    t = np.arange(int(chord_s * 48_000)) / 48_000
    parts = []
    for i in range(int(n_s / chord_s)):
        part = np.zeros(t.size)
        for note in chords[i % len(chords)]:
            f0 = 440.0 * 2.0 ** ((note - 69) / 12)
            for h in range(1, 9):
                part += 0.04 * 0.65 ** (h - 1) * np.sin(2 * np.pi * h * f0 * t) * np.exp(-decay * t)
        parts.append(part)
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_int8_follows_the_float_file_for_ten_minutes_without_drift(runtime: str) -> None:
    need(runtime)
    clip, _ = extract(music(MAJOR, 0.4, 2.0))
    other, _ = extract(music(MINOR, 1.5, 0.8))
    n = round(600 * EMOTION_RATE_HZ)
    features = np.resize(np.concatenate([clip, other]), (n, N_FEATURES))
    wanted = stream(open_network(None, "rtneural_json"), features)
    found = stream(open_network(None, runtime), features)
    cosine = (wanted * found).sum(1) / np.linalg.norm(wanted, axis=1) / np.linalg.norm(found, axis=1)
    assert cosine.mean() >= 0.995
    assert cosine[-n // 10 :].mean() >= 0.995


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_golden_vectors_prove_the_file(runtime: str) -> None:
    need(runtime)
    network = TfliteEmotion(open_tflite(load("emotion_model"), runtime))
    x = np.random.default_rng(0).normal(0, 1, N_FEATURES).astype(np.float32)
    first = network.step(x).copy()
    assert np.abs(network.step(x) - first).max() > 1e-4, "the state must move"
    network.reset()
    np.testing.assert_array_equal(network.step(x), first)


def test_fast_bright_major_is_livelier_and_happier_than_slow_minor() -> None:
    network = open_network(None, "ai_edge_litert")
    happy = clip_decision(stream(network, extract(music(MAJOR, 0.25, 5.0))[0]))
    sad = clip_decision(stream(network, extract(music(MINOR, 2.0, 0.8))[0]))
    assert happy.valence > sad.valence
    assert happy.arousal > 0.0 > sad.arousal


def test_noise_is_not_trusted() -> None:
    network = open_network(None, "ai_edge_litert")
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(48_000 * 12).astype(np.float32) * np.float32(0.05)
    features, presence = extract(noise)
    assert clip_decision(stream(network, features), presence).confidence < 0.1


@pytest.mark.parametrize("value", [np.nan, np.inf, -4.0, 4.0])
def test_extreme_features_leave_a_usable_network(value: float) -> None:
    network = open_network(None, "ai_edge_litert")
    network.reset()
    network.step(np.full(N_FEATURES, value, np.float32))
    network.reset()
    assert np.isfinite(network.step(np.zeros(N_FEATURES, np.float32))).all()
