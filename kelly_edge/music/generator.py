"""Composing bar by bar: a target in, a bar of notes out, with a way back.

Randomness is seeded by (seed, bar number): composing a bar again for the same target gives the same bar
(``manner``), and every bar line is kept for a while (``moments``), so the music may be taken back and does
not depend on how far ahead it is composed.

Above bars there is a plan (``form``). The network draws a free bar row by row and reads one that returns
(``drawing``); work per bar is bounded: at most ``max_rows_per_bar`` notes and the reading of one new window.

The network thinks in C; pitches are moved to the tonic here.
"""

from dataclasses import replace
from typing import Final

from kelly_edge.contract import Rung
from kelly_edge.music import expression
from kelly_edge.music.compound_word import (
    MAJOR,
    N_BEATS,
    N_DENSITIES,
    UNKNOWN,
    GridNote,
    tempo_of,
    tempo_token,
)
from kelly_edge.music.drawing import Drawing
from kelly_edge.music.draws import Draws
from kelly_edge.music.form import FINAL, Score, Written, draw_places, ending_places, theme_places
from kelly_edge.music.manner import DELAYS, FORM, Manner
from kelly_edge.music.moments import Moment, Moments, a_bar_later
from kelly_edge.music.notes import Bar
from kelly_edge.music.recital import last_chord, ordered
from kelly_edge.music.sampling import SCALES, ComposerNetwork, SamplingSettings
from kelly_edge.music.sounding import delays_s, lengths, sounding
from kelly_edge.music.target import Target, sane

SHORT_CONTEXT_ROWS: Final = 64
"""Rows read again on the rung ``short_context``. Chosen: a quarter of the context."""
SHORT_MAX_ROWS: Final = 24
"""Rows of a bar on that rung. Chosen: a bar of medium density."""
FIRST_TEMPO_BPM: Final = 90.0
"""Of bars that are not composed where no tempo is known. Chosen by hand."""


