"""Playing in the chords of the person listened to: what is heard in, harmonies and last corrections out."""

from typing import Any, Final


from kelly_edge.harmony.chords import N_CHORDS
from kelly_edge.harmony.forecast import ChordForecast
from kelly_edge.harmony.hearing import collection_of
from kelly_edge.music.envelope import TimedNote
from kelly_edge.music.harmony import KNOWN, BeatHarmony, beat_harmony, fit_of, refit

TOGETHER_S: Final = 0.03
"""Notes so near are struck together."""
INTO_BEAT_S: Final = 0.02
"""A beat's chord is asked for so long after it begins."""


class Accompanying:
    """Streaming: ``hear`` per hop group; ``harmonies`` for a bar to compose, ``correct`` for a note to send."""

    def __init__(self) -> None:
        self._forecast = ChordForecast()
        self._struck: list[TimedNote] = []

    def forget(self) -> None:
        """Nothing heard before."""
        self._forecast.forget()

    def hear(self, heard: Any, time_s: float) -> None:
        """One record of ``HEARD_DTYPE``, of the hop group that ends at ``time_s``."""
        collection = collection_of(int(heard["tonic"]), int(heard["mode"]))
        self._forecast.hear(time_s, heard["chord_belief"], collection)

    def harmonies(self, start_s: float, beat_s: float, n_beats: int) -> tuple[BeatHarmony, ...]:
        """What may stand on each beat of a bar that begins at ``start_s``."""
        times_s = [start_s + beat * beat_s + INTO_BEAT_S for beat in range(n_beats)]
        return tuple(beat_harmony(belief) for belief in self._forecast.at(times_s))

    def correct(self, note: TimedNote) -> TimedNote:
        """``note`` in the chord believed at its onset by now; call it by onset, as notes leave."""
        belief = self._forecast.at([note.onset_s + INTO_BEAT_S])[0]
        self._struck = [n for n in self._struck if abs(n.onset_s - note.onset_s) < TOGETHER_S]
        if 1.0 - float(belief[N_CHORDS]) >= KNOWN:
            note = refit(note, fit_of(belief), [n.pitch for n in self._struck])
        self._struck.append(note)
        return note
