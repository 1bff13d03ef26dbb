"""What a performance keeps from its first bar to its last: how it rounds, how dense, loud and high it plays.

Everything here follows from the seed and numbers of bars alone, so a bar composed again for the same target
is the same bar, and the music does not depend on how far ahead it is composed.
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from kelly_edge.music.compound_word import N_DENSITIES, N_LEVELS, Condition, density_token
from kelly_edge.music.form import FULL_CADENCE, HALF, Score
from kelly_edge.music.sounding import Touch, draw_touch
from kelly_edge.music.target import Target, graded_level, mode_of
from kelly_edge.units import clamp

ALWAYS, ROWS, DELAYS, BAR_DENSITY, FORM, SEQUENCE, PHRASE_DENSITY, TOUCH = 0, 1, 3, 4, 5, 6, 7, 8
"""What random numbers are drawn for; each purpose has a stream of its own. Numbers of our own definition."""
ONCE: Final = range(7)
"""What a performance draws once, 0..1 each, as the purpose ``ALWAYS``:"""
VALENCE_DITHER, AROUSAL_DITHER, MODE_DITHER, TONIC_DITHER, TEXTURE, LOUDNESS, HEIGHT = ONCE
LOWEST_KEY: Final = -4
"""Semitones from C to the tonic that lies lowest. Training moves music by -6 to 5, but what the network plays
lies two semitones lower than that; chosen by hand among -5 to 0, by the pitch of people's clips."""
MEAN_DENSITY: Final = (3.96, 4.89, 5.48, 5.83, 7.09, 7.43)
"""Mean density level of EMOPIA's training clips at each level of arousal."""
USUAL_TEMPO_BPM: Final = 118.0
"""Mean of EMOPIA's training clips, the same at every level of arousal."""
LEVELS_PER_OCTAVE: Final = 2.0
"""Density levels from so many notes a bar to twice as many (``DENSITY_EDGES``). They follow from them by
definition."""
CLIP_DENSITY_SD, PHRASE_DENSITY_SD, BAR_DENSITY_SD = 1.0, 0.7, 0.4
"""How far clips lie from that mean, phrases from that of their clip, and bars from that of their phrase.
Levels; chosen by hand."""
CADENCE_DENSITY: Final = 0.7
"""Density levels fewer where a phrase comes to rest. Chosen by hand."""
AROUSALS: Final = tuple((2 * level + 1) / N_LEVELS - 1.0 for level in range(N_LEVELS))
"""The middle of each level of arousal, by definition."""
CORRECTED: Final = 0.7
"""Share of the levels by which the last bars were denser than asked that the next bar is asked to be thinner
by, where the music leads: a network that has been dense stays dense. Chosen by hand."""
MOST_CORRECTED: Final = 1.0
"""The most of it, in levels: one bar that went wrong does not empty the next. Chosen by hand."""
N_CORRECTED: Final = 3
"""The last bars that this is told from. Chosen: as many as ``Moment.recent`` holds."""
LEADING_DENSITY_SD: Final = 0.3
"""How far bars lie from that mean where the music leads: enough that it breathes. Chosen by hand."""
LEADING_THINNER, FULLY_CALM = 0.7, -0.2
"""Density levels fewer where the music leads to calm, all of them from this arousal down and none from 0 up:
the emotion model hears more energy in what the network plays than in people's calm clips (goal -.2, three
seeds: .73 without, -.08 with it). Measured so, and chosen on these seeds; to joy (+.6, +.4) a performance
thinned so was heard at -.61."""
DENSITY_REACH: Final = 3
"""Density levels that ``Target.density`` = 1 adds. Chosen: half of the eight levels, nearly."""


class Manner:
    """The manner of one performance.

    Attributes
    ----------
    loudness, height: how far it lies from people's mean, in standard deviations (``expression``).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn = [float(self.rng(ALWAYS, which).random()) for which in ONCE]
        self._texture, self.loudness, self.height = map(self._deviation, (TEXTURE, LOUDNESS, HEIGHT))

    def rng(self, purpose: int, *numbers: int) -> np.random.Generator:
        """Randomness that depends on nothing but the seed, the purpose and ``numbers``."""
        return np.random.default_rng([self._seed, purpose, *numbers])

    def mode(self, target: Target) -> int:
        """Mode token: the one asked for, or one that goes with the valence."""
        return mode_of(target, self._drawn[MODE_DITHER])

    def shift(self, target: Target) -> int:
        """Semitones from ``LOWEST_KEY`` up, from C to the tonic; a free tonic is the performance's own."""
        tonic = target.tonic if target.tonic >= 0 else int(self._drawn[TONIC_DITHER] * 12.0)
        return (tonic - LOWEST_KEY) % 12 + LOWEST_KEY

    def touch(self, score: Score) -> Touch:
        """How the notes of a form are struck and held."""
        return draw_touch(self.rng(TOUCH, score.began))

    def condition(self, target: Target, score: Score, bar_number: int) -> Condition:
        """What the network is asked for in the next bar, the next of ``score``."""
        arousal = graded_level(target.arousal, self._drawn[AROUSAL_DITHER])
        bar = float(self.rng(BAR_DENSITY, bar_number).normal())
        phrase = float(self.rng(PHRASE_DENSITY, score.began, ord(score.place.phrase[0])).normal())
        deviation = CLIP_DENSITY_SD * self._texture + PHRASE_DENSITY_SD * phrase + BAR_DENSITY_SD * bar
        deviation -= CADENCE_DENSITY * (score.place.cadence in (HALF, FULL_CADENCE))
        level = MEAN_DENSITY[arousal - 1] + deviation
        if target.leads:
            # Between the levels too, so that a small step led is heard.
            level = float(np.interp(target.arousal, AROUSALS, MEAN_DENSITY))
            level -= LEADING_THINNER * clamp(target.arousal / FULLY_CALM, 0.0, 1.0)
            level += LEADING_DENSITY_SD * bar - _correction(score)
        if target.tempo_bpm and not target.leads:
            # Levels count notes a bar. At another pace as many notes a second shall come, unless the pace was
            # chosen for its effect.
            level -= LEVELS_PER_OCTAVE * math.log2(target.tempo_bpm / USUAL_TEMPO_BPM)
        density = int(clamp(round(level + target.density * DENSITY_REACH), 1, N_DENSITIES))
        valence = graded_level(target.valence, self._drawn[VALENCE_DITHER])
        return Condition(valence, arousal, density, self.mode(target))

    def _deviation(self, which: int) -> float:
        """From people's mean, in standard deviations; the same throughout the performance."""
        return NormalDist().inv_cdf(clamp(self._drawn[which], 0.01, 0.99))


def _correction(score: Score) -> float:
    """Levels to ask less, since the last bars of ``score`` were denser than they were asked to be."""
    last = score.written[-N_CORRECTED:]
    too_dense = sum(density_token(len(bar.notes)) - bar.density for bar in last) / max(len(last), 1)
    return clamp(CORRECTED * too_dense, -MOST_CORRECTED, MOST_CORRECTED)
