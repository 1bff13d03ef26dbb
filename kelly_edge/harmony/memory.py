"""Which chords come: a loop recognised while it is played, beside what usually follows in the key.

Time is counted in *beats*; each keeps the mean of the beliefs heard in it. Experts predict the next beat
and are weighted by how well they predicted the last ones. There is one for each distance up to ``FARTHEST``
beats, which expects the chord that sounded at that distance: a suffix memory, for the longer a repetition has
lasted, the more it is believed. One more expects the chord to stay, or to move on as chords do in this key,
at the places of the bar where chords change.
"""

import math
from typing import Final

import numpy as np
from numba import njit

from kelly_edge.contract import N_CHORDS
from kelly_edge.harmony.chords import N_STATES, Floats

FARTHEST: Final = 64
"""Beats back that are compared: sixteen bars of four. Chosen: a loop of four, eight or sixteen bars comes
round within it."""
FORGET: Final = 0.85
"""What experts keep of their score from beat to beat. Chosen by hand: the last six beats or so count."""
DOUBT: Final = 0.02
"""Added to the probability that an expert gave to the chord that came, so that one wrong beat does not end
its credit. Chosen on the development songs (docs/decisions/0022)."""
PLACES: Final = (0.6, 0.1, 0.35, 0.1)
"""Probability of a change at the beats of a bar of four, from the first. Chosen by hand: chords of songs
change on first and third beats."""
ANYWHERE: Final = 0.3
"""The same where the bar is not known. Chosen: about the mean of ``PLACES``."""

TRUSTS: Final = 0.97
"""Probability that a chord stays at a beat, as the filter is taken to assume. Chosen by hand."""

SURPRISE: Final = 1e-3
"""Share of the belief that follows the ears alone, however unlikely the forecast held it. Chosen by hand."""


def changes_at(place: int, n_beats: int) -> float:
    """Probability that the chord changes at beat ``place`` (0 first; -1 unknown) of a bar of ``n_beats``."""
    if place < 0:
        return ANYWHERE
    if place == 0:
        return PLACES[0]
    return PLACES[2] if 2 * place == n_beats else PLACES[1]


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move_on(belief: Floats, transitions: Floats, changes: float, out: Floats) -> None:
    """The chord stays, or changes as chords do: ``belief`` a beat later, into ``out`` [25]."""
    for c in range(N_STATES):
        moved = 0.0
        if c < N_CHORDS:
            for b in range(N_CHORDS):
                moved += belief[b] * transitions[b, c]
        else:
            moved = belief[c]
        out[c] = (1.0 - changes) * belief[c] + changes * moved


@njit(cache=True)  # type: ignore[untyped-decorator]
def score_experts(
    heard: Floats, past: Floats, n_past: int, transitions: Floats, changes: float, scores: Floats
) -> None:
    """How well each expert predicted ``heard`` [25], into the running log scores [1 + FARTHEST].

    ``past`` [FARTHEST, 25]: the beats before, the newest first; ``n_past`` of them count.
    """
    expected = np.zeros(N_STATES, np.float32)
    _move_on(past[0], transitions, changes, expected)
    for e in range(FARTHEST + 1):
        agreement = 0.0
        if e == 0:
            for c in range(N_STATES):
                agreement += expected[c] * heard[c]
        elif e <= n_past:
            for c in range(N_STATES):
                agreement += past[e - 1, c] * heard[c]
        scores[e] = FORGET * scores[e] + math.log(agreement + DOUBT)


@njit(cache=True)  # type: ignore[untyped-decorator]
def foretell(
    now: Floats, past: Floats, n_past: int, scores: Floats, transitions: Floats, changes: Floats, out: Floats
) -> None:
    """Beliefs about the next beats, into ``out`` [n, 25]; ``now`` [25] is that of the beat that sounds.

    ``changes`` [n]: probability of a change at each.
    """
    weights = np.zeros(FARTHEST + 1, np.float32)
    best = scores.max()
    total = 0.0
    for e in range(FARTHEST + 1):
        if e == 0 or e - 1 <= n_past:
            weights[e] = math.exp(scores[e] - best)
            total += weights[e]
    for n in range(out.shape[0]):
        row = out[n]
        _move_on(now if n == 0 else out[n - 1], transitions, changes[n], row)
        for c in range(N_STATES):
            row[c] *= weights[0] / total
        left = weights[0] / total
        for e in range(1, FARTHEST + 1):
            # Beat n + 1 from now, less e: 0 is the beat that sounds, -1 the one before it.
            source = n + 1 - e
            if weights[e] <= 0.0 or -source > n_past:
                continue
            share = weights[e] / total
            left += share
            for c in range(N_STATES):
                belief = (
                    out[source - 1, c] if source > 0 else (now[c] if source == 0 else past[-source - 1, c])
                )
                row[c] += share * belief
        for c in range(N_STATES):
            row[c] /= left


class ChordMemory:
    """The beats heard, streaming: ``hear`` per hop group, ``end_beat`` at every beat.

    Attributes
    ----------
    now: belief about the beat that sounds, float32 [25]: its forecast, corrected by the beliefs heard in
    it so far.
    """

    def __init__(self) -> None:
        self._past = np.zeros((FARTHEST, N_STATES), np.float32)
        self._sum = np.zeros(N_STATES, np.float32)
        self._scores = np.zeros(FARTHEST + 1, np.float32)
        self._foretold = np.zeros(N_STATES, np.float32)
        self._assumed = np.zeros(N_STATES, np.float32)
        self._belief = np.zeros(N_STATES, np.float32)
        self.now = np.zeros(N_STATES, np.float32)
        self.forget()

    def forget(self) -> None:
        """Nothing heard before."""
        self._n_past = self._n_heard = 0
        self._sum[:] = self._scores[:] = self.now[:] = 0.0
        self.now[N_CHORDS] = 1.0
        self._foretold[:] = self._assumed[:] = 1.0

    def hear(self, belief: Floats) -> None:
        """One hop group of the beat that sounds."""
        # The filter assumed at the beat that the chord hardly ever changes. Its belief divided by that
        # assumption is the evidence heard since, which is applied to the forecast instead.
        np.multiply(self._foretold, belief / self._assumed, out=self.now)
        # A chord that was thought impossible and is heard all the same is not lost.
        self.now += SURPRISE * belief
        self.now *= 1.0 / float(self.now.sum())
        self._belief[:] = belief
        self._sum += belief
        self._n_heard += 1

    def end_beat(self, transitions: Floats, changed: float, changes: float) -> None:
        """The beat is over; ``changed``, ``changes``: probability that the chord changed at it, and that it
        changes at the next one."""
        if not self._n_heard:
            return
        heard = self._sum / self._n_heard
        if self._n_past:
            score_experts(heard, self._past, self._n_past, transitions, changed, self._scores)
        self._foretold[:] = self.foretell(transitions, np.full(1, changes, np.float32))[0]
        self._assumed[:] = TRUSTS * self._belief + (1.0 - TRUSTS) / N_STATES
        self._past[1:] = self._past[:-1]
        self._past[0] = heard
        self._n_past = min(self._n_past + 1, FARTHEST)
        self._sum[:] = 0.0
        self._n_heard = 0

    def foretell(self, transitions: Floats, changes: Floats) -> Floats:
        """Beliefs about the next beats: [n, 25] for ``changes`` [n], the probability of a change at each."""
        out = np.zeros((len(changes), N_STATES), np.float32)
        foretell(self.now, self._past, self._n_past, self._scores, transitions, changes, out)
        return out
