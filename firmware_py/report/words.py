"""Times, moods and lists in words."""

import math
from typing import Final

MIDDLE: Final = 0.12
"""Valence and arousal nearer to 0 than this are neither one nor the other. Chosen: as
``scheduler.REPLAN_DISTANCE``, the smallest change that is played."""
WORDS: Final = {
    (1, 1): "happy", (-1, 1): "tense", (-1, -1): "sad", (1, -1): "calm", (1, 0): "pleasant",
    (-1, 0): "unpleasant", (0, 1): "excited", (0, -1): "quiet", (0, 0): "neutral",
}  # fmt: skip


def span(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90.0:
        return f"{seconds:.0f} seconds"
    if seconds < 600.0 and round(seconds / 30.0) % 2:
        return f"{int(seconds // 60)}½ minutes"
    return f"{round(seconds / 60.0)} minutes"


def clock(seconds: float) -> str:
    """A time of the session: minutes and seconds, or with hours."""
    whole = int(max(0.0, seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def mood_word(valence: float, arousal: float) -> str:
    """The quadrant's or the axis's word."""
    v, a = (0 if abs(value) < MIDDLE else int(math.copysign(1, value)) for value in (valence, arousal))
    return WORDS[v, a]


def joined(words: list[str], last: str = "and") -> str:
    """Words with commas between them and ``last`` before the last."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
