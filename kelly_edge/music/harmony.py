"""Playing in another player's chords: pitches allowed at each beat, and a last correction of each note.

``beat_harmony`` turns a belief about the chord of a beat into the pitch classes that may stand on it: the
chord's where it is believed, else those that most candidates share (played *open*). The generator composes
for the harmonies of a bar's beats (``Target.chords``). ``refit`` moves a note that is about to leave to a
tone of the chord believed by then: a bar is composed seconds ahead, a chord is known when it sounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from kelly_edge.contract import N_CHORDS
from kelly_edge.harmony.chords import (
    MEMBERS,
    NO_CHORD,
    TRIADS,
    Floats,
    classes_of,
    quality_of,
    root_of,
)
from kelly_edge.music.compound_word import (
    CHORD,
    CHORD_QUALITIES,
    FAMILIES,
    STEPS_PER_BEAT,
    chord_token,
)
from kelly_edge.music.fitting import EVERY_CLASS, classes_above
from kelly_edge.music.notes import TimedNote
from kelly_edge.music.sampling import Mask, piano_range, pitches_within

SURE: Final = 0.6
"""Probability from which a chord is believed, and its third played. Chosen by hand
(docs/decisions/0022), as are those below."""
SHARED: Final = 0.55
"""Probability of belonging to the chord from which a pitch class is common to the candidates. Chosen
by hand."""
N_OPEN: Final = 2
"""So many pitch classes stay, however unsure: an open fifth, mostly. Chosen for that reason."""
KNOWN: Final = 0.5
"""Probability of some chord below which nobody plays one. Chosen: more likely than not."""
PASSING: Final = -1.5
"""Nats added to a pitch off the beat that is no tone of the chord: there are few passing notes. Chosen by
hand."""
FARTHEST: Final = 4
"""Semitones a note may be moved: to the next tone of any chord, up or down. Chosen by hand."""
STEP_COST: Final = 0.08
"""Share of the probability to fit that a semitone moved is worth. Chosen by hand."""
ENOUGH: Final = 0.15
"""Least gain in the probability to fit for which a note is moved; more is asked of a note far away. Chosen
by hand."""


@dataclass(frozen=True)
class BeatHarmony:
    """The pitch classes allowed on a beat."""

    chord: int = NO_CHORD
    """As in ``kelly_edge.harmony.chords``, where it is believed."""
    classes: int = EVERY_CLASS
    """Pitch classes that may stand on the beat, a set as in ``fitting``; never empty."""


FREE: Final = BeatHarmony()
"""Where no chord is heard."""


def fit_of(belief: Floats) -> Floats:
    """Probability of each pitch class [12] to belong to the chord believed so [25], if there is one."""
    some = max(1.0 - float(belief[N_CHORDS]), 1e-6)
    return np.asarray(belief @ MEMBERS / some, np.float32)


def beat_harmony(belief: Floats, sounded: int = EVERY_CLASS) -> BeatHarmony:
    """The pitch classes allowed on a beat, from the belief about its chord [25]; of those that have
    ``sounded``.

    Two notes of a chord say nothing of its third: it is left out until it was heard.
    """
    if 1.0 - float(belief[N_CHORDS]) < KNOWN:
        return FREE
    best = int(np.argmax(belief[:N_CHORDS]))
    if belief[best] >= SURE:
        return BeatHarmony(best, classes_of(best) & sounded or classes_of(best))
    fit = fit_of(belief)
    least = min(SHARED, float(np.sort(fit)[-N_OPEN]))
    classes = sum(1 << p for p in range(len(fit)) if fit[p] >= least)
    return BeatHarmony(NO_CHORD, classes & sounded or classes)


def chord_tokens(chords: Sequence[BeatHarmony], shift: int) -> Mask | None:
    """Tokens of the family ``chord`` for the chord of most beats; None where none is believed.

    ``shift``: semitones from C to the tonic; tokens count from the tonic.
    """
    believed = [beat.chord for beat in chords if beat.chord >= 0]
    if not believed:
        return None
    # The first of the most frequent, so that a tie goes to the beginning of the bar.
    chord = max(believed, key=believed.count)
    legal = np.zeros(FAMILIES[CHORD].size, np.bool_)
    for name, steps in CHORD_QUALITIES.items():
        if steps[:3] == TRIADS[quality_of(chord)]:
            legal[chord_token(root_of(chord) - shift, name)] = True
    return legal


class BarHarmony:
    """Masks and weights of the pitches of a bar, in the generator's key.

    Parameters
    ----------
    chords: one for each beat; empty: nothing is changed.
    shift: semitones from C to the tonic.
    pitches: those that may be struck otherwise, where no chord is heard and off the beat.
    """

    def __init__(self, chords: Sequence[BeatHarmony], shift: int, pitches: Mask) -> None:
        self._pitches = pitches
        reach = piano_range(shift)
        self._beats: list[tuple[Mask, Mask] | None] = [
            None
            if beat == FREE
            else (
                reach & pitches_within(classes_above(beat.classes, shift)),
                pitches_within(classes_above(beat.classes, shift - 1)),
            )
            for beat in chords
        ]

    def _at(self, position: int) -> tuple[Mask, Mask] | None:
        """Tones of the chord at ``position`` and the pitches a semitone above one; None: no chord heard."""
        return self._beats[min(position // STEPS_PER_BEAT, len(self._beats) - 1)] if self._beats else None

    def legal(self, position: int) -> Mask:
        """Pitches allowed at ``position``, a step of the bar from 0: on a beat the tones of its chord.

        Off the beat any other too, but none a semitone above a tone of the chord.
        """
        beat = self._at(position)
        if beat is None:
            return self._pitches
        tones, grating = beat
        if position % STEPS_PER_BEAT == 0:
            return tones
        return tones | self._pitches & ~grating

    def highest(self, position: int) -> int:
        """The highest pitch token that is legal at ``position``."""
        return int(np.flatnonzero(self.legal(position))[-1])

    def weigh(self, position: int, bias: Floats) -> None:
        """Add to ``bias`` [size of pitch] the cost (nats) of pitches at ``position`` that are no tones of
        the chord."""
        beat = self._at(position)
        if beat is not None:
            bias[~beat[0]] += PASSING


def refit(note: TimedNote, fit: Floats, taken: Sequence[int] = ()) -> TimedNote:
    """``note`` as it is about to leave, moved to the nearest pitch that fits the chord now believed.

    Parameters
    ----------
    fit: probability of each pitch class [12] to belong to the chord at the note's onset.
    taken: pitches of notes struck with it, which it does not double if another pitch fits as well as its own.
    """

    def worth(pitch: int) -> float:
        return float(fit[pitch % 12]) - STEP_COST * abs(pitch - note.pitch) - (2.0 if pitch in taken else 0.0)

    # Of two equally good the lower one first: it lies farther from the melody.
    near = [note.pitch + step for distance in range(FARTHEST + 1) for step in {-distance, distance}]
    best = max((pitch for pitch in sorted(near) if 0 <= pitch <= 127), key=worth)
    if fit[best % 12] < min(float(fit[note.pitch % 12]), SHARED):
        # Where every tone of the chord is taken, a tone struck twice is better than one that is foreign.
        return note
    is_better = worth(best) > worth(note.pitch) + (ENOUGH if note.pitch not in taken else 0.0)
    return replace(note, pitch=best) if is_better and best != note.pitch else note
