"""The latency that ``check`` states is what the stages do, to the sample: dry, level and pitch.

Through the offline wiring, so card, rings, limiter and all; the decoder is one that has no memory.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import hilbert

from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.latency import algorithmic_latency, pitch_latency, total_samples
from kelly_edge.signal.highpass import CUTOFF_HZ
from kelly_edge.signal.pitch import PitchTracker
from kelly_edge.timbre.controls import Controls
from kelly_edge.timbre.voice import Voice

STATED = total_samples(algorithmic_latency(Voice.delay_samples))
STATED_PITCH = {
    delay: total_samples(pitch_latency(delay))
    for delay in (PitchTracker.quick_delay_samples, PitchTracker.delay_samples)
}
N = SAMPLE_RATE_HZ
T = np.arange(N) / SAMPLE_RATE_HZ
BRIGHT = sum(np.sin(2.0 * np.pi * 1_500.0 * k * T + k) for k in (1, 2, 3, 4))
"""The loudness filter delays what lies where its gain turns, below 1 kHz, by a few samples more."""


class AsLoud:
    """Plays a sine whose amplitude is the power heard."""

    def step(self, f0_hz: float, loudness_db: float, controls: Controls) -> None:
        controls.amplitude = 0.05 * 10.0 ** (loudness_db / 10.0)
        controls.harmonic_distribution[:] = 0.0
        controls.harmonic_distribution[0] = 1.0
        controls.noise_magnitudes[:] = 0.0

    def reset(self) -> None: ...


@pytest.fixture()
def memoryless(models: Models) -> Models:
    return replace(models, decoders=[AsLoud()])


def analytic(settings: Settings, models: Models, sound: np.ndarray) -> np.ndarray:
    """The wet answer to ``sound`` as an analytic signal."""
    return np.asarray(
        hilbert(Offline(settings, models, sound.astype(np.float32), composer=False).run().voice)
    )


def test_a_step_of_level_is_half_risen_when_check_says(settings: Settings, memoryless: Models) -> None:
    def delay(start: int) -> float:
        """Samples from the step to half the rise of what is played."""
        tone = 0.08 * np.where(np.arange(N) < start, 0.1, 1.0) * BRIGHT
        envelope = np.abs(analytic(settings, memoryless, tone))
        low, high = (
            envelope[start - 4_000 : start - 100].mean(),
            envelope[start + 4_000 : start + 9_000].mean(),
        )
        rise = envelope[start : start + 3_000]
        return float(np.interp(0.5 * (low + high), rise, np.arange(len(rise))))

    # Eight places in a hop and in the period of 32 samples.
    delays = [delay(30_000 + step) for step in range(0, HOP_SIZE + 32, 36)]
    assert np.mean(delays) == pytest.approx(STATED, abs=1.0)
    assert np.ptp(delays) < 14.0


def test_a_click_in_a_tone_is_answered_around_when_check_says(settings: Settings, memoryless: Models) -> None:
    """The centre of what a click adds to the level."""

    def centre(at: int) -> float:
        tone = 0.02 * np.sin(2.0 * np.pi * 1_500.0 * T)
        envelopes = []
        for height in (0.0, 0.5):
            tone[at] += height
            envelopes.append(np.abs(analytic(settings, memoryless, tone)))
        added = (envelopes[1] - envelopes[0])[at : at + 4_000]
        return float((np.arange(4_000) * added).sum() / added.sum())

    centres = [centre(30_000 + step) for step in range(0, HOP_SIZE, 32)]
    assert np.mean(centres) == pytest.approx(STATED, abs=1.0)


@pytest.mark.parametrize(
    ("centre_hz", "delay"),
    [(500.0, PitchTracker.quick_delay_samples), (200.0, PitchTracker.delay_samples)],
)
def test_a_glide_is_played_as_late_as_check_says(
    centre_hz: float, delay: int, settings: Settings, memoryless: Models
) -> None:
    def late(slope_hz: float) -> float:
        """Samples; what the tracker reads a hundredth of a cent sharp or flat counts as time here."""
        sung_hz = centre_hz + slope_hz * (T - T.mean())
        sung = 0.2 * np.sin(2.0 * np.pi * np.cumsum(sung_hz) / SAMPLE_RATE_HZ)
        phase = np.unwrap(np.angle(analytic(settings, memoryless, sung)))
        at = np.arange(16_000, 40_000)
        played_hz = np.gradient(phase)[at] * SAMPLE_RATE_HZ / (2.0 * np.pi)
        return float(np.mean(sung_hz[at] - played_hz) / slope_hz * SAMPLE_RATE_HZ)

    # Up and down, so that sharp and flat cancel. The tracker's high-pass holds back what lies near its edge.
    slope_hz = 0.3 * centre_hz
    # Far above its cutoff, a Butterworth of order 6 delays by its sum of 1 / Q over 2 pi f^2 / cutoff.
    damping = sum(2.0 * math.sin(math.pi * (2 * i + 1) / 12.0) for i in range(3))
    held_back = damping * CUTOFF_HZ / (2.0 * math.pi * centre_hz**2) * SAMPLE_RATE_HZ
    stated = STATED_PITCH[delay] + held_back
    assert np.mean([late(slope_hz), late(-slope_hz)]) == pytest.approx(stated, abs=1.0)
    assert held_back < 0.0005 * SAMPLE_RATE_HZ


def test_level_and_pitch_are_answered_within_32_ms_and_from_380_hz_within_20() -> None:
    quick, any_pitch = STATED_PITCH.values()
    assert 1_000.0 * max(STATED, quick) / SAMPLE_RATE_HZ <= 20.0
    assert 1_000.0 * any_pitch / SAMPLE_RATE_HZ <= 32.0
