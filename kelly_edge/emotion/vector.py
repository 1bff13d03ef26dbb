"""The 64 values the emotion network gives, once per hop group: the meaning of each entry or slice.

Supervised entries were trained on labels (EMOPIA's quadrants, music or not, the rest read from MIDI); the
learned embedding was trained only through a linear read-out of 16 symbolic descriptors of the clip, and
carries whatever that needs. The key's tonic is not here: the features are blind to transposition by design;
it is ``FeatureExtractor.tonic``.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class EmotionSpec:
    """``size`` entries of the emotion vector from ``start``."""

    name: str
    start: int
    size: int
    meaning: str


_ROWS: Final = (
    ("quadrant", 4, "logits of Q1 happy, Q2 angry, Q3 sad, Q4 calm"),
    ("valence", 1, "valence is tanh of it; half the log odds of pleasant against unpleasant"),
    ("arousal", 1, "arousal is tanh of it; half the log odds of energetic against quiet"),
    ("mode", 2, "logits of minor, major"),
    ("tempo", 1, "octaves above 120 beats a minute, folded into 80 .. 160"),
    ("density", 1, "log2 of onsets a second, 0 at two"),
    ("polyphony", 1, "log2 of notes an onset, 0 at two"),
    ("register", 1, "mean pitch, octaves above C4"),
    ("velocity", 1, "mean MIDI velocity, (velocity - 64) / 32"),
    ("music", 1, "log odds that this is music rather than speech or noise"),
    ("embedding", 50, "learned embedding, no meaning per entry"),
)


def _table() -> tuple[EmotionSpec, ...]:
    specs, start = [], 0
    for name, size, meaning in _ROWS:
        specs.append(EmotionSpec(name, start, size, meaning))
        start += size
    return tuple(specs)


EMOTION_VECTOR: Final = _table()
"""The 64, in order."""
_SLICES: Final = {spec.name: slice(spec.start, spec.start + spec.size) for spec in EMOTION_VECTOR}


def slice_of(name: str) -> slice:
    """Where the entries called ``name`` are. Raises KeyError for a name not in the table."""
    return _SLICES[name]
