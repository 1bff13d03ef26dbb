"""Rooms drawn at random, and piano pieces dealt to other players."""

from pathlib import Path

import mido
import numpy as np
import pytest

from models.emotion.acoustics import response, reverberant
from models.emotion.arrange import ARRANGEMENTS, WITH_DRUMS, arrange, deal

RATE_HZ = 48_000
NOTES = np.array([(0.5 * i, 0.5, 40 + (7 * i + j * 12) % 50, 70) for i in range(16) for j in range(3)], float)


@pytest.mark.parametrize("drr_db", [-8.0, -2.0, 0.0, 12.0])
@pytest.mark.parametrize("rt60_s", [0.2, 1.2])
def test_a_room_has_the_ratio_and_the_decay_asked_for(drr_db: float, rt60_s: float) -> None:
    room = response(RATE_HZ, drr_db, rt60_s, np.random.default_rng(0)).astype(float)
    assert 10.0 * np.log10(room[0] ** 2 / np.sum(room[1:] ** 2)) == pytest.approx(drr_db, abs=0.1)
    energy = np.cumsum(room[:0:-1] ** 2)[::-1]
    fall_db = 10.0 * np.log10(energy / energy[0])
    # From -5 to -25 dB, times three: within the spread of the bands' decays.
    measured_s = 3.0 * (np.argmax(fall_db < -25.0) - np.argmax(fall_db < -5.0)) / RATE_HZ
    assert 0.4 * rt60_s < measured_s < 1.8 * rt60_s


def test_a_room_keeps_the_power() -> None:
    audio = np.random.default_rng(1).standard_normal(RATE_HZ).astype(np.float32)
    wet = reverberant(audio, RATE_HZ, (-6.0, 0.0), (0.4, 1.0), np.random.default_rng(2))
    assert np.mean(wet**2) == pytest.approx(np.mean(audio**2), rel=0.01)


def test_every_note_is_dealt_once() -> None:
    melody, middle, bass = deal(NOTES)
    dealt = np.concatenate([melody, middle, bass])
    assert sorted(map(tuple, dealt)) == sorted(map(tuple, NOTES))
    assert bass[:, 2].max() <= 52 < melody[:, 2].min()


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_other_players_play_the_same_notes(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "piano.mid", tmp_path / "other.mid"
    track = mido.MidiTrack()
    for _, _, pitch, velocity in NOTES:
        track.append(mido.Message("note_on", note=int(pitch), velocity=int(velocity), time=120))
        track.append(mido.Message("note_off", note=int(pitch), time=120))
    mido.MidiFile(tracks=[track]).save(source)
    arrange(source, name, target, np.random.default_rng(3))
    struck = [m for m in mido.MidiFile(target) if m.type == "note_on" and m.velocity > 0]
    assert sorted(m.note for m in struck if m.channel != 9) == sorted(int(n[2]) for n in NOTES)
    assert any(m.channel == 9 for m in struck) == (name in WITH_DRUMS)
