"""Play in the key and at the pace of the person listened to, without jumping at every doubt.

A key or tempo heard is adopted only after it has stayed for a while; the pace adopted is folded
into a comfortable octave, since a tempo and its double are the same pulse.
"""

from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.contract import EMOTION_RATE_HZ

# Chosen: the posterior over keys moves with a time constant of 15 s, and what stays for 3 s is no doubt
# between neighbours.
KEY_STAYS_S: Final = 3.0
OPENING_STAYS_S: Final = 1.0
"""Until a key is adopted the music is written in the first one heard, and in another that stays this long.
Chosen: shorter, since nothing was played yet."""
TEMPO_STAYS_S: Final = 3.0
"""Chosen: as for a key."""
TEMPO_TOLERANCE: Final = 0.06
"""Relative difference below which two tempi are the same. Chosen: one tempo token
(``compound_word.TEMPO_LOW_BPM``)."""


@dataclass(frozen=True)
class Following:
    """Key and tempo adopted, and the candidates on probation (-1 and 0: none)."""

    tonic: int = -1
    mode: int = -1
    tempo_bpm: float = 0.0
    candidate_key: tuple[int, int] = (-1, -1)
    key_age: int = 0
    candidate_bpm: float = 0.0
    tempo_age: int = 0
    opening_key: tuple[int, int] = (-1, -1)

    @property
    def key(self) -> tuple[int, int]:
        """Tonic and mode to write in: those adopted, or the ones to open with; -1 none."""
        return (self.tonic, self.mode) if self.tonic >= 0 else self.opening_key

    def without_key(self) -> "Following":
        """No key heard yet, as after a silence: the next player may play in another."""
        return Following(tempo_bpm=self.tempo_bpm)


def fold_tempo(tempo_bpm: float, low_bpm: float, high_bpm: float) -> float:
    """``tempo_bpm`` doubled or halved into ``low_bpm`` .. ``high_bpm``; clamped if no octave fits."""
    if tempo_bpm <= 0.0:
        return 0.0
    while tempo_bpm < low_bpm:
        tempo_bpm *= 2.0
    while tempo_bpm > high_bpm:
        tempo_bpm /= 2.0
    return max(tempo_bpm, low_bpm)


def follow(state: Following, tonic: int, mode: int, tempo_bpm: float) -> Following:
    """One hop group; ``tonic``/``mode`` -1 and ``tempo_bpm`` 0 mean not heard now."""
    if tonic >= 0 and mode >= 0:
        age = state.key_age + 1 if (tonic, mode) == state.candidate_key else 1
        state = replace(state, candidate_key=(tonic, mode), key_age=age)
        if state.opening_key[0] < 0 or age >= OPENING_STAYS_S * EMOTION_RATE_HZ:
            state = replace(state, opening_key=(tonic, mode))
        if age >= KEY_STAYS_S * EMOTION_RATE_HZ:
            state = replace(state, tonic=tonic, mode=mode)
    if tempo_bpm > 0.0:
        near = abs(tempo_bpm - state.candidate_bpm) <= TEMPO_TOLERANCE * tempo_bpm
        age = state.tempo_age + 1 if near else 1
        state = replace(state, candidate_bpm=tempo_bpm, tempo_age=age)
        if age >= TEMPO_STAYS_S * EMOTION_RATE_HZ:
            state = replace(state, tempo_bpm=tempo_bpm)
    return state
