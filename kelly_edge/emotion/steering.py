"""From the emotion heard to the target emotion: the therapy of the instrument.

One engine steps through the phases of any programme (``emotion.programme``): it matches what is heard, leads
from there to a target in a time or at a rate, holds, or rests. The iso principle is such a programme: match
the listener's state for a while, then lead to a goal (Altshuler; tested by Starcke et al. 2021, IJERPH
18(23):12486). The knobs are added last and the sum is held in -1..1.

A programme begins when it is chosen, or when a new session begins; one that interrupts (``hold``) lets it go
on from where it stood. Whatever is chosen, begun or ended, the target moves by at most ``slew_per_s``: only a
hand on a knob moves it faster.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from kelly_edge.contract import EMOTION_RATE_HZ
from kelly_edge.emotion.programme import HOLD, LEAD, MATCH, Phase, Programme
from kelly_edge.units import clamp

FOLLOW_S: Final = 0.5
"""Time constant with which the target follows the emotion heard at full confidence. Chosen on held songs: the
heard emotion is already smoothed, and half a second more delays a change by one (docs/decisions/0052)."""


@dataclass(frozen=True)
class SteeringState:
    """Where the target stands, before the knobs, and where the programme stands that leads it there.

    The two differ while the target is on its way, and while another programme interrupts.
    """

    valence: float = 0.0
    arousal: float = 0.0
    programme: str = ""
    """Name of the programme that has begun; empty for none yet."""
    own_valence: float = 0.0
    own_arousal: float = 0.0
    phase_s: float = 0.0
    """Seconds of the phase: of music heard where it matches, else of time. Interruptions do not count."""
    led: float = 0.0
    """How far a phase with a rate has led by now: its rate times its time."""
    phase: int = 0
    """Index of the phase."""
    from_valence: float = 0.0
    from_arousal: float = 0.0
    """Where the phase began."""
    n_begun: int = 0
    """Phases begun, of this and earlier programmes: tells two phases apart."""


@dataclass(frozen=True)
class Lead:
    """Where a programme leads that no longer follows."""

    goal_valence: float
    goal_arousal: float
    distance: float = math.inf
    """How far it has led by now, in units of valence or arousal, where it leads at a rate."""
    share: float = 1.0
    """How much of its way it has led by now, 0..1, where it leads in a time; 1: it goes there at once."""
    n_begun: int = -1
    """Which phase it is (``SteeringState.n_begun``); -1 for an interruption."""

    def on_the_way(self, arousal: float) -> float:
        """How far something has been led by now that began at ``arousal``."""
        return arousal + clamp(self.share * (self.goal_arousal - arousal), -self.distance, self.distance)


def _toward(value: float, goal: float, step: float) -> float:
    return goal if abs(goal - value) <= step else value + math.copysign(step, goal - value)


def _followed(state: SteeringState, valence: float, arousal: float, trust: float) -> SteeringState:
    # Trust scales the rate, so that noise and silence leave the target where it was.
    share = trust * (1.0 - math.exp(-1.0 / (FOLLOW_S * EMOTION_RATE_HZ)))
    return replace(
        state,
        own_valence=state.own_valence + share * (valence - state.own_valence),
        own_arousal=state.own_arousal + share * (arousal - state.own_arousal),
    )


def _led(state: SteeringState, phase: Phase) -> SteeringState:
    """One hop group nearer to the target, at the rate or in the time of ``phase``."""
    if phase.rate_per_min:
        step = phase.rate_per_min / 60.0 / EMOTION_RATE_HZ
        state = replace(state, led=state.led + step)
        steps = (step, step)
    else:
        n_groups = phase.duration_s * EMOTION_RATE_HZ
        steps = (
            abs(phase.valence - state.from_valence) / n_groups,
            abs(phase.arousal - state.from_arousal) / n_groups,
        )
    return replace(
        state,
        own_valence=_toward(state.own_valence, phase.valence, steps[0]),
        own_arousal=_toward(state.own_arousal, phase.arousal, steps[1]),
    )


def first_state(programme: Programme) -> SteeringState:
    """Where a box that has just started stands: at once where it is to hold, for nothing was played yet."""
    first = programme.phases[0]
    return SteeringState(first.valence, first.arousal) if first.mode == HOLD else SteeringState()


def new_session(state: SteeringState) -> SteeringState:
    """Forget the listener: the next programme begins from the middle of the plane.

    The target stays where it is; ``steer`` brings it to the middle at its rate.
    """
    return SteeringState(valence=state.valence, arousal=state.arousal, n_begun=state.n_begun)


def _begun(state: SteeringState, programme: Programme) -> SteeringState:
    """``programme`` at its beginning: where the target stands, or in the middle if none had begun."""
    if programme.interrupts or (state.programme == programme.name and state.phase < len(programme.phases)):
        return state
    own = (state.valence, state.arousal) if state.programme else (state.own_valence, state.own_arousal)
    state = SteeringState(state.valence, state.arousal, programme.name, *own, n_begun=state.n_begun)
    return _next_phase(_phase_begun(state, 0), programme)


def _phase_begun(state: SteeringState, phase: int) -> SteeringState:
    return replace(
        state,
        phase=phase,
        phase_s=0.0,
        led=0.0,
        from_valence=state.own_valence,
        from_arousal=state.own_arousal,
        n_begun=state.n_begun + 1,
    )


def _is_over(state: SteeringState, phase: Phase) -> bool:
    if phase.mode == LEAD and phase.rate_per_min:
        return (state.own_valence, state.own_arousal) == (phase.valence, phase.arousal)
    return state.phase_s >= phase.duration_s


def _next_phase(state: SteeringState, programme: Programme) -> SteeringState:
    """The phase after those that are over; the last one never is."""
    while state.phase < len(programme.phases) - 1 and _is_over(state, programme.phases[state.phase]):
        state = _phase_begun(state, state.phase + 1)
    return state


def steer(
    state: SteeringState,
    programme: Programme,
    slew_per_s: float,
    valence: float,
    arousal: float,
    trust: float,
    is_on: bool = True,
) -> SteeringState:
    """One hop group of a programme, which begins here if it was not the one before.

    Parameters
    ----------
    slew_per_s: fastest change of the target.
    valence, arousal: the emotion heard, -1..1. What is not a number is not trusted.
    trust: 0..1, confidence times presence.
    is_on: whether a session is on. Before it begins what is heard is followed, and no time counts.
    """
    if not (math.isfinite(valence) and math.isfinite(arousal) and math.isfinite(trust)):
        valence = arousal = trust = 0.0
    valence, arousal, trust = clamp(valence, -1.0, 1.0), clamp(arousal, -1.0, 1.0), clamp(trust, 0.0, 1.0)
    state = _begun(state, programme)
    if programme.interrupts:
        wanted = (programme.phases[0].valence, programme.phases[0].arousal)
    else:
        state = _stepped(state, programme, valence, arousal, trust, is_on)
        wanted = (state.own_valence, state.own_arousal)
    step = slew_per_s / EMOTION_RATE_HZ
    return replace(
        state,
        valence=_toward(state.valence, wanted[0], step),
        arousal=_toward(state.arousal, wanted[1], step),
    )


def _stepped(
    state: SteeringState, programme: Programme, valence: float, arousal: float, trust: float, is_on: bool
) -> SteeringState:
    """One hop group of the programme's phase."""
    phase = programme.phases[state.phase]
    if not is_on:
        state = _followed(state, valence, arousal, trust)
        # A phase that has not begun begins where she is by then.
        return replace(state, from_valence=state.own_valence, from_arousal=state.own_arousal)
    if phase.mode == LEAD:
        state = _led(state, phase)
    elif phase.mode == HOLD:
        state = replace(state, own_valence=phase.valence, own_arousal=phase.arousal)
    else:
        state = _followed(state, valence, arousal, trust)
    counted = trust if phase.mode == MATCH else 1.0
    return _next_phase(replace(state, phase_s=state.phase_s + counted / EMOTION_RATE_HZ), programme)


