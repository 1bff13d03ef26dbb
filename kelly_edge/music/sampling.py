"""Deciding a row of compound words: the network's heads, legality masks, temperature and nucleus.

The network's trunk gives a context vector a head; a head is ``relu(context + parents) @ weight + bias``,
where each parent is a table row chosen by a family of the same row decided before. So the families of a
row are drawn one after another, each knowing those before it, at the cost of one pass through the trunk.
Randomness comes from the generator passed in; nothing here keeps state.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from kelly_edge.music.compound_word import (
    CHORD,
    CHORD_QUALITIES,
    COLUMN,
    DURATION,
    FAMILIES,
    MAJOR,
    NO_CHORD,
    PITCH,
    PITCH_LOW,
    POSITION,
    SAMPLED,
    TEMPO,
    TYPE,
    UNKNOWN,
    VALENCE,
    VELOCITY,
    Rows,
)
from kelly_edge.music.known_runs import KnownRuns

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

HEAD: Final = {COLUMN[family.name]: i for i, family in enumerate(SAMPLED)}
"""Head of a family, by its column."""
PARENT_SLOTS: Final = tuple(
    (i, COLUMN[parent]) for i, family in enumerate(SAMPLED) for parent in family.parents
)
"""(head, column of the parent) of every parent table."""
GUIDED: Final = {COLUMN[f.name] for f in SAMPLED if "valence" in f.parents}
"""Families whose heads know the valence asked for."""
# Keys of a piano, as MIDI notes (MIDI 1.0): A0 to C8.
PIANO_LOW, PIANO_HIGH = 21, 108
MAX_TOGETHER: Final = 6
"""Notes that may begin on one position. Chosen: a chord in two hands."""
SCALES: Final = {True: (0, 2, 4, 5, 7, 9, 11), False: (0, 2, 3, 5, 7, 8, 10)}
"""Scale on C when the mode is major, and when it is minor. Definition of the major and the natural minor
scale."""
# Semitones; definition of the intervals.
MINOR_THIRD, MAJOR_THIRD = 3, 4
LEADING_TONE: Final = 11
"""In minor it belongs to the key where the chord holds it. Semitones above the tonic, by definition."""
NUCLEUS: Final = {
    TYPE: 1.0,
    TEMPO: 0.95,
    CHORD: 0.95,
    POSITION: 1.0,
    PITCH: 0.83,
    DURATION: 1.0,
    VELOCITY: 1.0,
}
"""Share of the probability a family draws from. Chosen by hand: the smaller, the safer and the duller
(Holtzman et al., 2020)."""


RESTRUCK: Final = 2.0
"""Nats taken from a pitch that still sounds. In the data a note ends before its pitch is struck again; a
network that strikes it earlier cuts its own note short. Chosen by hand."""


@dataclass(frozen=True)
class SamplingSettings:
    """How freely rows are drawn."""

    temperature: float = 1.0
    """Above 1 wilder, below 1 tamer; in every family but ``type``, which keeps the bars' lengths true."""
    top_p: float = 1.0
    """Nucleus: at most this share of the probability (families have their own limits besides)."""
    repetition: float = 2.0
    """Nats taken from a pitch that would make a bar repeat the two bars before it once more."""
    guidance: float = 2.0
    """How far logits are moved on from those of an unknown valence: classifier-free guidance of the heads
    (Ho & Salimans 2021). Arousal is plain enough without."""
    max_rows_per_bar: int = 48
    """Notes a bar may have."""
    unevenness: float = 1.0
    """Share of a player's delays after the grid (``sounding.NOTE_DELAY_S``); 0 is a machine's time."""


@dataclass(frozen=True)
class HeadTables:
    """The heads of a network, float32."""

    start: Floats
    """[n_heads, head_width]: contexts of the very first row."""
    parents: tuple[Floats, ...]
    """[size of the parent family, head_width] each, as ``PARENT_SLOTS``."""
    weights: tuple[Floats, ...]
    """[head_width, size] each, as ``SAMPLED``."""
    biases: tuple[Floats, ...]
    """[size] each."""
    together: Floats
    """[2, head_width], added to the context of the pitch: of a note that begins alone or anew (0), and of
    one on the position of the note before it (1), which lies above that. Position and context, added up,
    do not tell the two apart."""


