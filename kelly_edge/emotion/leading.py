"""Mode and tempo for the target emotion: music that follows takes those heard, music that leads sets them.

Of what a listener hears in music, mode tells valence best and tempo tells arousal best (Gomez and Danuser,
Emotion 7(2), 2007). A programme that keeps to the mode and tempo heard cannot lead, so one that leads keeps
to the tonic heard alone:

- The mode matched last stays until the target valence is on the goal's side of 0; then it is the goal's. It
  never turns away from the goal.
- On the way to the change the music turns by degrees: while the target valence is near 0 it leaves the chords
  heard for those of its key that are like the mode to come, as a modulation does.
- The tempo matched last moves to the goal's at the rate at which the emotion is led.
- A phase that leads after another one goes on from the mode and tempo led to.
- A hand on the valence knob turns the mode in its direction only, once the target valence is there or
  nearly there. A knob turned to its end always gets its mode.
- A hand on the arousal knob speeds up or slows down the tempo, heard or led.

A knob near its middle is no hand: the box plays in the mode and at the tempo of the person it follows.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.contract import Mode
from kelly_edge.emotion.steering import Lead
from kelly_edge.units import clamp

MAJOR, MINOR, UNKNOWN = Mode.MAJOR, Mode.MINOR, Mode.UNKNOWN
ASKS, ASKS_NO_MORE = 0.25, 0.15
"""Distance of a knob from its middle from which a hand asks, and within which it no longer does. Shares of
a knob's half range; chosen by hand, apart so that a trembling hand does not flap (docs/decisions/0011)."""
KNOB_WEIGHT: Final = 0.5
"""How much more than the emotion heard the knob counts when the mode is chosen. Chosen so that a knob at
its end always decides (docs/decisions/0011)."""
MODE_HYSTERESIS: Final = 0.1
"""The mode a hand asked for comes and goes at different valences, so that it does not flap. Units of
valence; chosen by hand (docs/decisions/0011)."""
TURNS_FROM: Final = 0.4
"""Distance of the target valence from 0 from which the music turns to the mode to come. Chosen by hand: most
of the way from a plainly sad or happy mood (docs/decisions/0042)."""
MIDDLE_BPM, BPM_RATIO = 96.0, 1.5
"""Tempo at arousal 0, and how many times faster it is one unit above: 64 bpm at -1, 144 bpm at 1. Our choice:
what is called calm music has 60 to 80 bpm, what drives has above 120."""


def tempo_at(arousal: float) -> float:
    """Beats per minute that go with an arousal."""
    return MIDDLE_BPM * math.pow(BPM_RATIO, arousal)


def arousal_at(tempo_bpm: float) -> float:
    """The arousal that goes with a tempo: the inverse of ``tempo_at``."""
    return math.log(tempo_bpm / MIDDLE_BPM, BPM_RATIO)


@dataclass(frozen=True)
class Leading:
    """What was matched last, and what a hand asks for."""

    mode: int = UNKNOWN
    tempo_bpm: float = 0.0
    asked_mode: int = UNKNOWN
    asks_tempo: bool = False
    led_mode: int = UNKNOWN
    led_tempo_bpm: float = 0.0
    """Where the programme has led both by now, without a hand."""
    n_begun: int = -1
    """The phase that leads (``Lead.n_begun``)."""


@dataclass(frozen=True)
class Wish:
    """The target emotion and its parts: ``valence`` and ``arousal`` before the knobs."""

    valence: float
    arousal: float
    knob_valence: float
    knob_arousal: float
    lead: Lead | None
    """Where the programme leads; None while it follows."""


def _asked_mode(before: int, wish: Wish) -> int:
    """Mode that the hand on the valence knob asks for: its direction's, or ``UNKNOWN``."""
    knob = wish.knob_valence
    mode = MAJOR if knob > 0.0 else MINOR
    asks_already = before == mode
    if abs(knob) < (ASKS_NO_MORE if asks_already else ASKS):
        return UNKNOWN
    wanted = clamp(wish.valence + knob, -1.0, 1.0) + KNOB_WEIGHT * knob
    beyond_0 = wanted if mode == MAJOR else -wanted
    return mode if beyond_0 > (-MODE_HYSTERESIS if asks_already else MODE_HYSTERESIS) else UNKNOWN


def lead(state: Leading, mode: int, tempo_bpm: float, wish: Wish) -> Leading:
    """One hop group; ``mode`` and ``tempo_bpm`` are those followed (-1 and 0: none)."""
    if wish.lead is None:
        state = replace(
            state, mode=mode, tempo_bpm=tempo_bpm, led_mode=mode, led_tempo_bpm=tempo_bpm, n_begun=-1
        )
    elif wish.lead.n_begun >= 0:
        if wish.lead.n_begun != state.n_begun:
            n_begun = wish.lead.n_begun
            state = replace(state, mode=state.led_mode, tempo_bpm=state.led_tempo_bpm, n_begun=n_begun)
        state = replace(
            state, led_mode=_led_mode(state, wish), led_tempo_bpm=tempo_at(_led_tempo(state, wish))
        )
    asks_tempo = abs(wish.knob_arousal) >= (ASKS_NO_MORE if state.asks_tempo else ASKS)
    return replace(state, asked_mode=_asked_mode(state.asked_mode, wish), asks_tempo=asks_tempo)


def sets_music(state: Leading, wish: Wish) -> bool:
    """Whether a programme or a hand leads, rather than the listener."""
    return wish.lead is not None or state.asks_tempo or state.asked_mode != UNKNOWN


def mode_to_play(state: Leading, wish: Wish) -> int:
    """1 major, 0 minor, -1 free."""
    return state.asked_mode if state.asked_mode != UNKNOWN else _led_mode(state, wish)


def _led_mode(state: Leading, wish: Wish) -> int:
    if wish.lead is None or wish.lead.goal_valence == 0.0:
        return state.mode
    if wish.lead.goal_valence > 0.0:
        return MAJOR if wish.valence > 0.0 else state.mode
    return MINOR if wish.valence < 0.0 else state.mode


def turning(state: Leading, wish: Wish) -> float:
    """How near the music is to a change of mode that it is led to: from 0, not yet, up to 1 towards major or
    down to -1 towards minor; 0 after the change, and where none is to come."""
    lead, mode = wish.lead, _led_mode(state, wish)
    if lead is None or lead.goal_valence == 0.0 or mode == UNKNOWN:
        return 0.0
    goal = MAJOR if lead.goal_valence > 0.0 else MINOR
    if mode == goal or state.asked_mode != UNKNOWN:
        return 0.0
    near = clamp(1.0 - abs(wish.valence) / TURNS_FROM, 0.0, 1.0)
    return near if goal == MAJOR else -near


def tempo_to_play(state: Leading, wish: Wish) -> float:
    """Beats per minute; 0 free."""
    hand = wish.knob_arousal if state.asks_tempo else 0.0
    if wish.lead is None:
        if not state.asks_tempo:
            return state.tempo_bpm
        return tempo_at((arousal_at(state.tempo_bpm) if state.tempo_bpm else wish.arousal) + hand)
    return tempo_at(_led_tempo(state, wish) + hand)


def _led_tempo(state: Leading, wish: Wish) -> float:
    """The arousal that goes with the tempo led to."""
    assert wish.lead is not None
    return wish.lead.on_the_way(arousal_at(state.tempo_bpm) if state.tempo_bpm else wish.arousal)
