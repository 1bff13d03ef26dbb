"""The 128 features: the table, and what the extractor hears."""

import tracemalloc

import numpy as np
import pytest

from kelly_edge.contract import HOP_SIZE, N_FEATURES, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import FEATURES, LIMIT, FeatureExtractor

N_GROUP = HOP_SIZE * 16
TONAL = slice(next(s.start for s in FEATURES if s.name == "degree_chroma_15s"), N_FEATURES)
C_MAJOR = ((48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 62, 67), (48, 60, 64, 67))
A_MINOR = ((45, 60, 64, 69), (50, 57, 62, 65), (52, 59, 64, 68), (45, 60, 64, 69))


@pytest.fixture(scope="module")
def extractor() -> FeatureExtractor:
    return FeatureExtractor()


def chords(
    progression: tuple[tuple[int, ...], ...], n_s: float, shift: int = 0, chord_s: float = 0.5
) -> np.ndarray:
    """Decaying harmonic tones, a chord each ``chord_s``."""
    n = int(chord_s * SAMPLE_RATE_HZ)
    t = np.arange(n) / SAMPLE_RATE_HZ
    parts = []
    for i in range(int(n_s / chord_s)):
        part = np.zeros(n)
        for note in progression[i % len(progression)]:
            f0 = 440.0 * 2.0 ** ((note + shift - 69) / 12)
            for h in range(1, 7):
                part += 0.05 * 0.6 ** (h - 1) * np.sin(2 * np.pi * h * f0 * t) * np.exp(-3.0 * t)
        parts.append(part)
    return np.concatenate(parts).astype(np.float32)


def run(extractor: FeatureExtractor, audio: np.ndarray) -> np.ndarray:
    extractor.reset()
    hops = audio[: audio.size // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE)
    return np.array([extractor.features.copy() for hop in hops if extractor.push(hop)])


def test_the_table_covers_every_feature_once() -> None:
    owners = np.zeros(N_FEATURES, int)
    for spec in FEATURES:
        owners[spec.slice] += 1
        assert spec.unit
        assert spec.source
        assert spec.scale > 0
    assert (owners == 1).all()
    assert len({spec.name for spec in FEATURES}) == len(FEATURES)


def test_a_group_is_sixteen_hops(extractor: FeatureExtractor) -> None:
    extractor.reset()
    fresh = [extractor.push(np.zeros(HOP_SIZE, np.float32)) for _ in range(48)]
    assert [i for i, f in enumerate(fresh) if f] == [15, 31, 47]


def test_it_names_key_and_mode(extractor: FeatureExtractor) -> None:
    run(extractor, chords(C_MAJOR, 12))
    assert (extractor.tonic, extractor.mode) == (0, 1)
    run(extractor, chords(A_MINOR, 12))
    assert (extractor.tonic, extractor.mode) == (9, 0)
    run(extractor, chords(C_MAJOR, 12, shift=3))
    assert (extractor.tonic, extractor.mode) == (3, 1)


def test_tonal_features_ignore_transposition(extractor: FeatureExtractor) -> None:
    here = run(extractor, chords(C_MAJOR, 12))[-20:, TONAL].mean(0)
    there = run(extractor, chords(C_MAJOR, 12, shift=5))[-20:, TONAL].mean(0)
    minor = run(extractor, chords(A_MINOR, 12))[-20:, TONAL].mean(0)
    assert np.abs(here - there).mean() < 0.25 * np.abs(here - minor).mean()


@pytest.mark.parametrize("gain_db", [-24.0, -12.0, 6.0])
def test_gain_changes_no_feature(extractor: FeatureExtractor, gain_db: float) -> None:
    audio = chords(C_MAJOR, 6)
    plain = run(extractor, audio)
    level = extractor.level_db
    loud = run(extractor, audio * np.float32(10 ** (gain_db / 20)))
    assert np.abs(plain - loud).max() < 0.15
    assert extractor.level_db - level == pytest.approx(gain_db, abs=0.01)


def test_tempo_and_density_of_a_steady_pulse(extractor: FeatureExtractor) -> None:
    run(extractor, chords(C_MAJOR, 14, chord_s=0.5))
    assert extractor.tempo_bpm == pytest.approx(120, rel=0.04)
    assert extractor.density_hz == pytest.approx(2.0, abs=0.4)


def test_silence_and_noise_are_not_music(extractor: FeatureExtractor) -> None:
    rng = np.random.default_rng(0)
    run(extractor, chords(C_MAJOR, 8))
    assert extractor.presence > 0.8
    run(extractor, np.zeros(N_GROUP * 60))
    assert extractor.presence == 0.0
    assert extractor.level_db == -120.0
    assert (extractor.tonic, extractor.mode, extractor.tempo_bpm) == (-1, -1, 0.0)
    run(extractor, 0.1 * rng.standard_normal(N_GROUP * 60))
    assert extractor.presence < 0.1
    brown = np.cumsum(rng.standard_normal(N_GROUP * 60))
    run(extractor, 0.001 * (brown - np.linspace(brown[0], brown[-1], brown.size)))
    assert extractor.presence < 0.1


def test_mains_hum_is_hardly_music(extractor: FeatureExtractor) -> None:
    t = np.arange(N_GROUP * 100) / SAMPLE_RATE_HZ
    run(extractor, 0.02 * sum(np.sin(2 * np.pi * f * t) for f in (50, 100, 200, 400)))
    assert extractor.presence <= 0.3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 0.0, 1e-40, 1.0])
