"""The player's beat as the box counts it, and how the box's own beat is pulled onto it.

People keep together by correcting a share of the asynchrony at every beat, phase and period each (Vorberg
and Wing 1996; Repp 2005). Here the ears predict the player's beats (``rhythm``), so the box's beat is made
as long as theirs, less a share of its expected lateness, within a change of tempo that nobody minds."""

import math
from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.music.compound_word import N_BEATS
from kelly_edge.units import clamp

BELIEVED: Final = 0.3
"""Confidence from which a beat heard is followed. Chosen by hand."""
HOLD_S: Final = 6.0
"""A beat believed within this time still says where the beats are: a rest is no loss of the beat. Chosen:
twelve beats at 120 beats per minute (docs/decisions/0021)."""
PHASE_CORRECTION: Final = 0.6
"""Share of the asynchrony expected at the next beat that this beat corrects. Chosen within the range of
people, .3 to .8 (Repp 2005)."""
SAME_PULSE: Final = 0.2
"""In octaves: a tempo heard within this of the one played, or of its double or half, is the same pulse.
Chosen: 15 % of the tempo."""
OCTAVE_STAYS_S: Final = 6.0
"""Another octave is played when the bars heard have asked for it for this long. Chosen by hand."""
HALVED: Final = (6, 8)
"""Beats of bars that are played in half as many. By definition of the metres."""
NEAR_TEMPO: Final = 0.04
"""Music that leads stays on the player's beat while its tempo is within this share of theirs. Chosen by
hand (docs/decisions/0021)."""


@dataclass(frozen=True)
class PlayersBeat:
    """Beats ``beat_s`` apart, one of them at ``line_s``, a bar line; a bar line every ``n_beats``."""

    line_s: float
    beat_s: float
    n_beats: int
    heard_s: float
    """When it was last believed."""

    @property
    def tempo_bpm(self) -> float:
        """Beats per minute."""
        return 60.0 / self.beat_s

    def in_octave_of(self, played_bpm: float) -> "PlayersBeat":
        """The same beat, doubled or halved where that is nearer to the tempo played."""
        octaves = (1.0, 2.0, 0.5) if self.n_beats % 2 == 0 else (1.0, 2.0)
        ratio = min(octaves, key=lambda r: abs(math.log2(self.tempo_bpm * r / played_bpm)))
        return replace(self, beat_s=self.beat_s / ratio, n_beats=max(1, round(self.n_beats * ratio)))

    def is_octave_of(self, played_bpm: float) -> bool:
        """Whether it is the pulse played, but counted twice or half as fast."""
        octaves = abs(math.log2(self.tempo_bpm / played_bpm)) if played_bpm > 0.0 else 0.0
        return abs(octaves - 1.0) < SAME_PULSE

    def nearest_s(self, time_s: float) -> float:
        """The beat nearest to a time."""
        return self.line_s + round((time_s - self.line_s) / self.beat_s) * self.beat_s

    def next_line_s(self, time_s: float) -> float:
        """The first bar line at a time or after it."""
        bar_s = self.n_beats * self.beat_s
        return self.line_s + math.ceil((time_s - self.line_s) / bar_s - 1e-9) * bar_s

    def n_until_line(self, time_s: float) -> int:
        """Number of beats of the box's bar that begins nearest to a time and ends on the player's bar line.

        Bars have three beats or four: two bars of two beats heard lie in one of ours, one of eight in two.
        """
        number = round((time_s - self.line_s) / self.beat_s)
        bar = 3 if self.n_beats % 3 == 0 else N_BEATS
        every = bar if self.n_beats % bar == 0 else self.n_beats
        n_left = every - number % every
        return n_left if n_left < every else bar


def players_beat(
    time_s: float,
    bar_phase: float,
    beat_s: float,
    n_beats: int,
    played_bpm: float,
    limits_bpm: tuple[float, float],
) -> PlayersBeat:
    """The beat heard at ``time_s``, in the octave of the tempo that is played (0: none) or can be.

    Parameters
    ----------
    bar_phase, beat_s, n_beats: as in ``contract.HEARD_DTYPE``; ``beat_s`` above 0.
    """
    line_s = time_s - bar_phase * n_beats * beat_s
    heard = PlayersBeat(line_s, beat_s, n_beats, time_s)
    if played_bpm > 0.0:
        beat = heard.in_octave_of(played_bpm)
        if abs(math.log2(beat.tempo_bpm / played_bpm)) <= SAME_PULSE and _fits(beat, limits_bpm):
            return beat
    # A bar of eight beats or of six is one of four or three whose halves were tapped.
    felt = 0.5 if n_beats in HALVED else 1.0
    octaves = (felt, 1.0, 2.0, 0.5) if n_beats % 2 == 0 else (1.0, 2.0)
    beats = [heard.in_octave_of(heard.tempo_bpm * ratio) for ratio in octaves]
    return next((beat for beat in beats if _fits(beat, limits_bpm)), heard)


def _fits(beat: PlayersBeat, limits_bpm: tuple[float, float]) -> bool:
    return limits_bpm[0] <= beat.tempo_bpm <= limits_bpm[1]


def beats_to_play(start_s: float, beat: PlayersBeat | None) -> int:
    """Beats of a bar that begins at ``start_s``, so that the next one begins on the player's bar line."""
    if beat is None:
        return N_BEATS
    return min(beat.n_until_line(start_s), N_BEATS)


def beat_to_play_s(
    start_s: float, beat: PlayersBeat | None, wanted_bpm: float, limits_bpm: tuple[float, float]
) -> float:
    """Length in seconds of the box's beat that begins at ``start_s``.

    Parameters
    ----------
    wanted_bpm: without a player's beat. limits_bpm: the slowest and fastest that may be played here.
    """
    if beat is None:
        return 60.0 / clamp(wanted_bpm, *limits_bpm)
    end_s = start_s + beat.beat_s
    late_s = end_s - beat.nearest_s(end_s)
    slowest_bpm, fastest_bpm = limits_bpm
    return clamp(beat.beat_s - PHASE_CORRECTION * late_s, 60.0 / fastest_bpm, 60.0 / slowest_bpm)
