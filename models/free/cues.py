"""Valence and arousal computed from notes, by what experiments found the cues of music to do.

No person's label is read. Six cues of a passage are standardised over the training passages of a corpus and
added up: cues act linearly and hardly interact, a sum explains 77 to 89 % of the variance of ratings
(Eerola, Friberg & Bresin, "Emotional expression in music", Frontiers in Psychology 4:487, 2013, a factorial
experiment).

Signs and order of the weights are published, the numbers are ours, in that order and rounded:

- Eerola, Friberg & Bresin (2013): mode weighs most, then tempo, register, dynamics, articulation. Happy:
  major, fast, high, detached. Sad: minor, slow, soft, legato. Peaceful: major, slow, soft, legato. Scary:
  minor, low, loud, fast. Valence is (happy + peaceful) against (sad + scary), arousal (happy + scary)
  against the others.
- Gomez & Danuser, "Relationships between musical structure and psychophysiological measures of emotion",
  Emotion 7(2), 2007: mode, harmonic complexity and rhythmic articulation tell negative from positive
  valence; tempo, accentuation and rhythmic articulation tell high from low arousal.
- Gabrielsson & Lindström, "The role of structure in the musical expression of emotions", in Handbook of
  Music and Emotion, Oxford 2010: the review; loud, fast and dense are aroused, high is happier than low.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.music.compound_word import MAJOR, N_LEVELS, STEPS_PER_BEAT, GridBar
from models.composer.data import MAJOR_PROFILE, MINOR_PROFILE, Floats, Notes

CUES: Final = ("mode", "tempo", "loudness", "density", "register", "articulation")
"""The cues, in the order of every array here."""
VALENCE_WEIGHTS: Final = (1.0, 0.35, -0.2, 0.1, 0.3, 0.15)
"""Of standardised cues. Signs and order: Eerola, Friberg & Bresin (2013); chosen by hand within them."""
AROUSAL_WEIGHTS: Final = (0.0, 0.6, 0.7, 0.7, 0.1, 0.3)
"""Of standardised cues. Signs: Eerola et al. (2013), Gabrielsson & Lindström (2010); numbers chosen by
hand."""
LARGEST: Final = 2.5
"""Standard deviations to which a cue is held, so that none outvotes the others. Chosen by hand."""
PROFILE_GAIN: Final = 4.0
"""What a difference of correlations with the two profiles is multiplied by before it is held to -1..1.
Chosen: between the profiles themselves it is .5."""
SHORTEST, LONGEST = 0.1, 2.0
"""Lengths as shares of the time to the next onset, held between these: staccato, and with the pedal.
Chosen."""


def measure_cues(notes: Notes, tonic: int, mode: int, tempo_bpm: float) -> Floats:
    """The six ``CUES`` of a passage of at least one note: [6]. ``mode``: token of the key's mode."""
    length = np.minimum(notes.end_s - notes.onset_s, 2.0)
    histogram = np.bincount((notes.pitch - tonic) % 12, length, minlength=12)
    fit = [float(np.corrcoef(p, histogram + 1e-9)[0, 1]) for p in (MAJOR_PROFILE, MINOR_PROFILE)]
    brighter = float(np.clip(PROFILE_GAIN * (fit[0] - fit[1]), -1.0, 1.0))
    onsets = np.unique(np.round(notes.onset_s, 2))
    following = np.append(onsets[1:], notes.end_s.max())
    gap = np.maximum(following[np.searchsorted(onsets, np.round(notes.onset_s, 2))] - notes.onset_s, 0.03)
    detached = -np.log2(np.clip(length / gap, SHORTEST, LONGEST)).mean()
    span_s = max(1.0, float(notes.end_s.max() - notes.onset_s.min()))
    return np.array([
        0.5 * (1.0 if mode == MAJOR else -1.0) + 0.5 * brighter,
        np.log2(tempo_bpm),
        notes.velocity.mean(),
        np.log2(len(notes.pitch) / span_s),
        np.average(notes.pitch, weights=length),
        detached,
    ])  # fmt: skip


def cues_of_bars(bars: tuple[GridBar, ...]) -> Floats | None:
    """The cues of bars on the grid, whose tonic is C: [6]; None where they hold no note."""
    rows, begin_s = [], 0.0
    for bar in bars:
        step_s = 60.0 / bar.tempo_bpm / STEPS_PER_BEAT
        for note in bar.notes:
            onset_s = begin_s + note.position * step_s
            rows.append((onset_s, onset_s + note.steps * step_s, note.pitch, note.velocity))
        begin_s += 4 * STEPS_PER_BEAT * step_s
    if not rows:
        return None
    table = np.array(sorted(rows))
    notes = Notes(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64))
    modes = [bar.condition.mode for bar in bars]
    tempo = float(np.exp(np.mean([np.log(bar.tempo_bpm) for bar in bars])))
    return measure_cues(notes, 0, max(set(modes), key=modes.count), tempo)


@dataclass(frozen=True)
class Scale:
    """What is usual in a corpus: mean and spread of the cues, and of the sums."""

    mean: Floats
    """[6]."""
    spread: Floats
    """[6]."""

    @staticmethod
    def of(cues: Floats) -> "Scale":
        """Of passages [n, 6]."""
        return Scale(cues.mean(0), np.maximum(cues.std(0), 1e-6))

    def emotions(self, cues: Floats) -> Floats:
        """Sums of valence and arousal of passages [n, 6] → [n, 2], before they are ranked."""
        standard = np.clip((cues - self.mean) / self.spread, -LARGEST, LARGEST)
        return np.asarray(standard @ np.array([VALENCE_WEIGHTS, AROUSAL_WEIGHTS]).T)


def level_cuts(sums: Floats) -> Floats:
    """Cuts between six levels as frequent as one another among the training passages: [n, 2] → [5, 2]."""
    return np.asarray(np.quantile(sums, np.arange(1, N_LEVELS) / N_LEVELS, axis=0))


def levels(sums: Floats, cuts: Floats) -> NDArray[np.int64]:
    """Levels 1..6 of sums [n, 2]: [n, 2]."""
    return np.stack([1 + np.searchsorted(cuts[:, i], sums[:, i]) for i in range(2)], -1)
