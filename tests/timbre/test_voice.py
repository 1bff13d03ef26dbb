"""The voice's promises: quiet on silence, noise and hum; the dry sound on time; no value that breaks it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelly_edge.contract import HOP_RATE_HZ, HOP_SIZE, N_HARMONICS, SAMPLE_RATE_HZ
from kelly_edge.signal.loudness import LoudnessMeter
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.voice import CROSS_FADE_HOPS, HUM_HOPS, MainsHum, Voice

LOUD_DB = -20.0
any_float = st.floats(allow_nan=True, allow_infinity=True)


class OneHarmonic:
    """A decoder that plays one harmonic at half of full scale, and counts."""

    def __init__(self, number: int = 1) -> None:
        self.number, self.n_steps, self.n_resets = number, 0, 0
        self.heard: tuple[float, float] = (0.0, 0.0)

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        self.n_steps += 1
        self.heard = f0_hz, loudness_db
        controls.amplitude = 0.5
        controls.harmonic_distribution[:] = 0.0
        controls.harmonic_distribution[self.number - 1] = 1.0
        controls.noise_magnitudes[:] = 0.0

    def reset(self) -> None:
        self.n_resets += 1


def answer(
    voice: Voice, n_hops: int, f0_hz: float = 440.0, confidence: float = 1.0, loudness_db: float = LOUD_DB
) -> np.ndarray:
    silence, out = np.zeros(HOP_SIZE, np.float32), np.zeros((n_hops, HOP_SIZE), np.float32)
    for row in out:
        voice.process(silence, row, f0_hz, confidence, loudness_db)
    return out.reshape(-1)


def listened(voice: Voice, sound: np.ndarray) -> np.ndarray:
    """The voice's answer to ``sound`` through the box's own ears."""
    tracker, meter = PitchTracker(), LoudnessMeter()
    hops = sound[: len(sound) // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE)
    out = np.zeros_like(hops)
    for hop, row in zip(hops, out, strict=True):
        tracker.push(hop)
        meter.push(hop)
        voice.process(hop, row, tracker.f0_hz, tracker.confidence, meter.loudness_db)
    return out.reshape(-1)


def frequency_hz(sound: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
    return float(spectrum.argmax() * SAMPLE_RATE_HZ / (1 << 17))


def test_silence_in_is_silence_out_and_asks_no_decoder() -> None:
    decoder = OneHarmonic()
    assert not listened(Voice([decoder], 0), np.zeros(SAMPLE_RATE_HZ // 2)).any()
    assert decoder.n_steps == 0


def test_a_tone_is_answered_at_its_pitch_and_noise_is_not() -> None:
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    tone = 0.3 * np.sin(2.0 * np.pi * 330.0 * t)
    noise = 0.3 * np.random.default_rng(0).normal(size=SAMPLE_RATE_HZ)
    sung = listened(Voice([OneHarmonic()], 0), tone)
    assert frequency_hz(sung[SAMPLE_RATE_HZ // 2 :]) == pytest.approx(330.0, rel=2e-3)
    assert np.abs(listened(Voice([OneHarmonic()], 0), noise)).max() < 0.02 * np.abs(sung).max()


@pytest.mark.parametrize(("confidence", "loudness_db"), [(0.4, LOUD_DB), (1.0, -70.0), (math.nan, LOUD_DB)])
def test_the_gate_closes_on_low_confidence_and_on_low_loudness(confidence: float, loudness_db: float) -> None:
    voice = Voice([OneHarmonic()], 0)
    assert not answer(voice, 50, confidence=confidence, loudness_db=loudness_db).any()
    assert np.abs(answer(voice, 50)).max() == pytest.approx(0.5, abs=1e-3)
    answer(voice, 100, confidence=0.0, loudness_db=loudness_db)
    assert not answer(voice, 10, confidence=0.0, loudness_db=loudness_db).any()


def test_an_open_gate_holds_through_a_dip_that_would_not_open_it() -> None:
    voice = Voice([OneHarmonic()], 0)
    answer(voice, 50, confidence=1.0)
    held = answer(voice, 50, confidence=0.9 * voice.gate_confidence)
    assert np.abs(held[-HOP_SIZE:]).max() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("dry_wet", [0.0, -3.0])
def test_the_dry_sound_arrives_late_by_exactly_the_stated_delay(dry_wet: float) -> None:
    voice = Voice([OneHarmonic()], 0)
    voice.dry_wet = dry_wet
    sound = np.random.default_rng(1).uniform(-1.0, 1.0, 20 * HOP_SIZE).astype(np.float32)
    out = np.zeros_like(sound)
    for start in range(0, len(sound), HOP_SIZE):
        hop = slice(start, start + HOP_SIZE)
        voice.process(sound[hop], out[hop], 440.0, 1.0, LOUD_DB)
    assert np.array_equal(out[voice.delay_samples :], sound[: -voice.delay_samples])
    assert not out[: voice.delay_samples].any()


@pytest.mark.parametrize(("turned_from", "turned_to"), [(0.0, 1.0), (1.0, 0.0), (0.7, 0.2)])
def test_turning_dry_wet_at_once_clicks_nowhere_and_arrives(turned_from: float, turned_to: float) -> None:
    """A dry and a wet sine: a click would be a second difference larger than theirs."""
    f0_hz, n_hops = 375.0, 60
    t = np.arange(n_hops * HOP_SIZE) / SAMPLE_RATE_HZ
    dry = np.cos(2.0 * np.pi * f0_hz * t).astype(np.float32).reshape(n_hops, HOP_SIZE)

    def played(after: float) -> np.ndarray:
        voice = Voice([OneHarmonic()], 0)
        voice.dry_wet, out = turned_from, np.zeros_like(dry)
        for i in range(n_hops):
            if i == 40:
                voice.dry_wet = after
            voice.process(dry[i], out[i], f0_hz, 1.0, LOUD_DB)
        return out[30:].reshape(-1).astype(float)

    turned, left = played(turned_to), played(turned_from)
    own = 1.5 * (2.0 * np.pi * f0_hz / SAMPLE_RATE_HZ) ** 2
    assert np.abs(np.diff(turned, 2)).max() < 1.1 * own
    assert np.array_equal(turned[: 10 * HOP_SIZE], left[: 10 * HOP_SIZE])
    voice = Voice([OneHarmonic()], 0)
    voice.dry_wet = turned_to
    wanted = np.zeros_like(dry)
    for hop, row in zip(dry, wanted, strict=True):
        voice.process(hop, row, f0_hz, 1.0, LOUD_DB)
    assert np.array_equal(turned[-12 * HOP_SIZE :], wanted[-12:].reshape(-1))


def test_an_onset_sounds_when_the_delay_says() -> None:
    """The wet sound of a tone that begins is half risen ``delay_samples`` after, within a hop."""
    t = np.arange(SAMPLE_RATE_HZ // 2) / SAMPLE_RATE_HZ
    tone = np.where(t >= 0.25, 0.3 * np.sin(2.0 * np.pi * 1_000.0 * t), 0.0)

    class Follows(OneHarmonic):
        def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
            super().step(f0_hz, loudness_db, controls)
            controls.amplitude = 10.0 ** (loudness_db / 20.0) / 10.0

    voice = Voice([Follows()], 0)
    voice.gate_confidence = 0.0
    wet = listened(voice, tone)
    power = np.convolve(wet.astype(float) ** 2, np.ones(48) / 48, "same")
    half = int(np.argmax(power > 0.25 * power[-HOP_SIZE * 4 :].mean()))
    assert half == pytest.approx(SAMPLE_RATE_HZ // 4 + voice.delay_samples, abs=2 * HOP_SIZE)


def test_a_change_of_voice_fades_without_a_click_and_without_a_gap() -> None:
    voice = Voice([OneHarmonic(1), OneHarmonic(3)], 0)
    before = answer(voice, 50, 300.0)
    voice.voice_index = 1
    sound = np.concatenate([before, answer(voice, CROSS_FADE_HOPS + 50, 300.0)]).astype(float)
    steady = sound[40 * HOP_SIZE :]
    own = 0.5 * (2.0 * np.pi * 900.0 / SAMPLE_RATE_HZ) ** 2
    assert np.abs(np.diff(steady, 2)).max() < 1.1 * own
    assert frequency_hz(sound[-40 * HOP_SIZE :]) == pytest.approx(900.0, abs=1.0)
    peaks = np.abs(steady[: len(steady) // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE)).max(axis=1)
    assert peaks.min() > 0.3


def test_half_way_through_a_change_both_voices_sound_at_half_their_level() -> None:
    voice = Voice([OneHarmonic(1), OneHarmonic(3)], 0)
    answer(voice, 50, 375.0)  # two periods a hop
    voice.voice_index = 1
    hops = answer(voice, CROSS_FADE_HOPS, 375.0).reshape(-1, HOP_SIZE)
    levels = np.abs(np.fft.rfft(hops))[:, [2, 6]] * 2.0 / HOP_SIZE
    assert levels[CROSS_FADE_HOPS // 2] == pytest.approx([0.25, 0.25], abs=0.02)
    np.testing.assert_allclose(levels.sum(axis=1), 0.5, atol=0.02)


def test_the_voice_left_is_asked_no_more_after_the_fade() -> None:
    first, second = OneHarmonic(), OneHarmonic()
    voice = Voice([first, second], 0)
    answer(voice, 10)
    voice.voice_index = 1
    answer(voice, 100)
    assert first.n_steps == 10 + CROSS_FADE_HOPS
    assert second.n_steps == 100


def test_the_octave_shifts_what_is_played() -> None:
    decoder = OneHarmonic()
    voice = Voice([decoder], 0)
    for octave, expected_hz in ((-2, 110.0), (1, 880.0), (9, 1_760.0)):
        voice.octave = octave
        answer(voice, 2)
        assert decoder.heard[0] == expected_hz


def test_brightness_moves_power_to_higher_harmonics_and_keeps_the_level() -> None:
    class Even(OneHarmonic):
        def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
            super().step(f0_hz, loudness_db, controls)
            controls.harmonic_distribution[:2] = 0.5

    def shares(brightness: float) -> tuple[float, float]:
        voice = Voice([Even()], 0)
        voice.brightness = brightness
        sound = answer(voice, 80, 375.0).astype(float)[-32 * HOP_SIZE :]  # whole periods
        spectrum = np.abs(np.fft.rfft(sound)) * 2.0 / len(sound)
        return spectrum[len(sound) * 375 // SAMPLE_RATE_HZ], spectrum[len(sound) * 750 // SAMPLE_RATE_HZ]

    for brightness, ratio_db in ((0.0, 0.0), (1.0, 6.0), (-1.0, -6.0)):
        low, high = shares(brightness)
        assert 20.0 * math.log10(high / low) == pytest.approx(ratio_db, abs=0.05)
        assert low + high == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("index", [-1, 2, 127, -128])
def test_a_voice_that_does_not_exist_changes_nothing(index: int) -> None:
    voice = Voice([OneHarmonic(1), OneHarmonic(2)], 0)
    voice.voice_index = index
    voice.reset()
    assert np.abs(answer(voice, 30)).max() == pytest.approx(0.5, abs=1e-3)
    voice.voice_index = index
    assert np.abs(answer(voice, 30)).max() == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(any_float, any_float, any_float, any_float, any_float, st.tuples(any_float, any_float, any_float))
def test_whatever_is_set_and_heard_the_sound_is_finite_and_bounded(
    octave: float,
    brightness: float,
    dry_wet: float,
    gate_confidence: float,
    gate_db: float,
    heard: tuple[float, float, float],
) -> None:
    voice = Voice([OneHarmonic()], 0)
    voice.octave, voice.brightness, voice.dry_wet = octave, brightness, dry_wet  # type: ignore[assignment]
    voice.gate_confidence, voice.gate_db = gate_confidence, gate_db
    hop = np.array([np.nan, np.inf, -np.inf, 1.0] * (HOP_SIZE // 4), np.float32)
    out = np.zeros(HOP_SIZE, np.float32)
    for what in (heard, (440.0, 1.0, LOUD_DB), heard, (440.0, 1.0, LOUD_DB)) * 2:
        voice.process(hop, out, *what)
        assert np.all(np.isfinite(out))
        assert np.abs(out).max() <= 1.0 + 0.5


def hum(seconds: float, f0_hz: float, level: float = 0.2) -> np.ndarray:
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return level * sum(np.sin(2.0 * np.pi * k * f0_hz * t + k) / k for k in (1, 2, 3, 4))


@pytest.mark.parametrize("mains_hz", [50.02, 59.97, 100.04, 120.0])
def test_mains_hum_falls_quiet_and_stays_so(mains_hz: float) -> None:
    noise = 0.002 * np.random.default_rng(0).normal(size=4 * SAMPLE_RATE_HZ)
    sound = listened(Voice([OneHarmonic(8)], 0), hum(4.0, mains_hz) + noise)
    assert np.abs(sound[:SAMPLE_RATE_HZ]).max() > 0.3
    assert np.abs(sound[round(2.5 * SAMPLE_RATE_HZ) :]).max() < 1e-3


@pytest.mark.parametrize("f0_hz", [48.9994, 51.9131, 58.2705, 61.7354, 97.9989, 116.5409, 123.4708])
def test_a_steady_low_note_next_to_the_mains_keeps_sounding(f0_hz: float) -> None:
    sound = listened(Voice([OneHarmonic(8)], 0), hum(3.0, f0_hz))
    assert np.abs(sound[-SAMPLE_RATE_HZ // 2 :]).max() > 0.4


def test_a_bass_note_begun_in_hum_is_answered_at_once_though_it_lies_on_the_mains() -> None:
    ear = MainsHum()
    heard = [ear.hears(50.0, -30.0) for _ in range(HUM_HOPS + 200)]
    assert heard[-1] and not any(heard[: HUM_HOPS - 1])
    assert not ear.hears(50.0, -23.0)
    assert not ear.hears(65.4, -30.0)
    # A knock does not make the hum heard again.
    assert [ear.hears(50.0, -30.0) for _ in range(40)][-1]


def test_vibrato_around_the_mains_is_a_player() -> None:
    ear = MainsHum()
    hops = range(round(4.0 * HOP_RATE_HZ))
    cents = [14.0 * math.sin(2.0 * math.pi * 5.0 * i / HOP_RATE_HZ) for i in hops]
    assert not any(ear.hears(100.0 * 2.0 ** (c / 1_200.0), -30.0) for c in cents)


def test_a_note_repeated_on_the_mains_is_a_player() -> None:
    ear = MainsHum()
    beat = itertools.chain.from_iterable([[50.0] * 60 + [0.0] * 30] * 20)
    assert not any(ear.hears(f0_hz, -30.0) for f0_hz in beat)


@pytest.mark.parametrize("f0_hz", [5e-324, 1.8e308, math.inf, math.nan, -1.0])
def test_no_frequency_breaks_the_voice(f0_hz: float) -> None:
    sound = answer(Voice([OneHarmonic()], 0), 300, f0_hz=f0_hz)
    assert np.all(np.isfinite(sound))
    assert np.abs(sound).max() <= 0.5


def test_a_reset_makes_the_voice_answer_as_new() -> None:
    voice = Voice([OneHarmonic(N_HARMONICS // 8)], 0)
    first = answer(voice, 30)
    voice.reset()
    assert np.array_equal(first, answer(voice, 30))
