"""Which chord sounds, from note activations, once per hop group: a causal filter over 24 triads and none.

Each chord is scored by how its template, learned from rendered songs, fits three views of the activations
(chroma, bass chroma and the lowest key that sounds) and the key heard, which tells A minor from A major where
no third is struck, as far as it is believed. Overtones that the activations take for keys of their own are
taken off first: the fifth partial of a low A is the third of A major. Scores are the emissions of a hidden
Markov model whose transitions know the key (``PROGRESSIONS``); its forward filter needs no look-ahead. A
chord is known about 0.2 s after it was struck, for that is half the window of the spectrum.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from kelly_edge.contract import N_CHORDS, N_PITCH_CLASSES
from kelly_edge.harmony.chords import MAJOR, MINOR, N_QUALITIES, N_STATES, NO_CHORD, Floats
from kelly_edge.harmony.learned import PROGRESSIONS, TEMPLATE_BIASES, TEMPLATES
from kelly_edge.signal.spectrum import LOWEST_KEY, N_KEYS
from kelly_edge.units import clamp

N_VIEWS: Final = 5
"""By definition: chroma, bass chroma, lowest key, and the key heard, by mode."""
IN_MINOR, IN_MAJOR = 3, 4
"""The views that hold a minor and a major key heard. Our own format, in the order of ``contract.Mode``."""
OVERTONES: Final = (28, 34, 40)
"""Semitones from a key up to its fifth, seventh and tenth partial: a major third, about a minor seventh, and
the third again. Nearest keys of equal temperament, by definition."""
OVERTONE: Final = 0.08
"""Share of a key's activation that is taken from the keys of its overtones. Measured: 0.03 to 0.08 of single
bass notes through FluidR3's piano from E2 up, at its C2 0.39; a third that is struck has more than half."""
DOUBTFUL, CERTAIN = 0.2, 0.6
"""Posterior of the best diatonic collection up to which the key heard counts for nothing, and from which it
counts in full. Chosen on the development songs: of five rules it explained their chords best."""
KEY_SHARE: Final = 0.7
"""Of the weights fitted to the key heard: the transitions know it as well, and borrowed chords must be heard.
Chosen on the development songs: .87 of the time right, .87 with 0.75, .86 with 1 and with 0.5, .81 with 0."""
THIRD: Final = 0.25
"""Chroma of either third, of a norm below 1, from which a chord's third is heard. Chosen: half of a tone of a
triad."""
UNHEARD: Final = 1.0
"""So much more the key tells major from minor where no third is heard: the templates take an open fifth for
major. Chosen on eight development songs: .88 of the time right, .87 with 2."""
AUDIBLE: Final = 0.02
"""Activation below which a key counts for nothing. Chosen: as in ``emotion.tonality``."""
BASS_TOP: Final = 52 - LOWEST_KEY
"""Keys up to E3 make the bass chroma. Chosen: as in ``emotion.tonal_state``."""
GATE: Final = 0.15
"""Activation, and share of the strongest, above which a key may be the lowest that sounds. Chosen: as in
``emotion.register``."""
FAINT: Final = 0.3
"""Added to the norm of a chroma: a faint chroma fits no chord. Chosen by hand."""
LOWEST_WEIGHT: Final = 1.0 / 1.1
"""Entry of the lowest key in its view, which has no other; the templates were fitted with it."""
SHARPNESS: Final = 0.8
"""Of the emissions: groups 85 ms apart hear much of the same sound. Chosen on the development songs
(docs/decisions/0022)."""
CHANGES: Final = 0.06
"""Probability that the chord changes from one group to the next. Chosen: a chord lasts 1.4 s on average, a
little less than in POP909 (about two seconds)."""
ENDS: Final = 0.01
"""Probability that the chord ends and none follows. Chosen by hand."""
NONE_SCORE: Final = 3.0
"""Score of no chord: that of noise and of silence is below, that of a chord struck above. Chosen by hand."""
OUT_OF_KEY: Final = 0.3
"""How far the key heard is doubted: share of transitions that know no key. Chosen by hand: borrowed chords
are heard too."""
KNOWN: Final = 0.15
"""Presence below which nobody plays a chord. Chosen by hand."""


class ChordState(NamedTuple):
    """What the filter remembers, and its scratch."""

    belief: Floats  # [25]
    views: Floats  # [N_VIEWS, 12], see ``view``
    scores: Floats  # [25]
    before: Floats  # [25]


def _transitions() -> Floats:
    """By collection (0..11) and, last, for an unknown key: [13, 24, 24]; rows sum to 1, none stays."""
    relative = np.array(PROGRESSIONS, np.float64)
    np.fill_diagonal(relative, 0.0)
    relative /= relative.sum(1, keepdims=True)
    # Moved up by a semitone a chord's number grows by two.
    keyed = np.stack([np.roll(relative, (2 * k, 2 * k), (0, 1)) for k in range(N_PITCH_CLASSES)])
    anywhere = keyed.mean(0)
    mixed = (1.0 - OUT_OF_KEY) * keyed + OUT_OF_KEY * anywhere
    return np.asarray(np.concatenate([mixed, anywhere[None]]), np.float32)


TRANSITIONS: Final = _transitions()
_TEMPLATES: Final = np.array(TEMPLATES, np.float32)
_BIASES: Final = np.array(TEMPLATE_BIASES, np.float32)
RELATIVE_MAJOR: Final = 3
"""Semitones from a minor tonic up to that of the major with the same notes. Definition of the relative
key."""


