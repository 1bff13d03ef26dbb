"""The kernels write what the table says, where it says: a swap of two features must not go unseen."""

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
import pytest

from kelly_edge.contract import HOP_SIZE, SAMPLE_RATE_HZ
from kelly_edge.emotion import register, rhythm, tonality
from kelly_edge.emotion.features import FEATURES, FeatureExtractor
from kelly_edge.emotion.register import REGISTER
from kelly_edge.emotion.rhythm import N_MEL, RHYTHM, SHAPE
from kelly_edge.emotion.tonality import TONAL

LENGTH_S = 6.0
T = np.arange(round(LENGTH_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
SLOTS = {
    "shape": (rhythm, SHAPE, "CENTROID BANDWIDTH TILT LOW_SHARE HIGH_SHARE CREST"),
    "rhythm": (
        rhythm,
        RHYTHM,
        "ONSETS_1S ATTACK_RATE ONSET_SPREAD ATTACK_SPREAD OUT_FLUX_FAST OUT_FLUX TEMPOGRAM TEMPO "
        "PULSE_CLARITY",
    ),
    "register": (
        register,
        REGISTER,
        "PITCH_MEAN PITCH_SPREAD LOWEST HIGHEST POLYPHONY BASS_SHARE TREBLE_SHARE NOTE_RATE SWELL_RATE "
        "LEVEL_SPREAD LEVEL_STEP",
    ),
    "tonal": (
        tonality,
        TONAL,
        "CHROMA_15S CHROMA_4S BASS_4S MAJOR_TRIADS MINOR_TRIADS BEST_MAJOR BEST_MINOR MAJOR_LESS_MINOR "
        "MAJOR_SHARE KEY_ENTROPY KEY_POSTERIOR MAJOR_LESS_MINOR_4S CLASH",
    ),
}


def test_the_table_and_the_kernels_agree_on_the_order() -> None:
    written = (("mel_db", N_MEL), *SHAPE, *RHYTHM, *REGISTER, *TONAL)
    assert written == tuple((spec.name, spec.size) for spec in FEATURES)


@pytest.mark.parametrize("kernel", SLOTS)
def test_each_slot_s_name_is_where_its_row_begins(kernel: str) -> None:
    module: ModuleType
    module, rows, names = SLOTS[kernel]
    starts = np.cumsum([0] + [size for _, size in rows])[:-1]
    assert [getattr(module, name) for name in names.split()] == starts.tolist()


@cache
def heard(sound: "Struck | Sine") -> dict[str, float]:
    """Last values by name, in their units; the greatest of those with several."""
    extractor, audio = FeatureExtractor(), sound.audio()
    for hop in audio[: audio.size // HOP_SIZE * HOP_SIZE].astype(np.float32).reshape(-1, HOP_SIZE):
        extractor.push(hop)
    return {s.name: float(np.max(extractor.features[s.slice]) * s.scale + s.centre) for s in FEATURES}


@dataclass(frozen=True)
class Struck:
    """Notes that fade, all ``pitches`` together, at ``levels`` in turn."""

    pitches: tuple[int, ...]
    every_s: float
    levels: tuple[float, ...] = (0.1,)

    def audio(self) -> np.ndarray:
        note = np.exp(-5.0 * T) * sum(tone(pitch) for pitch in self.pitches)
        audio = np.zeros(T.size)
        for i, at in enumerate(np.arange(0.05, LENGTH_S - 0.1, self.every_s)):
            start = round(at * SAMPLE_RATE_HZ)
            audio[start:] += self.levels[i % len(self.levels)] * note[: T.size - start]
        return audio


@dataclass(frozen=True)
class Sine:
    """A tone of 440 Hz."""

    def audio(self) -> np.ndarray:
        return np.asarray(np.sin(2.0 * np.pi * 440.0 * T))


@cache
def tone(pitch: int) -> np.ndarray:
    """Six harmonics of a MIDI note."""
    f_hz = 440.0 * 2.0 ** ((pitch - 69) / 12.0)
    return np.asarray(sum(0.5**h * np.sin(2.0 * np.pi * f_hz * h * T) for h in range(1, 7)))


MAJOR, MINOR, CLUSTER, SCALE = (60, 64, 67), (60, 63, 67), tuple(range(60, 66)), (60, 64, 65, 67, 71)
SINE = Sine()
UNEVEN = (0.3, 0.03)
MORE_AND_LESS = {
    "centroid": (Struck((84,), 0.5), Struck((48,), 0.5)),
    "bandwidth": (Struck((36, 84), 0.5), Struck((60,), 0.5)),
    "tilt_db": (Struck((96,), 0.5), Struck((36,), 0.5)),
    "low_share_db": (Struck((48,), 0.5), Struck((84,), 0.5)),
    "high_share_db": (Struck((96,), 0.5), Struck((60,), 0.5)),
    "crest_db": (SINE, Struck(MAJOR, 0.5)),
    "onset_rate": (Struck(MAJOR, 0.25), Struck(MAJOR, 1.0)),
    "attack_rate": (Struck(MAJOR, 0.25), Struck(MAJOR, 1.0)),
    "onset_level_spread_db": (Struck(MAJOR, 0.5, UNEVEN), Struck(MAJOR, 0.5)),
    "attack_level_spread_db": (Struck(MAJOR, 0.5, UNEVEN), Struck(MAJOR, 0.5)),
    "flux_fast": (Struck(MAJOR, 0.15), Struck(MAJOR, 1.0)),
    "flux": (Struck(MAJOR, 0.15), Struck(MAJOR, 1.0)),
    "tempo": (Struck(MAJOR, 0.35), Struck(MAJOR, 0.75)),
    "pulse_clarity": (Struck(MAJOR, 0.5), SINE),
    "pitch_mean": (Struck((84,), 0.5), Struck((48,), 0.5)),
    "pitch_spread": (Struck((36, 84), 0.5), Struck((60,), 0.5)),
    "lowest": (Struck((72,), 0.5), Struck((36, 72), 0.5)),
    "highest": (Struck((48, 91), 0.5), Struck((48,), 0.5)),
    "polyphony": (Struck((48, 55, 60, 64, 67, 71), 0.5), Struck((60,), 0.5)),
    "bass_share": (Struck((40,), 0.5), Struck((72,), 0.5)),
    "treble_share": (Struck((88,), 0.5), Struck((60,), 0.5)),
    "note_rate": (Struck(MAJOR, 0.8), Struck((60,), 2.4)),
    "swell_rate": (Struck(MAJOR, 0.3), Struck((60,), 1.2)),
    "note_level_spread_db": (Struck((60,), 0.5, UNEVEN), Struck((60,), 0.5)),
    "note_level_step_db": (Struck((60,), 0.5, UNEVEN), Struck((60,), 0.5)),
    "degree_major_triads": (Struck(MAJOR, 0.5), Struck(MINOR, 0.5)),
    "degree_minor_triads": (Struck(MINOR, 0.5), Struck(MAJOR, 0.5)),
    "best_major": (Struck(MAJOR, 0.5), Struck(CLUSTER, 0.5)),
    "best_minor": (Struck(MINOR, 0.5), Struck(CLUSTER, 0.5)),
    "major_less_minor": (Struck(MAJOR, 0.5), Struck(MINOR, 0.5)),
    "major_share": (Struck(MAJOR, 0.5), Struck(MINOR, 0.5)),
    "key_entropy": (Struck(CLUSTER, 0.5), Struck(SCALE, 0.5)),
    "key_posterior": (Struck(SCALE, 0.5), Struck(CLUSTER, 0.5)),
    "major_less_minor_4s": (Struck(MAJOR, 0.5), Struck(MINOR, 0.5)),
    "clash": (Struck((60, 61, 66), 0.5), Struck(MAJOR, 0.5)),
}
"""Two sounds by feature: the first has more of it."""


@pytest.mark.parametrize("name", MORE_AND_LESS)
def test_a_feature_rises_with_what_its_name_says(name: str) -> None:
    more, less = MORE_AND_LESS[name]
    assert heard(more)[name] > heard(less)[name]