class Generator:
    """Composes bar after bar; see the module's text.

    Attributes
    ----------
    draws: the tokens drawn.
    """

    def __init__(self, network: ComposerNetwork, settings: SamplingSettings, seed: int) -> None:
        self._network = network
        self._settings = settings
        self._manner = Manner(seed)
        self._moments = Moments(network)
        self.draws = Draws()

    def begin(self) -> None:
        """Forget what was composed: bar 0 comes next, as at first."""
        self._moments.begin()

    @property
    def next_bar(self) -> int:
        """Number of the bar that ``compose_bar`` will compose."""
        return self._moments.now.number

    @property
    def score(self) -> Score | None:
        """The form being played, with the bars written so far; None where none has begun."""
        return self._moments.now.score

    def rewind(self, bar_number: int) -> None:
        """Go back, so that ``compose_bar`` composes ``bar_number`` again.

        Raises
        ------
        ValueError: the bar line is in the future or no longer kept (``moments.N_SNAPSHOTS``, ``N_WINDOWS``).
        """
        self._moments.rewind(bar_number)

    def compose_bar(self, target: Target, rung: int = Rung.FULL) -> Bar:
        """The next bar for ``target``, made in the way of ``rung`` (``contract.Rung``)."""
        target = sane(target)
        number = self.next_bar
        score = self._score(target)
        if rung == Rung.REST or (target.ending and score.is_over):
            notes, tempo, after = self._rest(target, score)
        elif rung == Rung.CONTINUATION:
            notes, tempo, after = self._continue(target, score)
        else:
            notes, tempo, after = self._draw(target, score, is_short=rung == Rung.SHORT_CONTEXT)
        self._moments.append(after)
        shift, tempo_bpm = self._manner.shift(target), target.tempo_bpm or tempo_of(tempo)
        key = (-1, -1)
        if notes or target.tonic >= 0:
            key = (shift % 12, int(self._manner.mode(target) == MAJOR))
        if not notes:
            return Bar(number, tempo_bpm, N_BEATS, (), rung, *key)
        # An ending is played as it is written: it ends when it was asked to.
        unevenness = 0.0 if score.is_ending else self._settings.unevenness
        player = unevenness, self._manner.touch(score), self._manner.rng(DELAYS, number)
        late_beats, held = delays_s(notes, *player) * tempo_bpm / 60.0, lengths(notes, *player)
        return Bar(number, tempo_bpm, N_BEATS, sounding(notes, shift, late_beats, held), rung, *key)

    def _score(self, target: Target) -> Score:
        """The form that the next bar belongs to: the one being played, if it still serves, or a new one."""
        now = self._moments.now
        score, mode = now.score, self._manner.mode(target)
        if target.ending:
            if score is not None and score.is_ending:
                return score
            ending = Score(now.number, target, mode, ending_places(target.ending))
            # Where nothing plays there is nothing to end.
            return ending if score is not None else replace(ending, places=())
        theme = target.theme
        if theme is not None and (score is None or score.target.theme != theme):
            return Score(now.number, target, mode, theme_places(len(theme.bars), theme.n_bars))
        if score is None or score.is_over or score.is_ending or not score.serves(target, mode):
            return Score(now.number, target, mode, draw_places(self._manner.rng(FORM, now.number)))
        return score

    def _usual_tempo(self, target: Target) -> int:
        """Tempo token of a bar that is not composed."""
        if target.tempo_bpm:
            return tempo_token(target.tempo_bpm)
        return self._moments.now.tempo or tempo_token(FIRST_TEMPO_BPM)

    def _rest(self, target: Target, score: Score) -> tuple[tuple[GridNote, ...], int, Moment]:
        """A bar of silence; after it a form begins anew, unless the music has ended."""
        now, tempo = self._moments.now, self._usual_tempo(target)
        kept = score if score.is_ending else None
        ends = a_bar_later(now.ends)
        return (), tempo, replace(now, number=now.number + 1, tempo=tempo, ends=ends, score=kept)

    def _continue(self, target: Target, score: Score) -> tuple[tuple[GridNote, ...], int, Moment]:
        """The last bar's notes once more, or the last chord, without the network."""
        now, tempo = self._moments.now, self._usual_tempo(target)
        mode = self._manner.mode(target)
        notes = now.recent[-1] if now.recent else ()
        if score.place.cadence == FINAL:
            notes = last_chord(mode, expression.melody_pitch(now.melody), target.tempo_bpm or tempo_of(tempo))
        if target.tonic >= 0:
            notes = into_key(notes, mode)
        shift = self._manner.shift(target)
        notes = tuple(n for n in notes if target.classes >> (n.pitch + shift) % 12 & 1)
        score = score.and_then(Written(notes, UNKNOWN, N_DENSITIES))
        ends = a_bar_later(now.ends)
        return notes, tempo, replace(now, number=now.number + 1, tempo=tempo, ends=ends, score=score)

    def _draw(self, target: Target, score: Score, is_short: bool) -> tuple[tuple[GridNote, ...], int, Moment]:
        """Notes and tempo token of the next bar from the network, and the moment after it."""
        context = self._network.context
        max_notes = min(self._settings.max_rows_per_bar, SHORT_MAX_ROWS if is_short else context // 4)
        now = self._moments.now
        # The bar's own row, too.
        reading = self._moments.room(max_notes + 1, SHORT_CONTEXT_ROWS if is_short else context // 2)
        drawing = Drawing(
            self._network, self._settings, self._manner, now, reading, target, score, self.draws.settle
        )
        return drawing.draw(max_notes)


def into_key(notes: tuple[GridNote, ...], mode: int) -> tuple[GridNote, ...]:
    """Notes moved into the scale by a semitone, up in major and down in minor: thirds stay thirds."""
    step = 1 if mode == MAJOR else -1
    scale = SCALES[mode == MAJOR]
    return ordered([n if n.pitch % 12 in scale else replace(n, pitch=n.pitch + step) for n in notes])
