"""From the emotion heard to the target emotion: the therapy of the instrument.

``mirror`` follows the listener. ``iso`` is the iso principle (Altshuler; tested by Starcke et al. 2021,
IJERPH 18(23):12486): match the listener's state for a while, then lead to a goal at a bounded rate.
``hold`` stays at a set emotion. In all three the knobs are added last and the sum is held in -1..1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.config import EmotionSettings
from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.units import clamp

FOLLOW_S: Final = 3.0
"""Time constant with which the target follows what is heard at full confidence."""


@dataclass(frozen=True)
class SteeringState:
    """Where the steering stands: the emotion followed or led to, before the knobs."""

    valence: float = 0.0
    arousal: float = 0.0
    heard_s: float = 0.0
    """Seconds of music heard since the programme began (silence does not count)."""


def _toward(value: float, goal: float, step: float) -> float:
    return value + clamp(goal - value, -step, step)


def _follow(state: SteeringState, valence: float, arousal: float, trust: float) -> SteeringState:
    # Trust scales the rate, so that noise and silence leave the target where it was.
    share = trust * (1.0 - math.exp(-1.0 / (FOLLOW_S * EMOTION_RATE_HZ)))
    return replace(
        state,
        valence=state.valence + share * (valence - state.valence),
        arousal=state.arousal + share * (arousal - state.arousal),
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
        valence=_toward(state.valence, settings.goal_valence, step),
        arousal=_toward(state.arousal, settings.goal_arousal, step),
    )


def hold(
    state: SteeringState, settings: EmotionSettings, valence: float, arousal: float, trust: float
) -> SteeringState:
    """Stay at the emotion set."""
    return replace(state, valence=settings.hold_valence, arousal=settings.hold_arousal)


Programme = Callable[[SteeringState, EmotionSettings, float, float, float], SteeringState]
PROGRAMME_STEPS: Final[dict[str, Programme]] = {"mirror": mirror, "iso": iso, "hold": hold}
"""A function per entry of ``contract.PROGRAMMES``."""


def steer(
    state: SteeringState,
    settings: EmotionSettings,
    programme: str,
    valence: float,
    arousal: float,
    trust: float,
) -> SteeringState:
    """One hop group of a programme.

    Parameters
    ----------
    valence, arousal: the emotion heard, -1..1.
    trust: 0..1, confidence times presence.
    """
    trust = clamp(trust, 0.0, 1.0)
    heard_s = state.heard_s + trust / EMOTION_RATE_HZ
    return PROGRAMME_STEPS[programme](replace(state, heard_s=heard_s), settings, valence, arousal, trust)


def target_emotion(state: SteeringState, knob_valence: float, knob_arousal: float) -> tuple[float, float]:
    """Valence and arousal (-1..1) to compose for: the steering's plus the knobs'."""
    return (
        clamp(state.valence + knob_valence, -1.0, 1.0),
        clamp(state.arousal + knob_arousal, -1.0, 1.0),
    )
