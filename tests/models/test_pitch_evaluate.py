"""The comparison of pitch trackers: sounds of known pitch, and scores that tell good from bad."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="the sounds come from the workshop, which needs torch (extra: train)")

from kelly_edge.contract import F0_MAX_HZ, F0_MIN_HZ, SAMPLE_RATE_HZ
from kelly_edge.units import midi_to_hz
from models.timbre import pitch_evaluate
from models.timbre.data import FONT
from models.timbre.pitch_evaluate import Heard, judge
from models.timbre.pitch_sounds import PLAYERS, KnownSound, known_sounds, line, noisy, played_again, rendered

needs_font = pytest.mark.skipif(
    not (FONT.is_file() and shutil.which("fluidsynth")),
    reason="fluidsynth and fluid-soundfont-gm are not here",
)
N = 2 * SAMPLE_RATE_HZ
T_S = np.arange(N) / SAMPLE_RATE_HZ


def sung() -> KnownSound:
    """A line of two notes and a rest."""
    f0_hz = np.where(T_S < 0.8, 220.0, 330.0)
    f0_hz[T_S >= 1.5] = 0.0
    return KnownSound("flute", np.sin(2.0 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ) * (f0_hz > 0.0), f0_hz)


def says(f0_hz: np.ndarray, voiced: np.ndarray) -> Heard:
    return Heard(T_S[::256], f0_hz[::256], voiced[::256], 1e-4)


def score(f0_hz: np.ndarray, voiced: np.ndarray) -> dict[str, float]:
    known = sung()
    return pitch_evaluate._score([judge(known, known.sound, lambda sound: says(f0_hz, voiced))])


def test_a_tracker_that_says_what_is_sung_is_perfect() -> None:
    known = sung()
    told = score(known.f0_hz, known.f0_hz > 0.0)
    assert told["median_cents"] < 1e-9
    assert told["within_50"] == told["within_50_all"] == told["voicing_recall"] == 1.0
    assert told["voicing_false_alarm"] < 0.01


def test_one_a_quarter_tone_sharp_or_without_rests_is_told_so() -> None:
    known = sung()
    sharp = score(np.where(known.f0_hz > 0.0, known.f0_hz * 2.0**0.05, 200.0), np.ones(N, bool))
    assert sharp["median_cents"] == pytest.approx(60.0)
    assert sharp["within_50"] == 0.0
    assert sharp["voicing_false_alarm"] == 1.0
    slightly = score(known.f0_hz * 2.0 ** (20.0 / 1_200.0), known.f0_hz > 0.0)
    assert slightly["median_cents"] == pytest.approx(20.0)
    assert slightly["within_50"] == 1.0


def test_one_that_finds_no_pitch_is_wrong_there() -> None:
    known = sung()
    half = np.where(T_S < 0.8, known.f0_hz, 0.0)
    told = score(half, half > 0.0)
    assert 0.4 < told["within_50_all"] < 0.6
    assert 0.4 < told["voicing_recall"] < 0.6


def test_the_box_s_tracker_hears_what_is_sung() -> None:
    known = sung()
    told = pitch_evaluate._score([judge(known, known.sound, pitch_evaluate.box)])
    assert told["median_cents"] < 1.0
    assert told["within_50"] == 1.0
    assert told["voicing_recall"] > 0.95


def test_a_line_stays_in_its_player_s_range_and_phrases_are_apart() -> None:
    for player in PLAYERS.values():
        _, written = line(player, seed=3, seconds=10.0)
        starts, ends, notes = (np.array(column) for column in zip(*written, strict=True))
        assert notes.min() >= player.low and notes.max() <= player.high
        gaps = starts[1:] - ends[:-1]
        assert set(np.round(gaps, 3)) == {0.0, 1.0}


def test_a_line_played_again_has_the_pitch_it_is_said_to_have() -> None:
    """Against the phase of its first harmonic: nothing but that pitch was played."""
    score_hz = np.where(T_S < 1.0, 440.0, 0.0)
    mistuned = 440.0 * 2.0 ** (17.0 / 1_200.0)
    again, f0_hz = played_again(0.5 * np.sin(2.0 * np.pi * mistuned * T_S), score_hz)
    middle = slice(10_000, 40_000)
    np.testing.assert_allclose(f0_hz[middle], mistuned, rtol=1e-4)
    assert not f0_hz[T_S >= 1.0].any()
    spectrum = np.abs(np.fft.rfft(again[middle] * np.hanning(30_000), 1 << 18))
    assert spectrum.argmax() * SAMPLE_RATE_HZ / (1 << 18) == pytest.approx(mistuned, abs=0.1)


def test_noise_has_the_power_of_the_sound() -> None:
    known = sung()
    noise = noisy(known.sound, 1) - known.sound
    assert noise.std() == pytest.approx(known.sound.std(), rel=0.02)


def test_synthesised_sounds_reach_over_the_tracker_s_range() -> None:
    sounds = list(known_sounds(frozenset({"notes", "vibrato"})))
    reached = np.concatenate([[s.f0_hz.min(), s.f0_hz.max()] for s in sounds])
    assert reached.min() == pytest.approx(F0_MIN_HZ, rel=0.01)
    assert reached.max() == pytest.approx(F0_MAX_HZ, rel=0.01)


@needs_font
def test_a_rendered_line_sounds_where_its_score_says() -> None:
    sound, f0_hz = rendered(PLAYERS["flute"], seed=0, seconds=3.0)
    voiced = f0_hz > 0.0
    assert np.sqrt(np.mean(sound[voiced] ** 2)) > 10.0 * np.sqrt(np.mean(sound[f0_hz == 0.0] ** 2) + 1e-12)
    steps = np.unique(f0_hz[voiced])
    assert np.allclose(steps, [midi_to_hz(round(12.0 * np.log2(f / 440.0) + 69.0)) for f in steps])


def test_the_comparison_prints_json_with_intervals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pitch_evaluate, "N_BOOTSTRAP", 50)
    assert pitch_evaluate.main(["--kind", "notes", "--tracker", "box", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for condition, least in (("clean", 0.99), ("0 dB", 0.97)):
        cell = told["box"][condition]
        assert cell["median_cents"]["value"] <= 6.0
        assert cell["within_50"]["ci95"][0] >= least
        assert cell["cost_us"] > 0.0