@dataclass
class KvCache:
    """Keys and values of the rows a network has read; the first ``n`` rows count, the caller keeps n."""

    keys: Floats
    """[n_layers, n_heads, context, head_size]."""
    values: Floats
    """The same shape."""


class ComposerNetwork(Protocol):
    """What composing needs of a network (an adapter in ``firmware_py/runtimes``)."""

    context: int
    """Rows a cache holds."""
    tables: HeadTables
    known_runs: KnownRuns
    """Runs of notes it was trained on."""

    def new_cache(self) -> KvCache:
        """An empty cache."""

    def step(self, row: Rows, cache: KvCache, n_rows: int, contexts: Floats) -> None:
        """Read ``row`` [11] as number ``n_rows`` of ``cache``, add its keys and values there, and write
        the contexts [n_heads, head_width] of the row after it."""


def tell_together(tables: HeadTables, contexts: Floats, together: bool) -> None:
    """Tell the head of the pitch, in place, whether its note is struck with the one before it."""
    contexts[HEAD[PITCH]] += tables.together[int(together)]


def head_logits(tables: HeadTables, contexts: Floats, column: int, row: Rows) -> Floats:
    """Logits [size] of the family ``column``; parents are read from ``row`` [11]."""
    head = HEAD[column]
    total = contexts[head]
    for slot, (owner, parent) in enumerate(PARENT_SLOTS):
        if owner == head:
            total = total + tables.parents[slot][row[parent]]
    logits: Floats = np.maximum(total, 0.0) @ tables.weights[head] + tables.biases[head]
    return logits


def draw(logits: Floats, legal: Mask, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    """A legal token: softmax at ``temperature``, cut to the smallest set of probability ``top_p``.

    ``legal`` has at least one True; one uniform number is used, whatever the outcome.
    """
    scores = np.where(legal, logits, -np.inf).astype(np.float64)
    probabilities = np.exp((scores - scores.max()) / max(temperature, 1e-3))
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities, kind="stable")
    cumulative = np.cumsum(probabilities[order])
    n_kept = int(np.searchsorted(cumulative, top_p * (1.0 - 1e-9))) + 1
    kept = cumulative[: min(n_kept, int(legal.sum()))]
    return int(order[min(int(np.searchsorted(kept, rng.random() * kept[-1], side="right")), len(kept) - 1)])


def chord_classes(chord: int) -> tuple[int, ...]:
    """Pitch classes of a chord token, tonic at 0; empty for no chord."""
    if not 1 <= chord < NO_CHORD:
        return ()
    root, quality = divmod(chord - 1, len(CHORD_QUALITIES))
    return tuple((root + step) % 12 for step in list(CHORD_QUALITIES.values())[quality])


def _brightness(chord: int) -> float:
    if not 1 <= chord < NO_CHORD:
        return 0.0
    steps = list(CHORD_QUALITIES.values())[(chord - 1) % len(CHORD_QUALITIES)]
    return float(MAJOR_THIRD in steps) - float(MINOR_THIRD in steps)


CHORD_BRIGHTNESS: Final = np.array([_brightness(token) for token in range(NO_CHORD + 1)], np.float32)
"""1 for chord tokens with a major third, -1 with a minor third, else 0: [n_chords]."""


def _pitch_classes(chord: int, major: bool) -> set[int]:
    """The scale, with the leading tone in minor where the chord holds it."""
    return {*SCALES[major], *({LEADING_TONE} & set(chord_classes(chord)))}


def _chord_in_key(chord: int, major: bool) -> bool:
    classes = set(chord_classes(chord))
    dominant = chord in (1 + 7 * len(CHORD_QUALITIES), 1 + 7 * len(CHORD_QUALITIES) + 5)
    return classes <= {*SCALES[major], *({LEADING_TONE} if dominant else ())}


