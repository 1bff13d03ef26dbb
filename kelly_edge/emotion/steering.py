"""From the emotion heard to the target emotion: the therapy of the instrument.

``mirror`` follows the listener. ``iso`` is the iso principle (Altshuler; tested by Starcke et al. 2021,
IJERPH 18(23):12486): match the listener's state for a while, then lead to a goal at a bounded rate.
``hold`` stays at a set emotion. In all three the knobs are added last and the sum is held in -1..1.

A programme begins when it is chosen, or when a new session begins; ``hold`` interrupts it, and it goes on
from where it stood. Whatever is chosen, begun or ended, the target moves by at most ``slew_per_s``: only a
hand on a knob moves it faster.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.config import EmotionSettings
from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.units import clamp

FOLLOW_S: Final = 1.0
"""Time constant with which the target follows the emotion heard at full confidence. Chosen by hand: the heard
emotion is already smoothed."""
HOLD: Final = "hold"


@dataclass(frozen=True)
class SteeringState:
    """Where the target stands, before the knobs, and where the programme stands that leads it there.

    The two differ while the target is on its way, and while ``hold`` interrupts the programme.
    """

    valence: float = 0.0
    arousal: float = 0.0
    programme: str = ""
    """The programme that has begun, ``mirror`` or ``iso``; empty for none yet."""
    own_valence: float = 0.0
    own_arousal: float = 0.0
    heard_s: float = 0.0
    """Seconds of music heard since the programme began (silence and ``hold`` do not count)."""
    led: float = 0.0
    """How far ``iso`` has led by now: its rate times the time since matching ended."""


@dataclass(frozen=True)
class Lead:
    """Where a programme leads that no longer follows."""

    goal_valence: float
    goal_arousal: float
    distance: float
    """How far it has led by now, in units of valence or arousal; infinite where it goes there at once."""


def _toward(value: float, goal: float, step: float) -> float:
    return goal if abs(goal - value) <= step else value + math.copysign(step, goal - value)


def _follow(state: SteeringState, valence: float, arousal: float, trust: float) -> SteeringState:
    # Trust scales the rate, so that noise and silence leave the target where it was.
    share = trust * (1.0 - math.exp(-1.0 / (FOLLOW_S * EMOTION_RATE_HZ)))
    return replace(
        state,
        own_valence=state.own_valence + share * (valence - state.own_valence),
        own_arousal=state.own_arousal + share * (arousal - state.own_arousal),
        heard_s=state.heard_s + trust / EMOTION_RATE_HZ,
    )


def mirror(
    state: SteeringState, settings: EmotionSettings, valence: float, arousal: float, trust: float
) -> SteeringState:
    """Follow the emotion heard."""
    return _follow(state, valence, arousal, trust)


def iso(
    state: SteeringState, settings: EmotionSettings, valence: float, arousal: float, trust: float
) -> SteeringState:
    """Match for ``iso_match_s`` of music, then approach the goal at ``iso_rate_per_min``."""
    if state.heard_s < settings.iso_match_s:
        return _follow(state, valence, arousal, trust)
    step = settings.iso_rate_per_min / 60.0 / EMOTION_RATE_HZ
    return replace(
        state,
        own_valence=_toward(state.own_valence, settings.goal_valence, step),
        own_arousal=_toward(state.own_arousal, settings.goal_arousal, step),
        led=state.led + step,
    )


def hold(
    state: SteeringState, settings: EmotionSettings, valence: float, arousal: float, trust: float
) -> SteeringState:
    """Stay at the emotion set; the programme that it interrupts stays where it is."""
    return state


Programme = Callable[[SteeringState, EmotionSettings, float, float, float], SteeringState]
PROGRAMME_STEPS: Final[dict[str, Programme]] = {"mirror": mirror, "iso": iso, HOLD: hold}
"""A function per entry of ``contract.PROGRAMMES``."""


def first_state(settings: EmotionSettings, programme: str) -> SteeringState:
    """Where a box that has just started stands: at once where ``hold`` is, for nothing was played yet."""
    if programme == HOLD:
        return SteeringState(settings.hold_valence, settings.hold_arousal)
    return SteeringState()


def new_session(state: SteeringState) -> SteeringState:
    """Forget the listener: the next programme begins from the middle of the plane.

    The target stays where it is; ``steer`` brings it to the middle at its rate.
    """
    return SteeringState(valence=state.valence, arousal=state.arousal)


def _begun(state: SteeringState, programme: str) -> SteeringState:
    """``programme`` at its beginning: where the target stands, or in the middle if none had begun."""
    if programme in (HOLD, state.programme):
        return state
    if not state.programme:
        return replace(state, programme=programme)
    return SteeringState(state.valence, state.arousal, programme, state.valence, state.arousal)


def steer(
    state: SteeringState,
    settings: EmotionSettings,
    programme: str,
    valence: float,
    arousal: float,
    trust: float,
) -> SteeringState:
    """One hop group of a programme, which begins here if it was not the one before.

    Parameters
    ----------
    valence, arousal: the emotion heard, -1..1. What is not a number is not trusted.
    trust: 0..1, confidence times presence.
    """
    if not (math.isfinite(valence) and math.isfinite(arousal) and math.isfinite(trust)):
        valence = arousal = trust = 0.0
    valence, arousal, trust = clamp(valence, -1.0, 1.0), clamp(arousal, -1.0, 1.0), clamp(trust, 0.0, 1.0)
    state = PROGRAMME_STEPS[programme](_begun(state, programme), settings, valence, arousal, trust)
    if programme == HOLD:
        wanted_valence, wanted_arousal = settings.hold_valence, settings.hold_arousal
    else:
        wanted_valence, wanted_arousal = state.own_valence, state.own_arousal
    step = settings.slew_per_s / EMOTION_RATE_HZ
    return replace(
        state,
        valence=_toward(state.valence, wanted_valence, step),
        arousal=_toward(state.arousal, wanted_arousal, step),
    )


def lead_of(state: SteeringState, settings: EmotionSettings, programme: str) -> Lead | None:
    """Where ``programme`` leads now; None while it follows the listener."""
    if programme == HOLD:
        return Lead(settings.hold_valence, settings.hold_arousal, math.inf)
    if programme == "iso" and state.programme == "iso" and state.heard_s >= settings.iso_match_s:
        return Lead(settings.goal_valence, settings.goal_arousal, state.led)
    return None


def target_emotion(state: SteeringState, knob_valence: float, knob_arousal: float) -> tuple[float, float]:
    """Valence and arousal (-1..1) to compose for: the steering's plus the knobs'."""
    return (
        clamp(state.valence + knob_valence, -1.0, 1.0),
        clamp(state.arousal + knob_arousal, -1.0, 1.0),
    )
