"""What the next bar shall be like, and which tokens say so."""

import math
from dataclasses import dataclass

from kelly_edge.music.compound_word import MAJOR, MINOR, N_LEVELS
from kelly_edge.music.fitting import EVERY_CLASS
from kelly_edge.music.harmony import BeatHarmony
from kelly_edge.music.motif import Theme
from kelly_edge.units import clamp

MAJOR_SLOPE, MAJOR_OFFSET = 2.0, 0.8
"""Log-odds of major at a valence: slope * valence + offset. Over the quadrants that is the share of
EMOPIA's training clips that people call happy (.86 major) and sad (.42). Counted in EMOPIA's clips."""

SLOWEST_BPM, FASTEST_BPM = 10.0, 1_000.0
"""Beyond any music. Chosen so that no arithmetic overflows."""


@dataclass(frozen=True)
class Target:
    """What the next bar shall be like."""

    valence: float
    arousal: float
    density: float = 0.0
    """-1..1, thinner to denser than the arousal implies; 0 is as EMOPIA has it at this arousal."""
    tonic: int = -1
    """Pitch class 0..11; -1 free. A given tonic locks the music to its key."""
    mode: int = -1
    """1 major, 0 minor, -1 free: follows the valence."""
    tempo_bpm: float = 0.0
    """0 free."""
    classes: int = EVERY_CLASS
    """Pitch classes that fit the player's music, a set as in ``fitting``; never empty."""
    leads: bool = False
    """Whether the music leads: density and harmony then say this emotion as plainly as they can, rather than
    vary as people's performances do."""
    chords: tuple[BeatHarmony, ...] = ()
    """What may stand on each beat of the bar; empty: the key alone says it."""
    ending: int = 0
    """Bars in which the music shall come to its end, 1 or 2: a cadence and a long last chord, then silence
    while this is asked. 0: it goes on."""
    turning: float = 0.0
    """-1..1: how near a change of mode is that the music leads to; up towards major, down towards minor."""
    theme: Theme | None = None
    """What the music takes up, from the bar on in which it is first asked for."""


def sane(target: Target) -> Target:
    """``target`` with every value in its range; values that are not numbers become 0 or free."""

    def held(value: float) -> float:
        return clamp(value, -1.0, 1.0) if math.isfinite(value) else 0.0

    is_given = math.isfinite(target.tempo_bpm) and target.tempo_bpm > 0.0
    tempo = clamp(target.tempo_bpm, SLOWEST_BPM, FASTEST_BPM) if is_given else 0.0
    return Target(
        held(target.valence),
        held(target.arousal),
        held(target.density),
        target.tonic if target.tonic in range(12) else -1,
        target.mode if target.mode in (0, 1) else -1,
        tempo,
        target.classes & EVERY_CLASS or EVERY_CLASS,
        bool(target.leads),
        tuple(target.chords),
        int(clamp(target.ending, 0, 2)),
        held(target.turning),
        target.theme,
    )


def graded_level(value: float, dither: float) -> int:
    """Level 1..6 of a valence or arousal; ``dither`` 0..1 rounds, so that the mean is continuous."""
    place = (clamp(value, -1.0, 1.0) + 1.0) / 2.0 * N_LEVELS + 0.5
    return int(clamp(math.floor(place + dither), 1, N_LEVELS))


def mode_of(target: Target, dither: float) -> int:
    """Mode token: the one given, else major where its share at this valence exceeds ``dither``."""
    if target.mode >= 0:
        return MAJOR if target.mode == 1 else MINOR
    share = 1.0 / (1.0 + math.exp(-(MAJOR_SLOPE * target.valence + MAJOR_OFFSET)))
    return MAJOR if dither < share else MINOR
