"""The phrase plan: which bars of a piece return, how they are changed, and where its phrases come to rest.

A form is data: letters for its phrases, letters for the bars of a phrase. A letter that comes again is a
return. Of a phrase that returns the last bar is free, of one with a prime (A') the second half, so that it
can lead elsewhere; of a phrase's own bars ``a~`` is ``a`` moved along the scale. Every phrase ends with a
cadence: a half cadence (on the dominant) in the middle of a form, a full one (dominant, tonic) at its end.

Period, song form, bar form, rondo and ostinato are as in any textbook of form (Caplin, "Classical Form",
1998; Schoenberg, "Fundamentals of Musical Composition", 1967). How often each is drawn was fitted to how
often bars and motives return in EMOPIA's training clips (``models.composer.form``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from kelly_edge.music.compound_word import MAJOR, N_BEATS, NO_CHORD, GridNote, chord_token
from kelly_edge.music.target import Target

Name = TypeVar("Name")
NO_RETURN: Final = -1
"""``Place.like`` of a bar of new material. Our own format."""
NO_CADENCE, HALF, DOMINANT, FULL_CADENCE, FINAL = range(5)
"""What a bar does for the cadence: nothing, rests on the dominant, leads to the tonic, rests on it, is the
last chord of all."""


@dataclass(frozen=True)
class Form:
    """A kind of form."""

    phrases: str
    weight: float
    """How often it is drawn, relative to the others."""


@dataclass(frozen=True)
class Place:
    """Where a bar stands in its form."""

    phrase: str
    """Letter of its phrase, without the prime; bars of one letter share their texture."""
    like: int = NO_RETURN
    """Index in the form of the bar it returns to."""
    is_moved: bool = False
    """Whether it returns moved along the scale."""
    cadence: int = NO_CADENCE
    theme: int = NO_RETURN
    """Bar of the target's theme that it takes up."""


FORMS: Final = {
    "song": Form("A A' B A'", 4.0),
    "period": Form("A A'", 3.0),
    "call and consequent": Form("A B A' B", 1.5),
    "bar form": Form("A A B", 1.0),
    "rondo": Form("A B A C A'", 1.0),
    "ostinato": Form("A A A' A", 0.5),
    "chain": Form("A B C", 4.0),
}
"""The forms by name."""
BARS: Final = {
    3: {"a b c": 2.0, "a a~ b": 1.0},
    4: {"a b c d": 3.0, "a b a c": 1.0, "a a~ b c": 1.0},
    6: {"a b c d e f": 2.0, "a b c a b d": 1.0},
    8: {"a b c d e f g h": 2.0, "a b c d a b e f": 1.0},
}
"""The bars of a phrase by its length, and how often each pattern is drawn. Weights: fitted (see above)."""
LENGTHS: Final = {2: {4: 3.0, 8: 1.0}, 3: {3: 1.0, 4: 2.0, 6: 1.0, 8: 1.0}, 4: {4: 5.0, 8: 1.0}}
"""Lengths of phrases in bars by the beats of a bar, and how often each is drawn; of another metre as of 4.
Chosen by hand: phrases of four bars are the rule, of eight common."""
ENDING: Final = (Place("end", cadence=DOMINANT), Place("end", cadence=FINAL))
"""The bars of an ending; a short one has the last alone."""

BEND: Final = 0.3
"""A target this far from the one a form began with, in valence, arousal or density, begins another. Chosen
by hand (docs/decisions/0023)."""


@dataclass(frozen=True)
class Written:
    """A bar of the form as it was played, in C."""

    notes: tuple[GridNote, ...]
    chord: int
    density: int
    """The level that was asked for."""


