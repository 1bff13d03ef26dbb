"""Playing in the chords of the person listened to: takes hop groups heard, gives harmonies and last
corrections of notes."""

from typing import Any, Final

import numpy as np

from kelly_edge.contract import N_CHORDS, N_PITCH_CLASSES
from kelly_edge.harmony.chords import Floats
from kelly_edge.harmony.forecast import ChordForecast
from kelly_edge.harmony.hearing import collection_of
from kelly_edge.music.compound_word import N_BEATS
from kelly_edge.music.fitting import BELONGS, EVERY_CLASS
from kelly_edge.music.harmony import KNOWN, SHARED, BeatHarmony, beat_harmony, fit_of, refit
from kelly_edge.music.notes import TimedNote

TOGETHER_S: Final = 0.03
"""Notes within this time of each other are struck together. Chosen: far above the unevenness of a chord
(``generator.TOGETHER_DELAY_S``), below a fast note."""
SHORT_S: Final = 0.3
"""A note up to this length may be a passing note. Chosen: an eighth at 100 beats per minute."""
BEFORE_S: Final = 0.6
"""A note older than this is not continued by step. Chosen: a beat at 100 beats per minute."""
A_STEP: Final = 2
"""Semitones of a step, at most, by definition: a semitone or a tone."""
INTO_BEAT_S: Final = 0.02
"""A beat's chord is read this long after its beginning. Chosen: a chord that changes a little late is
still this beat's."""


class Accompanying:
    """Streaming: ``hear`` per hop group; ``harmonies`` for a bar, ``correct`` for a note that leaves."""

    def __init__(self) -> None:
        self._forecast = ChordForecast()
        self._sounded = 0
        self._struck: list[TimedNote] = []
        self._before: list[TimedNote] = []

    def forget(self) -> None:
        """Nothing heard before."""
        self._forecast.forget()
        self._sounded = 0

    def hear(self, heard: Any, time_s: float) -> None:
        """One record of ``HEARD_DTYPE``, of the hop group that ends at ``time_s``."""
        collection = collection_of(int(heard["tonic"]), int(heard["mode"]))
        belief = heard["chord_belief"]
        chroma = heard["chroma"]
        if chroma.any():
            self._sounded |= sum(1 << p for p in np.flatnonzero(chroma >= BELONGS * chroma.max()).tolist())
        if belief.any():
            n_beats = max(int(heard["n_beats"]), 1)
            phase = float(heard["beat_phase"])
            place = round(float(heard["bar_phase"]) * n_beats - phase) % n_beats
            self._forecast.hear(time_s, belief, collection, float(heard["beat_s"]), phase, place, n_beats)
        else:
            self._forecast.forget()

    def harmonies(self, start_s: float, beat_s: float) -> tuple[BeatHarmony, ...]:
        """The pitch classes allowed on each beat of a bar that begins at ``start_s``."""
        times_s = [start_s + beat * beat_s + INTO_BEAT_S for beat in range(N_BEATS)]
        sounded = self._sounded or EVERY_CLASS
        return tuple(beat_harmony(belief, sounded) for belief in self._forecast.at(times_s))

    def correct(self, note: TimedNote, on_beat: bool) -> TimedNote:
        """``note``, moved into the chord that is now believed to sound at its onset; call in order of onsets.

        A short note off the beat that goes on by step from those before it may pass through.
        """
        belief = self._forecast.at([note.onset_s + INTO_BEAT_S])[0]
        together = [n for n in self._struck if note.onset_s - n.onset_s < TOGETHER_S]
        if not together:
            self._before = self._struck
        if 1.0 - float(belief[N_CHORDS]) >= KNOWN:
            sounded = self._sounded or EVERY_CLASS
            fit = fit_of(belief) * np.array([sounded >> p & 1 for p in range(N_PITCH_CLASSES)], np.float32)
            if on_beat or note.duration_s >= SHORT_S or not self._passes(note, fit):
                note = refit(note, fit, [n.pitch for n in together])
        self._struck = [*together, note]
        return note

    def _passes(self, note: TimedNote, fit: Floats) -> bool:
        """Whether a note goes on by step from a tone of the chord struck before, and grates with none."""

        def belongs(pitch: int) -> bool:
            return float(fit[pitch % N_PITCH_CLASSES]) >= SHARED

        by_step = any(
            belongs(n.pitch)
            and 0 < abs(n.pitch - note.pitch) <= A_STEP
            and note.onset_s - n.onset_s < BEFORE_S
            for n in self._before
        )
        return by_step and not belongs(note.pitch - 1)
