"""What nobody hears must not change what is heard: the tuning, rumble below 30 Hz, DC."""

from functools import cache

import numpy as np
import pytest

from firmware_py.runtimes.artefacts import load
from firmware_py.runtimes.emotion_network import TfliteEmotion
from firmware_py.runtimes.tflite import TfliteStep
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.emotion.circumplex import Circumplex, EmotionEstimate
from kelly_edge.emotion.features import FeatureExtractor

CHORDS = {
    1: ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
    0: ((0, 3, 7), (5, 8, 12), (7, 10, 14), (0, 3, 7)),
}
A3 = 57
LENGTH_S = 16.0


def piece(mode: int, cents: float = 0.0, drift_cents: float = 0.0) -> np.ndarray:
    """Broken chords in A on a struck string, ``cents`` off 440 Hz, ``drift_cents`` more at the end."""
    rng = np.random.default_rng(0)
    audio = np.zeros(round(LENGTH_S * SAMPLE_RATE_HZ), np.float32)
    t = np.arange(round(0.9 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    for beat, at in enumerate(np.arange(0.0, LENGTH_S - 1.0, 0.6)):
        chord = CHORDS[mode][beat % 4]
        off = cents + drift_cents * at / LENGTH_S
        for step in (*chord, chord[0] - 12, chord[beat % 3] + 12):
            f_hz = 440.0 * 2.0 ** ((A3 + step - 69 + off / 100.0) / 12.0)
            phases = rng.uniform(0.0, 6.28, 8)
            partials = [0.6**h * np.sin(2.0 * np.pi * f_hz * h * t + phases[h - 1]) for h in range(1, 9)]
            start = round(at * SAMPLE_RATE_HZ)
            audio[start : start + t.size] += (0.1 * np.exp(-2.5 * t) * sum(partials)).astype(np.float32)
    return audio


@cache
def tuned(mode: int) -> tuple[FeatureExtractor, EmotionEstimate]:
    """What is heard at A = 440 Hz."""
    return heard(piece(mode))


def heard(audio: np.ndarray) -> tuple[FeatureExtractor, EmotionEstimate]:
    artefact = load("emotion_model")
    network = TfliteEmotion(TfliteStep(artefact.content, "ai_edge_litert", artefact.state))
    network.reset()
    extractor, circumplex = FeatureExtractor(), Circumplex()
    for hop in audio[: audio.size // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE):
        if extractor.push(hop):
            estimate = circumplex.update(network.step(extractor.features), extractor.presence)
    return extractor, estimate


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("cents", [-49, -32, 10, 25, 40, 49])
def test_any_tuning_gives_the_nearest_key_the_same_mode_and_valence(mode: int, cents: int) -> None:
    extractor, estimate = heard(piece(mode, cents))
    assert (extractor.mode, tuned(mode)[0].mode) == (mode, mode)
    # At the border between two keys either name is right.
    nearest = {9} if abs(cents) < 45 else {9, 9 + int(np.sign(cents))}
    assert extractor.tonic in nearest
    assert estimate.valence == pytest.approx(tuned(mode)[1].valence, abs=0.1)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_slow_drift_of_the_tuning_is_followed_through_the_border_between_two_keys(mode: int) -> None:
    extractor, estimate = heard(piece(mode, 0.0, 90.0))
    assert (extractor.tonic, extractor.mode) == (10, mode)
    assert np.sign(estimate.valence) == np.sign(tuned(mode)[1].valence)


@pytest.mark.parametrize("what", ["rumble at the music's level", "DC of .02", "DC of -.2", "rumble and DC"])
def test_rumble_and_dc_do_not_move_the_emotion(what: str) -> None:
    audio = piece(0)
    t = np.arange(audio.size) / SAMPLE_RATE_HZ
    rumble = np.sqrt(2.0) * audio.std() * np.sin(2.0 * np.pi * 20.0 * t)
    added = {
        "rumble at the music's level": rumble,
        "DC of .02": np.full(audio.size, 0.02),
        "DC of -.2": np.full(audio.size, -0.2),
        "rumble and DC": rumble + 0.1,
    }[what]
    clean, dirty = tuned(0), heard(audio + added.astype(np.float32))
    assert dirty[1].valence == pytest.approx(clean[1].valence, abs=0.1)
    assert dirty[1].arousal == pytest.approx(clean[1].arousal, abs=0.1)
    assert dirty[0].presence > clean[0].presence - 0.05
