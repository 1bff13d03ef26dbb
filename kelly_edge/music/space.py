"""Leaving room for the person listened to: register, density and loudness answer theirs.

Below a melody there is room for an accompaniment, above a bass there is too. Where somebody plays much the
music is thin, where they rest it fills in. Density is what tells energy, though (Gomez & Danuser 2007;
Gabrielsson & Lindström 2010): the more energy the music shall have, the less of it is given up, and room is
made by register in its place. The music is played softer than it was composed, and swells and fades with the
level heard, relative to the usual level: no level tells the velocity of a key."""

import math
from dataclasses import replace
from typing import Any, Final

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.music.notes import TimedNote
from kelly_edge.units import clamp

EASY_HZ: Final = 1.0
"""Onsets per second up to which the music is as dense as the emotion asks. Chosen by hand."""
BUSY_HZ: Final = 3.5
"""Onsets per second from which it is thinnest. Chosen: eighths at 105 beats per minute."""
THINNEST: Final = 1.0
"""The most that is taken from ``Target.density`` beside somebody busy. Chosen: as far as a knob goes."""
SPARED: Final = 0.75
"""Share of the thinning that music at arousal 1 is spared. Chosen by hand: it gives up a quarter of what calm
music does, so that somebody busy and energetic is answered with energy."""
DENSITY_STEP: Final = 0.25
"""Density moves in these steps, so that small changes do not replan the music. Chosen: as the composer's
own step."""
HOLDS: Final = 0.2
"""Density keeps its step until it is this far from it. Chosen: more than half a step."""
BUSY_S: Final = 3.0
"""Time constant of the rate of onsets heard. Chosen: a bar or two."""
EASY_NOTES_HZ, BUSY_NOTES_HZ = 14.0, 4.0
"""Most notes per second that leave beside somebody who plays little, and beside somebody busy. A composer
that has been dense stays dense for a while, whatever density it is asked for. Chosen on development songs
(docs/decisions/0022)."""
ALLOWANCE: Final = 4.0
"""Notes that may leave at once. Chosen: a chord."""
FOR_BEATS: Final = 2.0
"""Notes of the allowance that are kept for the beats. Chosen: half of ``ALLOWANCE``."""
BELOW: Final = 2.0
"""Semitones below the highest note heard that stay free. Chosen: a tone."""
FAR_BELOW: Final = 7.0
"""The same where the thinning that is spared is greatest. Chosen: a fifth, so that the hands lie apart."""
MIDDLE: Final = 58.0
"""MIDI note: a highest note below it is no melody to play under. Chosen: below middle C."""
LOWEST: Final = 36
"""Notes are not moved down below this one. Chosen: C2; chords become muddy below."""
SOFTER: Final = 0.85
"""Share of the velocity composed: a little below the player's. Chosen: about 3 dB at MIDI's usual curve of
40 log10(velocity)."""
SWELLS_DB: Final = 30.0
"""A level this far above the usual one would double a velocity. Chosen by hand."""
LEAST, MOST = 0.7, 1.25
"""Bounds of what swelling and fading do to a velocity. Chosen by hand: no swell may startle."""
# Chosen: a phrase or two, and a breath.
USUAL_S: Final = 15.0
NOW_S: Final = 1.0
"""Time constants of the usual level and of the present level, while somebody plays."""
SILENT_DB: Final = -60.0
"""Level in dBFS below which nothing is learned of either. Chosen: near ``presence.SILENT_DB``."""


class Space:
    """Streaming: one ``hear`` per hop group.

    Attributes
    ----------
    density: added to ``Target.density``: 0 beside somebody who plays little, down to -``THINNEST``.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nobody plays."""
        self._highest, self._below = 0.0, BELOW
        self._usual_db = self._now_db = math.nan
        self._density_hz = self.density = 0.0
        self._notes_hz, self._allowance, self._onset_s = EASY_NOTES_HZ, ALLOWANCE, math.inf

    def hear(self, heard: Any, arousal: float = 0.0) -> None:
        """One record of ``HEARD_DTYPE``; ``arousal`` is that of the music composed to it."""
        self._highest = float(heard["highest"])
        density_hz = float(heard["density_hz"])
        self._density_hz += (density_hz - self._density_hz) / (BUSY_S * EMOTION_RATE_HZ)
        busy = THINNEST * clamp((self._density_hz - EASY_HZ) / (BUSY_HZ - EASY_HZ), 0.0, 1.0)
        spared = busy * clamp(arousal, 0.0, 1.0)
        self._below = BELOW + (FAR_BELOW - BELOW) * spared / THINNEST
        busy -= SPARED * spared
        self._notes_hz = EASY_NOTES_HZ * math.pow(BUSY_NOTES_HZ / EASY_NOTES_HZ, busy / THINNEST)
        if abs(self.density + busy) > HOLDS:
            self.density = -round(busy / DENSITY_STEP) * DENSITY_STEP
        level_db = float(heard["level_db"])
        if level_db > SILENT_DB:
            if math.isnan(self._usual_db):
                self._usual_db = self._now_db = level_db
            self._usual_db += (level_db - self._usual_db) / (USUAL_S * EMOTION_RATE_HZ)
            self._now_db += (level_db - self._now_db) / (NOW_S * EMOTION_RATE_HZ)

    def admits(self, note: TimedNote, on_beat: bool) -> bool:
        """Whether there is room for ``note``, which leaves next; beats come first, then upper voices."""
        self._allowance += max(note.onset_s - self._onset_s, 0.0) * self._notes_hz
        self._allowance = min(self._allowance, ALLOWANCE)
        self._onset_s = note.onset_s
        if self._allowance < (1.0 if on_beat else 1.0 + FOR_BEATS):
            return False
        self._allowance -= 1.0
        return True

    def under(self, note: TimedNote) -> TimedNote:
        """``note`` under the melody heard, by octaves."""
        pitch = note.pitch
        if self._highest >= MIDDLE:
            while pitch > self._highest - self._below and pitch - 12 >= LOWEST:
                pitch -= 12
        return replace(note, pitch=pitch)

    def soften(self, note: TimedNote) -> TimedNote:
        """``note``, softer than the player, as it is about to leave."""
        swell = 0.0 if math.isnan(self._usual_db) else (self._now_db - self._usual_db) / SWELLS_DB
        velocity = note.velocity * SOFTER * clamp(1.0 + swell, LEAST, MOST)
        return replace(note, velocity=int(clamp(round(velocity), 1, 127)))
