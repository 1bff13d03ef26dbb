"""Whether an answer takes up the motif of its phrase: likeness of rhythm and contour, beside shuffled
answers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kelly_edge.music.motif import MOST

Floats = NDArray[np.float64]
TOLERANCE_BEATS: Final = 1.0 / 6.0
"""How far a note may lie from its place. Chosen: more than half of a sixteenth, less than half of an
eighth."""
TOGETHER_S: Final = 0.03
"""Notes within this time are struck together. Chosen: far above a person's unevenness."""
MOTIF_S: Final = 4.0
"""A motif's notes begin within this time. Chosen: two bars at 120 beats per minute."""
N_SHUFFLES: Final = 10_000
"""Chosen: p = .0001 can be told."""


class Line(NamedTuple):
    """A melody: onsets in seconds and MIDI notes, [n] each."""

    onset_s: Floats
    pitch: Floats

    def beginning(self, n: int) -> "Line":
        """The first notes, counted from the first onset."""
        n = min(n, int(np.searchsorted(self.onset_s, self.onset_s[0] + MOTIF_S)))
        return Line(self.onset_s[:n] - self.onset_s[0], self.pitch[:n])


def top_line(onset_s: Floats, end_s: Floats, pitch: Floats) -> Line:
    """The notes above which none sounds when they begin."""
    kept = []
    for i in range(onset_s.size):
        sounds = (onset_s < onset_s[i] + TOGETHER_S) & (end_s > onset_s[i] + TOGETHER_S)
        if not (sounds & (pitch > pitch[i])).any():
            kept.append(i)
    order = sorted(kept, key=lambda i: onset_s[i])
    return Line(onset_s[order], pitch[order].astype(float))


def likeness(phrase: Line, answer: Line, beat_s: float) -> float:
    """How much an answer begins as a phrase does, 0..1: the mean of rhythm and contour.

    Rhythm is the F of onsets over the phrase's first ``MOST`` notes, contour the share of the steps
    between those found that go the same way, of all steps.
    """
    if not (phrase.onset_s.size > 1 and answer.onset_s.size):
        return 0.0
    motif = phrase.beginning(MOST)
    tolerance_s = TOLERANCE_BEATS * beat_s
    played = answer.onset_s - answer.onset_s[0]
    played = played[played <= motif.onset_s[-1] + tolerance_s]
    pitch = answer.pitch[: played.size]
    pairs, k = [], 0
    for i, onset_s in enumerate(motif.onset_s):
        while k < played.size and played[k] < onset_s - tolerance_s:
            k += 1
        if k < played.size and played[k] <= onset_s + tolerance_s:
            pairs.append((i, k))
            k += 1
    rhythm = 2.0 * len(pairs) / (motif.onset_s.size + played.size)
    same = sum(
        bool(np.sign(motif.pitch[i] - motif.pitch[i - 1]) == np.sign(pitch[k] - pitch[before]))
        for (last, before), (i, k) in pairwise(pairs)
        if last == i - 1
    )
    return 0.5 * rhythm + 0.5 * same / (motif.onset_s.size - 1)


def shuffled(songs: Sequence[Floats]) -> tuple[float, float, float]:
    """Mean likeness of answers to their own phrases, that of answers shuffled within their songs, and the
    share of shuffles that come as near (p).

    ``songs``: likeness [n, n] of every phrase of a song (rows) and every answer (columns).
    """
    songs = [song for song in songs if len(song) > 1]
    if not songs:
        return float("nan"), float("nan"), float("nan")
    rng, n = np.random.default_rng(0), sum(len(song) for song in songs)
    own = sum(float(np.trace(song)) for song in songs) / n
    chance = np.array(
        [sum(song[np.arange(len(song)), rng.permutation(len(song))].sum() for song in songs) / n
         for _ in range(N_SHUFFLES)]
    )  # fmt: skip
    p = (1.0 + float((chance >= own - 1e-12).sum())) / (1.0 + N_SHUFFLES)
    return own, float(chance.mean()), p