def test_any_float_gives_finite_bounded_features(extractor: FeatureExtractor, value: float) -> None:
    rng = np.random.default_rng(1)
    extractor.reset()
    for i in range(96):
        hop = rng.uniform(-1, 1, HOP_SIZE).astype(np.float32)
        hop[rng.integers(0, HOP_SIZE, 50 if i % 3 else HOP_SIZE)] = value
        if extractor.push(hop):
            assert np.isfinite(extractor.features).all()
            assert np.abs(extractor.features).max() <= LIMIT
            assert 0.0 <= extractor.presence <= 1.0
            assert np.isfinite(extractor.level_db)


def test_it_recovers_from_a_bad_hop(extractor: FeatureExtractor) -> None:
    audio = chords(C_MAJOR, 10)
    good = run(extractor, audio)
    audio[1_000:1_100] = np.nan
    hurt = run(extractor, audio)
    assert np.abs(good[-1] - hurt[-1]).mean() < 0.1


def test_streams_repeat_exactly_and_look_at_no_later_sample(extractor: FeatureExtractor) -> None:
    audio = chords(A_MINOR, 5)
    whole = run(extractor, audio)
    np.testing.assert_array_equal(whole, run(extractor, audio))
    np.testing.assert_array_equal(whole[:30], run(extractor, audio[: N_GROUP * 30]))
    np.testing.assert_array_equal(whole[:30], run(FeatureExtractor(), audio[: N_GROUP * 30]))


def test_steps_leave_no_memory_behind(extractor: FeatureExtractor) -> None:
    hop = chords(C_MAJOR, 1)[:HOP_SIZE].copy()
    for _ in range(64):
        extractor.push(hop)
    grown = []
    # A leak grows every time; a thread that another test left behind does not.
    for _ in range(3):
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(640):
            extractor.push(hop)
        grown.append(tracemalloc.get_traced_memory()[0] - before)
        tracemalloc.stop()
    assert min(grown) < 4_096


def test_delay_is_that_of_the_window_and_the_filter(extractor: FeatureExtractor) -> None:
    assert extractor.delay_samples == pytest.approx(8_192 + 50, abs=1)


def repeated(velocities: np.ndarray, note_s: float = 0.25) -> np.ndarray:
    """A decaying tone struck with these velocities, 40 dB a decade as in General MIDI."""
    t = np.arange(int(note_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    parts = []
    for velocity in velocities:
        tone = sum(0.6 ** (h - 1) * np.sin(2 * np.pi * h * 261.6 * t) for h in range(1, 7))
        parts.append(0.2 * (velocity / 127.0) ** 2 * tone * np.exp(-4.0 * t))
    return np.concatenate(parts).astype(np.float32)


def heard(extractor: FeatureExtractor, audio: np.ndarray, name: str) -> float:
    """The feature in its own unit, at the end."""
    spec = next(s for s in FEATURES if s.name == name)
    return float(run(extractor, audio)[-1, spec.start]) * spec.scale + spec.centre


@pytest.mark.parametrize("name", ["onset_level_spread_db", "attack_level_spread_db", "note_level_step_db"])
def test_a_soft_touch_is_uneven_in_level_whatever_the_gain(extractor: FeatureExtractor, name: str) -> None:
    touch = np.random.default_rng(0).normal(0.0, 16.0, 64)
    loud, soft = (repeated(np.clip(mean + touch, 8.0, 127.0)) for mean in (95.0, 40.0))
    unevenly = heard(extractor, soft, name)
    assert unevenly > heard(extractor, loud, name) + 0.5
    assert heard(extractor, 0.25 * soft, name) == pytest.approx(unevenly, abs=0.2)


def test_attacks_count_notes(extractor: FeatureExtractor) -> None:
    few, many = (
        heard(extractor, repeated(np.full(round(12 / s), 80.0), s), "attack_rate") for s in (0.6, 0.2)
    )
    assert many == pytest.approx(3.0 * few, rel=0.1)