def phase_of(state: SteeringState, programme: Programme) -> Phase:
    """The phase that is on; of a programme that interrupts its own."""
    n = state.phase if not programme.interrupts and state.programme == programme.name else 0
    return programme.phases[min(n, len(programme.phases) - 1)]


def lead_of(state: SteeringState, programme: Programme) -> Lead | None:
    """Where ``programme`` leads now; None while it follows the listener or rests."""
    phase = phase_of(state, programme)
    if programme.interrupts:
        return Lead(phase.valence, phase.arousal)
    if state.programme != programme.name or phase.mode not in (LEAD, HOLD):
        return None
    lead = Lead(phase.valence, phase.arousal, n_begun=state.n_begun)
    if phase.mode == HOLD:
        return lead
    if phase.rate_per_min:
        return replace(lead, distance=state.led)
    return replace(lead, share=min(1.0, state.phase_s / phase.duration_s))


def left_s(state: SteeringState, programme: Programme) -> tuple[float, float]:
    """Seconds that are left of the phase and of the whole programme; infinity where it has no end."""
    phase = phase_of(state, programme)
    if programme.interrupts:
        return math.inf, math.inf
    left = _length_s(phase, state.own_valence, state.own_arousal)
    if not (phase.mode == LEAD and phase.rate_per_min):
        left = max(0.0, left - state.phase_s)
    whole, at = left, (state.own_valence, state.own_arousal)
    for before, after in zip(
        programme.phases[state.phase :], programme.phases[state.phase + 1 :], strict=False
    ):
        at = (before.valence, before.arousal) if before.mode in (LEAD, HOLD) else at
        whole += _length_s(after, *at)
    return left, whole


def _length_s(phase: Phase, valence: float, arousal: float) -> float:
    """How long a phase lasts that begins there."""
    if not phase.rate_per_min:
        return phase.duration_s
    return 60.0 * max(abs(phase.valence - valence), abs(phase.arousal - arousal)) / phase.rate_per_min


def target_emotion(state: SteeringState, knob_valence: float, knob_arousal: float) -> tuple[float, float]:
    """Valence and arousal (-1..1) to compose for: the steering's plus the knobs'."""
    return (
        clamp(state.valence + knob_valence, -1.0, 1.0),
        clamp(state.arousal + knob_arousal, -1.0, 1.0),
    )
