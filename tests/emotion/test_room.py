"""The room heard blindly: it ranks rooms and noise, also under legato, and corrects arousal within bounds."""

import numpy as np
import pytest

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import FEATURES, FeatureExtractor
from kelly_edge.emotion.room import (
    AROUSAL_IN_A_ROOM,
    N_COUNTS,
    N_LEVELS,
    N_REGIONS,
    N_STATISTICS,
    UNKNOWN,
    WETTEST,
    Room,
    RoomCounter,
    RoomReading,
    statistics,
)
from models.emotion.acoustics import response

RATE = SAMPLE_RATE_HZ
SECONDS = 16.0


def notes(note_s: float, release_s: float, seed: int = 0) -> np.ndarray:
    """A line over a bass, each note with six partials; ``release_s``: its fall after its length."""
    rng = np.random.default_rng(seed)
    out = np.zeros(round(SECONDS * RATE))
    t = np.arange(round((note_s + 6.0 * release_s) * RATE)) / RATE
    shape = np.exp(-1.5 * t) * np.where(t < note_s, 1.0, np.exp(-(t - note_s) / release_s))
    for n, start_s in enumerate(np.arange(0.0, SECONDS - 1.0, 0.4)):
        for pitch in (48 + 12 * (n % 2), int(rng.choice([60, 62, 64, 67, 69, 72]))):
            f0 = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
            tone = sum(np.sin(2.0 * np.pi * f0 * h * t) / h**1.3 for h in range(1, 7)) * shape
            i = round(start_s * RATE)
            out[i : i + t.size] += tone[: out.size - i]
    return 0.1 * out


DETACHED, LEGATO = notes(0.2, 0.01), notes(0.4, 0.15)


def reading(dry: np.ndarray, drr_db: float | None, rt60_s: float = 0.8, snr_db: float = 60.0) -> RoomReading:
    rng = np.random.default_rng(5)
    audio = dry
    if drr_db is not None:
        from scipy.signal import oaconvolve

        audio = oaconvolve(dry, response(RATE, drr_db, rt60_s, rng))[: dry.size]
    noise = rng.standard_normal(audio.size)
    audio = audio + noise * audio.std() * 10.0 ** (-snr_db / 20.0)
    extractor, room = FeatureExtractor(), Room()
    for hop in audio.astype(np.float32).reshape(-1, HOP_SIZE):
        if extractor.push(hop):
            room.push(extractor.frames, extractor.presence)
    return room.reading


@pytest.mark.parametrize("drr_db", [0.0, -4.0])
def test_a_room_is_heard(drr_db: float) -> None:
    none, room = reading(DETACHED, None), reading(DETACHED, drr_db)
    assert none.drr_db > room.drr_db + 6.0 and none.rt60_s < room.rt60_s
    assert none.arousal < 0.02 < room.arousal <= AROUSAL_IN_A_ROOM * WETTEST


def test_legato_may_sound_like_a_room_but_is_corrected_no_further_than_one() -> None:
    # Notes that fall slowly fill the gaps as a room does: blindly the two are one.
    assert abs(reading(LEGATO, None).drr_db - reading(LEGATO, -4.0).drr_db) < 6.0
    assert 0.0 <= reading(LEGATO, None).arousal <= AROUSAL_IN_A_ROOM * WETTEST


def test_more_noise_is_heard_as_more() -> None:
    assert reading(DETACHED, None, snr_db=50.0).snr_db > reading(DETACHED, None, snr_db=8.0).snr_db + 10.0


def test_noise_takes_the_correction_back() -> None:
    wet = RoomReading(-3.0, 0.8, 60.0)
    assert wet.arousal == pytest.approx(AROUSAL_IN_A_ROOM)
    assert wet._replace(snr_db=10.0).arousal == 0.0
    assert wet._replace(drr_db=8.0).arousal == 0.0
    assert wet._replace(drr_db=-60.0).arousal == pytest.approx(AROUSAL_IN_A_ROOM * WETTEST)


def test_before_anything_is_heard_it_is_dry_and_quiet() -> None:
    room = Room()
    assert room.reading == UNKNOWN and UNKNOWN.arousal == 0.0
    for _ in range(60):
        room.push(np.zeros((8, 27), np.float32), 0.0)
    assert room.reading.arousal < 0.02
    room.push(np.full((8, 27), np.nan, np.float32), float("nan"))
    room.reset()
    assert room.reading == UNKNOWN


def test_counts_are_of_levels_and_falls() -> None:
    counter = RoomCounter()
    # Every band falls by 0.25 a frame from 6: short falls of 1.0, and long ones of 3.0 nepers.
    falling = 6.0 - 0.25 * np.arange(16, dtype=np.float32)
    for frames in np.repeat(falling[:, None], 27, 1).reshape(2, 8, 27):
        counter.push(frames, 1.0)
    for counts in counter.counts:
        levels, falls, long_falls = np.split(counts, [N_LEVELS, N_LEVELS + 12])
        assert levels.sum() == pytest.approx(16 * 9, rel=0.01)
        assert falls.argmax() == 6 and falls.sum() == pytest.approx(falls[6])
        assert long_falls.argmax() == 7 and long_falls.sum() == pytest.approx(long_falls[7])
    assert counter.heard_s == pytest.approx(16 * 0.01067, rel=0.01)
    assert statistics(np.zeros((2, N_REGIONS, N_COUNTS), np.float32)).shape == (2, N_STATISTICS)


def test_the_bands_are_the_features_mel_bands() -> None:
    assert FEATURES[0].name == "mel_db" and FEATURES[0].size == 27 == FeatureExtractor().frames.shape[1]
