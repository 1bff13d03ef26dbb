"""The whole instrument on recordings, through the same stages as the box."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_py.commands.demo import demo_recording
from firmware_py.devices.files.audio_file import read_audio
from firmware_py.settings import Settings
from firmware_py.wiring.offline import Models, Offline, Performance
from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.music.envelope import DENSITY_WINDOW_S
from kelly_edge.units import db_to_gain

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CLIPS = sorted((DATA / "clips").glob("*.*")) if DATA.exists() else []
SHORT_S = 8


def emotions(performance: Performance) -> list[dict[str, Any]]:
    return [e for e in performance.session if e["kind"] == "emotion"]


def counters(performance: Performance, process: str) -> dict[str, int]:
    (entry,) = (e for e in performance.session if e["kind"] == "counters" and e["process"] == process)
    return entry


def assert_within_the_envelope(notes: np.ndarray, settings: Settings) -> None:
    limits = settings.envelope
    assert np.all((notes["pitch"] >= limits.pitch_min) & (notes["pitch"] <= limits.pitch_max))
    assert np.all((notes["velocity"] >= 1) & (notes["velocity"] <= limits.velocity_max))
    onsets = notes["onset_s"]
    for onset in onsets:
        assert np.sum((onsets > onset - DENSITY_WINDOW_S) & (onsets <= onset)) <= limits.density_max_hz
        sounding = (onsets <= onset) & (onsets + notes["duration_s"] > onset + 1e-4)
        assert np.sum(sounding) <= limits.polyphony_max


def test_the_demo_plays_notes_and_voice_within_the_limits(
    demo_performance: Performance, settings: Settings
) -> None:
    notes = demo_performance.notes
    assert len(notes) > 100
    assert_within_the_envelope(notes, settings)
    peak = np.max(np.abs(demo_performance.voice))
    assert 0.01 < peak <= db_to_gain(-1.0)


def test_every_note_on_is_matched_by_a_note_off(demo_performance: Performance) -> None:
    midi = counters(demo_performance, "midi")
    assert midi["n_note_ons"] == midi["n_note_offs"] == len(demo_performance.notes)
    assert midi["n_stale"] == midi["n_late"] == 0


def test_nothing_is_lost_between_the_stages(demo_performance: Performance) -> None:
    assert counters(demo_performance, "dsp")["n_blocks_dropped"] == 0
    assert counters(demo_performance, "audio")["n_late_blocks"] == 0
    assert counters(demo_performance, "composer")["n_notes_dropped"] == 0


def test_the_same_seed_gives_the_same_performance_and_another_seed_another(
    settings: Settings, models: Models, demo_samples: np.ndarray
) -> None:
    samples = demo_samples[: 12 * SAMPLE_RATE_HZ]

    def play(seed: int) -> Performance:
        seeded = replace(settings, composer=replace(settings.composer, seed=seed))
        return Offline(seeded, models, samples).run()

    first, second, other = play(5), play(5), play(6)
    np.testing.assert_array_equal(first.notes, second.notes)
    np.testing.assert_array_equal(first.voice, second.voice)
    assert first.session == second.session
    assert not np.array_equal(first.notes, other.notes)


def test_the_target_crosses_over_when_the_music_turns_from_sad_to_happy(
    demo_performance: Performance,
) -> None:
    heard = emotions(demo_performance)
    sad = [e["target"] for e in heard if 20.0 < e["time_s"] < 36.0]
    happy = [e["target"] for e in heard if e["time_s"] > 60.0]
    for name in ("valence", "arousal"):
        assert max(t[name] for t in sad) < min(t[name] for t in happy)
    assert np.mean([t["arousal"] for t in sad]) < 0.0 < np.mean([t["arousal"] for t in happy])
    assert np.mean([t["valence"] for t in sad]) < 0.0 < np.mean([t["valence"] for t in happy])


def heard_until(notes: np.ndarray, time_s: float) -> np.ndarray:
    """What was struck up to then, as far as it has sounded: a pitch struck again later ends it sooner."""
    struck = notes[notes["onset_s"] <= time_s].copy()
    struck["duration_s"] = np.minimum(struck["duration_s"], time_s - struck["onset_s"])
    return struck


def test_a_changed_target_is_heard_within_one_bar_of_the_replan_boundary(
    settings: Settings, models: Models, demo_samples: np.ndarray
) -> None:
    samples = demo_samples[20 * SAMPLE_RATE_HZ : 32 * SAMPLE_RATE_HZ]
    turn_s = 6.0

    def play(arousal_knob: float) -> np.ndarray:
        offline = Offline(settings, models, samples)

        def turn_the_knob(n_hops: int) -> None:
            if offline.clock.time_s >= turn_s and offline.control.knobs["arousal"] != np.float32(
                arousal_knob
            ):
                offline.control.turn(offline.clock.time_s, arousal=arousal_knob)

        return offline.run(after_hop=turn_the_knob).notes

    plain, turned = play(0.0), play(0.9)
    np.testing.assert_array_equal(heard_until(plain, turn_s), heard_until(turned, turn_s))
    later = [n for n in turned if n["onset_s"] > turn_s and n not in plain]
    bar_s = 4 * 60.0 / settings.envelope.tempo_min_bpm
    assert later and later[0]["onset_s"] <= turn_s + 2 * bar_s


def test_silence_thins_the_music_to_rests(
    settings: Settings, models: Models, demo_samples: np.ndarray
) -> None:
    played = demo_samples[40 * SAMPLE_RATE_HZ : 50 * SAMPLE_RATE_HZ]
    silence = np.zeros(20 * SAMPLE_RATE_HZ, np.float32)
    performance = Offline(settings, models, np.concatenate([played, silence])).run()
    onsets = performance.notes["onset_s"]
    assert np.sum(onsets < 12.0) > 5
    assert not np.any(onsets > 10.0 + 10.0)
    assert np.max(np.abs(performance.voice[15 * SAMPLE_RATE_HZ :])) < 1e-3


@pytest.mark.parametrize("level", [0.0, 0.05])
def test_silence_and_noise_are_answered_by_nothing_much(
    settings: Settings, models: Models, level: float
) -> None:
    noise = np.random.default_rng(3).normal(0.0, level, 15 * SAMPLE_RATE_HZ).astype(np.float32)
    performance = Offline(settings, models, noise).run()
    assert len(performance.notes) <= 0.5 * 15
    assert np.max(np.abs(performance.voice[SAMPLE_RATE_HZ:])) < max(1e-3, level)


@pytest.mark.skipif(not CLIPS, reason="the shared recordings are not here (../shared/data/clips)")
@pytest.mark.parametrize("path", CLIPS, ids=lambda p: p.stem)
def test_real_recordings_stay_within_the_envelope(path: Any, settings: Settings, models: Models) -> None:
    samples = read_audio(path).samples[: SHORT_S * SAMPLE_RATE_HZ]
    performance = Offline(settings, models, samples).run()
    assert_within_the_envelope(performance.notes, settings)
    assert np.max(np.abs(performance.voice)) <= db_to_gain(-1.0)
    midi = counters(performance, "midi")
    assert midi["n_note_ons"] == midi["n_note_offs"]


def test_a_panic_silences_notes_and_voice_within_250_ms_until_somebody_resumes(
    models: Models, settings: Settings
) -> None:
    begin_s, end_s, n_s = 6.0, 10.0, 14
    samples = read_audio(demo_recording()).samples[32 * SAMPLE_RATE_HZ : (32 + n_s) * SAMPLE_RATE_HZ]
    offline = Offline(settings, models, samples)
    acts = {begin_s: offline.control.press_panic, end_s: offline.control.resume}

    def hand(n_done: int) -> None:
        now_s = n_done * HOP_SIZE / SAMPLE_RATE_HZ
        for at_s in [at_s for at_s in acts if now_s >= at_s]:
            acts.pop(at_s)(now_s)

    performance = offline.run(after_hop=hand)
    messages = offline.midi_out.messages
    ons_s = np.array([m[0] for m in messages if m[1] & 0xF0 == 0x90])
    assert np.any(ons_s < begin_s) and np.any(ons_s > end_s)
    assert not np.any((ons_s > begin_s + 0.05) & (ons_s < end_s))
    sounding: set[int] = set()
    for _, status, pitch, _ in (m for m in messages if m[0] <= begin_s + 0.25):
        if status & 0xF0 == 0x90:
            sounding.add(pitch)
        elif status & 0xF0 == 0x80:
            sounding.discard(pitch)
    assert not sounding
    begin, end = round((begin_s + 0.25) * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
    assert not performance.voice[begin:end].any()
    assert performance.voice[: begin // 2].any() and performance.voice[end:].any()
    assert [e["is_on"] for e in performance.session if e["kind"] == "panic"] == [True, False]
    assert counters(performance, "midi")["n_panics"] == 1
