"""The chord heard, from synthesised sound to belief: in time, in any key, and none where there is none."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from kelly_edge.contract import GROUP_S, HOP_SIZE, N_CHORDS, SAMPLE_RATE_HZ
from kelly_edge.emotion.features import FeatureExtractor
from kelly_edge.harmony.chords import MAJOR, MINOR, NO_CHORD, chord_of
from kelly_edge.harmony.hearing import TRANSITIONS, ChordTracker
from kelly_edge.music.harmony import beat_harmony

Sound = NDArray[np.float32]
CHORD_S = 2.0
KNOWN_AFTER_S = 0.5
HEARING_S = 0.2
PROGRESSION = ((0, MAJOR), (7, MAJOR), (9, MINOR), (5, MAJOR))
"""I V vi IV."""


def tones(pitches: list[int], seconds: float) -> Sound:
    """Struck additive tones of eight harmonics."""
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    total = np.zeros(t.size)
    for pitch in pitches:
        f0 = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
        for harmonic in range(1, 9):
            total += np.sin(2.0 * np.pi * harmonic * f0 * t) / harmonic
    envelope = np.minimum(t / 0.005, 1.0) * np.exp(-t / 1.5)
    return np.asarray(0.05 * total * envelope, np.float32)


def triad(root: int, quality: int) -> list[int]:
    third = 4 - quality
    return [36 + root, *(60 + (root + step) % 12 for step in (0, third, 7))]


def hear(sound: Sound) -> Iterator[tuple[float, ChordTracker, FeatureExtractor]]:
    """The tracker after each hop group, with the time the group ends."""
    extractor, tracker = FeatureExtractor(), ChordTracker()
    n_groups = 0
    for hop in sound[: sound.size // HOP_SIZE * HOP_SIZE].reshape(-1, HOP_SIZE):
        if extractor.push(hop):
            n_groups += 1
            tracker.push(
                extractor.notes, extractor.tonic, extractor.mode, extractor.key_posterior, extractor.presence
            )
            yield n_groups * GROUP_S, tracker, extractor


@pytest.mark.parametrize("key", (0, 3, 6, 10))
def test_a_progression_is_heard_within_half_a_second_of_each_chord(key: int) -> None:
    chords = [((key + root) % 12, quality) for root, quality in PROGRESSION * 3]
    sound = np.concatenate([tones(triad(*chord), CHORD_S) for chord in chords])
    for time_s, tracker, _ in hear(sound):
        number, since_s = divmod(time_s - 1e-6, CHORD_S)
        # The first chord is heard together with the presence of somebody who plays.
        if since_s > KNOWN_AFTER_S and number > 0:
            assert tracker.chord == chord_of(*chords[int(number)]), time_s
            assert tracker.confidence > 0.5


def broken(root: int, quality: int) -> Sound:
    """A bass held for two seconds; above it, one after another, nothing, the fifth, the third, the root."""
    bass, *upper = triad(root, quality)
    sound = tones([bass], CHORD_S)
    for beat, pitch in enumerate((upper[2], upper[1], upper[0]), 1):
        at = round(beat * 0.5 * SAMPLE_RATE_HZ)
        sound[at : at + SAMPLE_RATE_HZ // 2] += tones([pitch], 0.5)
    return sound


@pytest.mark.parametrize("tonic", (9, 4, 2, 0, 7))
@pytest.mark.parametrize("mode", (MAJOR, MINOR))
def test_a_third_that_is_not_struck_is_that_of_the_key(tonic: int, mode: int) -> None:
    """The fifth partial of a low tonic is the major third, which is foreign to the minor key."""
    home, fourth = (tonic, mode), ((tonic + 5) % 12, mode)
    chords = (home, fourth, ((tonic + 7) % 12, MAJOR), home)
    sound = np.concatenate([broken(*chord) for chord in chords] * 3)
    n_heard = n_right = n_wrong = 0
    for time_s, tracker, _ in hear(sound):
        number = int((time_s - HEARING_S) / CHORD_S)
        if number < len(chords) or chords[number % len(chords)] not in (home, fourth):
            continue
        chord = chord_of(*chords[number % len(chords)])
        n_heard += 1
        n_right += tracker.belief[chord] > 0.5
        n_wrong += tracker.belief[chord ^ 1] > 0.5
    assert n_wrong < 0.05 * n_heard
    assert n_right > 0.75 * n_heard


def test_silence_and_noise_claim_no_chord() -> None:
    rng = np.random.default_rng(0)
    noise = (0.05 * rng.normal(size=4 * SAMPLE_RATE_HZ)).astype(np.float32)
    for sound in (np.zeros(3 * SAMPLE_RATE_HZ, np.float32), noise):
        heard = [(tracker.chord, tracker.confidence) for _, tracker, _ in hear(sound)]
        assert set(heard) == {(NO_CHORD, 0.0)}


def test_a_chord_is_forgotten_after_it_has_ended() -> None:
    sound = np.concatenate([tones(triad(0, MAJOR), 3.0), np.zeros(8 * SAMPLE_RATE_HZ, np.float32)])
    heard = [tracker.chord for _, tracker, _ in hear(sound)]
    assert chord_of(0, MAJOR) in heard
    assert heard[-1] == NO_CHORD


def test_a_drone_is_played_open_or_not_at_all() -> None:
    """A fifth without a third: nothing but its own two notes may stand on the beat."""
    sound = np.concatenate([tones([36, 43, 60, 67], 2.0)] * 4)
    for time_s, tracker, _ in hear(sound):
        harmony = beat_harmony(tracker.belief)
        if time_s > 2.0 and harmony.chord != NO_CHORD:
            assert harmony.chord // 2 == 0


def test_the_key_stays_though_a_chord_does_not_fit_and_the_chord_is_heard_all_the_same() -> None:
    chords = [*PROGRESSION * 3, (0, MAJOR), (4, MAJOR), (9, MINOR)]
    sound = np.concatenate([tones(triad(*chord), CHORD_S) for chord in chords])
    states = [(t, tracker.chord, e.tonic, e.mode) for t, tracker, e in hear(sound)]
    at = {round(t / CHORD_S * 10): rest for t, *rest in states}
    chord, tonic, mode = at[round(13.9 * 10)]
    assert chord == chord_of(4, MAJOR)
    assert (tonic, mode) in ((0, 1), (9, 0))


def test_beliefs_and_transitions_are_probabilities() -> None:
    assert np.allclose(TRANSITIONS.sum(2), 1.0, atol=1e-4)
    assert (TRANSITIONS >= 0.0).all()
    for _, tracker, _ in hear(tones(triad(2, MINOR), 2.0)):
        assert tracker.belief.sum() == pytest.approx(1.0, abs=1e-4)
        assert (tracker.belief >= 0.0).all()


@pytest.mark.parametrize("semitones", range(1, 12))
def test_what_follows_is_the_same_in_every_key(semitones: int) -> None:
    moved = np.roll(TRANSITIONS[0], (2 * semitones, 2 * semitones), (0, 1))
    assert np.allclose(TRANSITIONS[semitones], moved, atol=1e-6)
    assert TRANSITIONS.shape == (13, N_CHORDS, N_CHORDS)