CHORDS_IN_KEY: Final = {
    major: np.array([token > 0 and _chord_in_key(token, major) for token in range(NO_CHORD + 1)])
    for major in (True, False)
}
"""Legal chord tokens under key lock."""


def pitches_in_key(chord: int, mode: int) -> Mask:
    """Pitch tokens of the key (and of its dominant in minor); mask [size of pitch]."""
    classes = _pitch_classes(chord, mode == MAJOR)
    return np.array([t > 0 and (t - 1 + PITCH_LOW) % 12 in classes for t in range(FAMILIES[PITCH].size)])


def pitches_within(classes: int) -> Mask:
    """Pitch tokens whose class (tonic at 0) is in the set ``classes`` (``fitting``); mask [size of pitch]."""
    return np.array(
        [t > 0 and bool(classes >> (t - 1 + PITCH_LOW) % 12 & 1) for t in range(FAMILIES[PITCH].size)]
    )


def nearest_chords(classes: int, legal: Mask) -> Mask:
    """Those of the ``legal`` chord tokens with the fewest notes outside the set ``classes``, tonic at 0.

    No chord is one of them only where a chord fits whole: a bar without a chord is next to empty.
    """
    n_foreign = np.array(
        [sum(not classes >> c & 1 for c in chord_classes(t)) for t in range(FAMILIES[CHORD].size)]
    )
    fewest = n_foreign[:NO_CHORD][legal[:NO_CHORD]].min()
    nearest: Mask = legal & (n_foreign == fewest)
    return nearest


def next_positions(position: int, full: bool) -> Mask:
    """Position tokens that keep a bar in order: ``position`` (a token, 0 at the bar line) or later.

    ``full``: nothing more may begin at ``position``.
    """
    tokens = np.arange(FAMILIES[POSITION].size)
    legal: Mask = (tokens > position) if full else (tokens >= max(1, position))
    return legal


def every_token(column: int) -> Mask:
    """All tokens of a family but 0."""
    legal = np.ones(FAMILIES[column].size, np.bool_)
    legal[0] = False
    return legal


def near_tempi(tempo: int) -> Mask:
    """Tempo tokens that may follow ``tempo``: itself and its neighbours; all if it is unknown."""
    legal = every_token(TEMPO)
    if tempo != UNKNOWN:
        legal &= np.abs(np.arange(len(legal)) - tempo) <= 1
    return legal


def piano_range(shift: int) -> Mask:
    """Pitch tokens that lie on the piano after moving by ``shift`` semitones."""
    pitches = np.arange(FAMILIES[PITCH].size) - 1 + PITCH_LOW + shift
    legal: Mask = (pitches >= PIANO_LOW) & (pitches <= PIANO_HIGH)
    legal[0] = False
    return legal


def _as_drawn(token: int, legal: Mask) -> int:
    return token


@dataclass(frozen=True)
class Sampler:
    """Decides the families of rows with one network's heads and one source of randomness.

    Parameters
    ----------
    settle: gets each token drawn, with the mask of those that are legal, and gives the one that counts
        (``draws``).
    """

    tables: HeadTables
    settings: SamplingSettings
    rng: np.random.Generator
    settle: Callable[[int, Mask], int] = field(default=_as_drawn, kw_only=True)

    def decide(
        self,
        contexts: Floats,
        row: Rows,
        column: int,
        legal: Mask,
        bias: Floats | None = None,
    ) -> None:
        """Draw the family ``column`` into ``row``; ``bias`` [size] is added to its logits."""
        logits = head_logits(self.tables, contexts, column, row)
        if column in GUIDED and self.settings.guidance > 0.0:
            neutral = row.copy()
            neutral[VALENCE] = UNKNOWN
            logits += self.settings.guidance * (logits - head_logits(self.tables, contexts, column, neutral))
        if bias is not None:
            logits += bias
        temperature = 1.0 if column == TYPE else self.settings.temperature
        top_p = 1.0 if column == TYPE else min(self.settings.top_p, NUCLEUS[column])
        row[column] = self.settle(draw(logits, legal, temperature, top_p, self.rng), legal)