def collection_of(tonic: int, mode: int) -> int:
    """Row of ``TRANSITIONS`` for a key (of ``HEARD_DTYPE``): its major or relative major; 12 without."""
    if tonic < 0:
        return N_PITCH_CLASSES
    return tonic if mode == 1 else (tonic + RELATIVE_MAJOR) % N_PITCH_CLASSES


def trust_in_key(posterior: float) -> float:
    """How much a key heard counts, 0..1, at this posterior of the best diatonic collection."""
    return clamp((posterior - DOUBTFUL) / (CERTAIN - DOUBTFUL), 0.0, 1.0)


@njit(cache=True)  # type: ignore[untyped-decorator]
def view(notes: Floats, tonic: int, mode: int, trust: float, views: Floats) -> None:
    """Fold activations [88] and the key heard (-1 none), trusted 0..1, into the views [``N_VIEWS``, 12]."""
    views[:] = 0.0
    peak, lowest = 0.0, -1
    for k in range(N_KEYS):
        peak = max(peak, notes[k])
    gate = max(GATE * peak, GATE)
    for k in range(N_KEYS):
        own = notes[k]
        for step in OVERTONES:
            if k >= step:
                own -= OVERTONE * notes[k - step]
        if own > AUDIBLE:
            a = math.sqrt(own)
            views[0, (k + LOWEST_KEY) % 12] += a
            if k <= BASS_TOP:
                views[1, (k + LOWEST_KEY) % 12] += a
        if lowest < 0 and notes[k] > gate:
            lowest = k
    for v in range(2):
        norm = 0.0
        for p in range(12):
            norm += views[v, p] * views[v, p]
        norm = 1.0 / (math.sqrt(norm) + FAINT)
        for p in range(12):
            views[v, p] *= norm
    if lowest >= 0:
        views[2, (lowest + LOWEST_KEY) % 12] = LOWEST_WEIGHT
    if tonic >= 0 and mode >= 0:
        views[IN_MAJOR if mode == 1 else IN_MINOR, tonic] = trust


@njit(cache=True)  # type: ignore[untyped-decorator]
def hear_chords(templates: Floats, biases: Floats, transitions: Floats, state: ChordState) -> None:
    """One hop group, ``state.views``, into ``state.belief`` [25]; ``transitions`` [24, 24] of the key."""
    belief, views, scores, before = state.belief, state.views, state.scores, state.before
    best = NONE_SCORE
    scores[N_CHORDS] = NONE_SCORE
    for root in range(12):
        third = max(views[0, (root + 3) % 12], views[0, (root + 4) % 12])
        unheard = UNHEARD * max(1.0 - third / THIRD, 0.0)
        minor_by_key = 0.0
        for quality in range(N_QUALITIES):
            total = biases[quality]
            for v in range(N_VIEWS):
                fit = 0.0
                for p in range(12):
                    fit += templates[quality, v, p] * views[v, (root + p) % 12]
                total += fit
                if v >= IN_MINOR:
                    minor_by_key += fit if quality == MINOR else -fit
            scores[N_QUALITIES * root + quality] = total
        scores[N_QUALITIES * root + MAJOR] -= 0.5 * unheard * minor_by_key
        scores[N_QUALITIES * root + MINOR] += 0.5 * unheard * minor_by_key
        best = max(best, scores[N_QUALITIES * root + MAJOR], scores[N_QUALITIES * root + MINOR])
    before[:] = belief
    some = 1.0 - before[N_CHORDS]
    total = 0.0
    for c in range(N_STATES):
        if c == N_CHORDS:
            prior = (1.0 - CHANGES) * before[c] + ENDS * some
        else:
            moved = 0.0
            for b in range(N_CHORDS):
                moved += before[b] * transitions[b, c]
            prior = (1.0 - CHANGES - ENDS) * before[c] + CHANGES * (moved + before[N_CHORDS] / N_CHORDS)
        belief[c] = prior * math.exp(SHARPNESS * (scores[c] - best)) + 1e-9
        total += belief[c]
    for c in range(N_STATES):
        belief[c] /= total


class ChordTracker:
    """Streaming: one ``push`` per hop group.

    Attributes
    ----------
    belief: float32 [25], see ``chords``. chord, confidence: the likeliest chord and its probability;
    ``NO_CHORD`` and 0 while nobody plays.
    """

    def __init__(self) -> None:
        self._state = ChordState(
            np.zeros(N_STATES, np.float32),
            np.zeros((N_VIEWS, N_PITCH_CLASSES), np.float32),
            np.zeros(N_STATES, np.float32),
            np.zeros(N_STATES, np.float32),
        )
        self.belief = self._state.belief
        self.reset()

    def reset(self) -> None:
        """Nothing heard before."""
        self.belief[:] = 0.0
        self.belief[N_CHORDS] = 1.0
        self.chord, self.confidence = NO_CHORD, 0.0

    def push(self, notes: Floats, tonic: int, mode: int, key_posterior: float, presence: float) -> None:
        """Activations [88] of one hop group, the key heard (-1 none) with its posterior, and the presence
        0..1."""
        view(notes, tonic, int(mode), KEY_SHARE * trust_in_key(key_posterior), self._state.views)
        hear_chords(_TEMPLATES, _BIASES, TRANSITIONS[collection_of(tonic, mode)], self._state)
        if presence < KNOWN:
            self.reset()
            return
        best = int(np.argmax(self.belief))
        self.chord = best if best < N_CHORDS else NO_CHORD
        self.confidence = float(self.belief[best]) if best < N_CHORDS else 0.0