@dataclass(frozen=True)
class Score:
    """A form being played: the plan and the bars written so far."""

    began: int
    """Number of its first bar: with the seed it says everything that is drawn for the form."""
    target: Target
    """The target it began for."""
    mode: int
    """Token of the mode it began in."""
    places: tuple[Place, ...]
    written: tuple[Written, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether all of its bars are written."""
        return len(self.written) >= len(self.places)

    @property
    def is_ending(self) -> bool:
        """Whether it is an ending; a form without places is none."""
        return not self.places or self.places[-1].cadence == FINAL

    @property
    def place(self) -> Place:
        """Where the next bar stands."""
        return self.places[len(self.written)]

    @property
    def model(self) -> Written | None:
        """The bar that the next one returns to; None where it is free."""
        like = self.place.like
        return self.written[like] if 0 <= like < len(self.written) else None

    def and_then(self, bar: Written) -> "Score":
        """The score with one bar more."""
        return replace(self, written=(*self.written, bar))

    def serves(self, target: Target, mode: int) -> bool:
        """Whether a small move led from the form's own target to this one: then the form goes on."""
        began = self.target
        return (
            mode == self.mode
            and target.leads == began.leads
            and all(
                abs(getattr(target, name) - getattr(began, name)) <= BEND
                for name in ("valence", "arousal", "density")
            )
        )


def _drawn(rng: np.random.Generator, weights: Mapping[Name, float]) -> Name:
    names = list(weights)
    shares = np.array(list(weights.values()))
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def lay_out(phrases: str, bars: str) -> tuple[Place, ...]:
    """The places of a form: ``phrases`` as in ``FORMS``, ``bars`` as in ``BARS``."""
    names, pattern = phrases.split(), bars.split()
    n = len(pattern)
    firsts: dict[str, int] = {}
    places: list[Place] = []
    for p, name in enumerate(names):
        letter = name.rstrip("'")
        n_free = n // 2 if name.endswith("'") else 1
        of = firsts.setdefault(letter, len(places))
        for i, figure in enumerate(pattern):
            like, is_moved = NO_RETURN, False
            own = pattern.index(figure.rstrip("~"))
            if of < p * n and i < n - n_free:
                like = of + i
            elif of == p * n and own < i:
                like, is_moved = of + own, figure.endswith("~")
            cadence = NO_CADENCE
            if p == len(names) - 1:
                cadence = {n - 1: FULL_CADENCE, n - 2: DOMINANT}.get(i, NO_CADENCE)
            elif i == n - 1:
                cadence = HALF
            # A bar that leads to a close is written for it, not brought back.
            like = NO_RETURN if cadence in (HALF, FULL_CADENCE) else like
            places.append(Place(letter, like, is_moved and like != NO_RETURN, cadence))
    return tuple(places)


def draw_places(rng: np.random.Generator, n_beats: int = N_BEATS) -> tuple[Place, ...]:
    """The places of a form drawn for bars of ``n_beats`` beats."""
    name = _drawn(rng, {name: form.weight for name, form in FORMS.items()})
    length = _drawn(rng, LENGTHS.get(n_beats, LENGTHS[N_BEATS]))
    return lay_out(FORMS[name].phrases, _drawn(rng, BARS[length]))


def ending_places(n_bars: int) -> tuple[Place, ...]:
    """The places of an ending of ``n_bars``, 1 or 2."""
    return ENDING[-n_bars:]


def theme_places(n_theme: int, n_bars: int) -> tuple[Place, ...]:
    """The places of ``n_bars`` that take up a theme of ``n_theme``.

    It opens them, it is moved along the scale where there is room for it once more, and they close.
    """
    places = [Place("theme", theme=bar) for bar in range(min(n_theme, n_bars))]
    if 2 * n_theme < n_bars:
        places += [Place("theme", is_moved=True, theme=bar) for bar in range(n_theme)]
    n_free = n_bars - len(places)
    places += [
        Place("theme", cadence=FULL_CADENCE if bar == n_free - 1 else NO_CADENCE) for bar in range(n_free)
    ]
    return tuple(places)


CADENCE: Final = 3.0
"""Nats added to the chords of a cadence: no certainty, since the player's chords may forbid them. Chosen
by hand."""


def tonic_chord(mode: int) -> int:
    """Token of the tonic triad."""
    return chord_token(0, "maj" if mode == MAJOR else "min")


def cadence_bias(cadence: int, mode: int) -> NDArray[np.float32]:
    """Nats for each chord token in a bar with this cadence: [n_chords]."""
    bias = np.zeros(NO_CHORD + 1, np.float32)
    if cadence in (HALF, DOMINANT):
        bias[[chord_token(7, "maj"), chord_token(7, "7")]] = CADENCE
    elif cadence in (FULL_CADENCE, FINAL):
        bias[tonic_chord(mode)] = CADENCE
    return bias
