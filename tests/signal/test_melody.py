"""The notes of a melody, told from pitch and level."""

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.signal.melody import MelodyTracker
from kelly_edge.signal.pitch import PitchTracker
from models.ensemble.practice import struck

Float32 = NDArray[np.float32]


def heard(sound: Float32) -> list[tuple[float, int]]:
    """Onset and pitch of every note told."""
    pitch, melody, found, last = PitchTracker(), MelodyTracker(), [], 0
    for i in range(sound.size // HOP_SIZE):
        hop = sound[i * HOP_SIZE : (i + 1) * HOP_SIZE]
        pitch.push(hop)
        melody.push(hop, pitch.f0_hz, pitch.confidence)
        if melody.note.number != last:
            last = melody.note.number
            found.append(((i + 1) * HOP_SIZE / SAMPLE_RATE_HZ - melody.note.age_s, melody.note.pitch))
    return found


def of(notes: list[tuple[float, float, int]], gain: float = 1.0) -> Float32:
    """Struck strings, and a second of silence after them."""
    seconds = notes[-1][0] + notes[-1][1] + 1.0
    return struck([(begin, length, pitch, gain) for begin, length, pitch in notes], seconds)


@pytest.mark.parametrize("gain", [0.03, 1.0])
@pytest.mark.parametrize("lowest", [40, 60, 84])
def test_every_note_is_told_once_where_it_was_struck(lowest: int, gain: float) -> None:
    steps = (0, 2, 4, 4, 5, 2, 0)
    notes = [(0.5 + 0.3 * k, 0.25, lowest + step) for k, step in enumerate(steps)]
    found = heard(of(notes, gain))
    assert [pitch for _, pitch in found] == [note[2] for note in notes]
    assert np.abs([told - note[0] for (told, _), note in zip(found, notes, strict=True)]).max() < 0.05


def test_a_slur_is_another_note() -> None:
    t = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    f0_hz = np.where(t < 0.5, 440.0, 493.88)
    sound = 0.1 * np.sin(2.0 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ)
    found = heard(sound.astype(np.float32))
    assert [pitch for _, pitch in found] == [69, 71]
    assert found[1][0] == pytest.approx(0.5, abs=0.05)


def test_a_note_ends_soon_after_its_key_is_released_and_not_while_it_is_held() -> None:
    sound = of([(0.5, 2.0, 64)])
    pitch, melody, ends = PitchTracker(), MelodyTracker(), []
    for i in range(sound.size // HOP_SIZE):
        hop = sound[i * HOP_SIZE : (i + 1) * HOP_SIZE]
        pitch.push(hop)
        melody.push(hop, pitch.f0_hz, pitch.confidence)
        if melody.note.number and not melody.note.pitch:
            ends.append((i + 1) * HOP_SIZE / SAMPLE_RATE_HZ)
    assert 2.5 < ends[0] < 2.8


def test_noise_silence_and_what_is_no_number_give_no_notes() -> None:
    noise = 0.1 * np.random.default_rng(1).standard_normal(2 * SAMPLE_RATE_HZ)
    broken = np.full(SAMPLE_RATE_HZ, np.nan)
    for sound in (noise, np.zeros(SAMPLE_RATE_HZ), broken):
        assert heard(sound.astype(np.float32)) == []
