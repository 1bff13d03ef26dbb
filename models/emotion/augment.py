"""What another font, instrument, room or player does to the features, done to the features themselves.

Offsets last for a clip, noise for a step. ``font_shifts`` measures what changing the sound does to real
clips: the same music under two conditions. Adding such a difference, scaled at random, to another clip
stands for a sound that was never rendered.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kelly_edge.emotion.features import FEATURES, LIMIT

Float32 = NDArray[np.float32]
_START: Final = {spec.name: spec.start for spec in FEATURES}
TIMBRE: Final = slice(0, _START["onset_rate"])
PULSE: Final = slice(_START["tempogram"], _START["pitch_mean"])
HARMONY: Final = slice(_START["degree_chroma_15s"], None)


@dataclass(frozen=True)
class Augmentation:
    """Strengths, in the features' standardised unit unless a share is named."""

    noise: float = 0.15  # a step and feature
    offset: float = 0.2  # a clip and feature
    equaliser: float = 0.7  # smooth curve over the mel bands
    font_shift: float = 0.0  # standard deviation of the factor of a measured difference between two sounds
    pulse_drop: float = 0.4  # share of clips heard without tempo and tempogram
    pulse_lift: float = 1.0  # how much clearer a pulse may be
    group_drop: float = 0.05  # share of clips heard without a row of the feature table, for each row
    timbre_drop: float = 0.15  # share of clips heard without mel bands, level and spectral shape


def font_shifts(features: list[Float32], clips: list[str]) -> Float32:
    """Differences of a clip's mean features between two conditions, ``[m, 128]``; none of one condition."""
    means = defaultdict(list)
    for x, clip in zip(features, clips, strict=True):
        means[clip].append(x[len(x) // 4 :].mean(0))
    pairs = [a - b for heard in means.values() for i, a in enumerate(heard) for b in heard[:i]]
    return np.array(pairs, np.float32).reshape(-1, features[0].shape[1])


def augment(x: Float32, strength: Augmentation, shifts: Float32, rng: np.random.Generator) -> Float32:
    """An altered copy of the features ``[n, 128]`` of one clip."""
    n, size = x.shape
    offset = rng.normal(0.0, strength.offset, size)
    # Another instrument or microphone moves timbre most, rhythm and register a little, harmony hardly.
    offset[TIMBRE] *= 2.5
    offset[HARMONY] *= 0.25
    knots = rng.normal(0.0, strength.equaliser, 6)
    offset[:27] += np.interp(np.arange(27), np.linspace(0, 26, 6), knots)
    if strength.font_shift > 0.0 and len(shifts):
        offset += rng.normal(0.0, strength.font_shift) * shifts[rng.integers(len(shifts))]
    x = x.copy()
    if rng.random() < strength.timbre_drop:
        x[:, TIMBRE] = 0.0
    # A sequencer's pulse is clearer than any pianist's and means nothing for the mood.
    if rng.random() < strength.pulse_drop:
        x[:, PULSE] = 0.0
    offset[PULSE] += abs(rng.normal(0.0, strength.pulse_lift))
    for spec in FEATURES:
        if rng.random() < strength.group_drop:
            x[:, spec.slice] = 0.0
    noisy = x + offset + rng.normal(0.0, strength.noise, (n, size))
    return np.asarray(np.clip(noisy, -LIMIT, LIMIT), np.float32)
