"""What kind of controller a hand turns, from nothing but the control changes it sends.

The values of one source are read under each hypothesis: a knob that moves from one position to the next, an
endless encoder of one of three codings that sends small steps, a switch of two levels. Each hypothesis states
how surprising the values are (``-ln`` of their probability, in nats); one that is less surprising than all
others by a margin is the kind. Magnitudes of moves and steps follow a geometric distribution with the mean
that fits best, and a hand seldom turns round.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from firmware_py.ports.learned import (
    CC,
    INCREMENTS,
    LSB_FIRST,
    LSB_ONLY,
    MSB_FIRST,
    N_COARSE,
    PAIRS,
    RELATIVE,
    SEVEN_BIT,
    SWITCH,
)
from firmware_py.processes.controller_values import (
    DATA_DECREMENT,
    DATA_ENTRY,
    DATA_INCREMENT,
    steps,
)

N_KEPT: Final = 400
"""Messages of a source that are looked at: the newest. Chosen: three slow turns of a knob from end to end."""
N_VALUES: Final = 128
"""Of a control change (MIDI 1.0)."""

# --- how surprising a message is, in nats -------------------------------------------------
GOES_ON, TURNS_ROUND = -math.log(0.97), -math.log(0.03)
"""A hand keeps its direction for tens of messages."""
NO_MOVE: Final = 3.0
"""A knob that has not moved sends nothing; some repeat themselves. Chosen: one message in twenty."""
NO_STEP: Final = 8.0
"""An encoder that has not moved sends nothing. Chosen: one in three thousand."""
LONG_STEP, LONGEST_STEP = 7.0, 32
"""However fast it is turned, an encoder seldom sends more than 32 steps at once. Chosen: one in a
thousand."""
SLOW_STEP: Final = 4
"""The steps an encoder sends at first. Chosen by hand."""
ANY_VALUE: Final = math.log(N_VALUES)
SWITCHES, REPEATS = 0.1, 2.3
"""A switch goes to its other level; a held one may repeat itself. Chosen: nine messages in ten, and the
tenth."""
SECOND_LEVEL: Final = 2.0
"""Surprise of a switch's two levels, each named once. Chosen by hand."""
LEAST_SWING: Final = 32
"""Between the two levels of a switch, of 127. Chosen: a quarter of the range."""

# --- how sure is sure enough, in nats ------------------------------------------------------
SURE_WHILE_TURNED, SURE_AT_REST, SURE_AT_END = 30.0, 15.0, 4.0
"""For a knob: while the hand still moves, when it rests, when the time is over. Chosen by hand; the later,
the less is asked."""
SURE_ENCODER, SURE_SWITCH = 6.0, 3.0
"""Chosen by hand, for encoders and switches."""
ENOUGH_TURN: Final = 12
"""A knob meant is turned this far, of 127; one that trembles is not. Chosen: a tenth."""
ENOUGH_14_BIT: Final = 192
"""The same of a 14-bit one at rest, of 16,383: it shows itself with its first coarse steps. Chosen: one
and a half coarse steps."""
THROUGH: Final = 96
"""What may be a fine half is a knob of its own if it was turned so far, of 127, and nothing coarse came.
Chosen: three quarters."""
LEAST_MESSAGES, LEAST_EACH_WAY, LEAST_INCREMENTS = 6, 2, 4
"""Of an encoder: messages in all, messages in each direction; increments. Chosen by hand."""
JUMP: Final = 2
"""Turns of direction that one jump there and back makes. By definition."""
LEAST_BEGINS, CLEARLY, MOST_UNPAIRED = 3, 0.75, 0.1
"""Values whose beginning was seen; the share that began alike; the share of halves without another. Chosen
by hand."""
SMOOTH: Final = 16
"""The fine half of a 14-bit value jumps further than this whenever the coarse half moves on. Chosen: an
eighth of its range."""
LEAST_COARSE_MOVES: Final = 4
"""Moves of the coarse half from which the fine one can be judged. Chosen by hand."""

ONE_WAY: Final = "an endless encoder turned one way only; turn it back, too"
TOO_LITTLE: Final = "turned too little; turn it from end to end, slowly"
UNADDRESSED: Final = "a part of an NRPN or RPN that was not selected; let the device send its number"
UNCLEAR: Final = "neither a knob, an endless encoder nor a button for sure; turn it slowly, from end to end"


@dataclass(frozen=True)
class Verdict:
    """What a source is. ``problem``: why that is not known or of no use yet; empty where it is settled."""

    number: int
    coding: str
    problem: str = ""


def _magnitudes(sizes: Sequence[int]) -> float:
    """Surprise of magnitudes of at least 1, under the geometric distribution that fits them best."""
    n, total = len(sizes), sum(sizes)
    if total <= n:
        return 0.0
    p = n / total
    return -n * math.log(p) - (total - n) * math.log1p(-p)


def _directions(moves: Sequence[int]) -> float:
    pairs = pairwise(moves)
    return sum(GOES_ON if (a > 0) == (b > 0) else TURNS_ROUND for a, b in pairs)


def _as_knob(values: Sequence[int]) -> float:
    moves = [b - a for a, b in pairwise(values)]
    moved = [move for move in moves if move]
    n_still = len(moves) - len(moved)
    return ANY_VALUE + NO_MOVE * n_still + _magnitudes([abs(m) for m in moved]) + _directions(moved)


def _as_encoder(values: Sequence[int], coding: str) -> float:
    turns = [steps(coding, value) for value in values]
    turned = [turn for turn in turns if turn]
    n_long = sum(abs(turn) > LONGEST_STEP for turn in turned)
    odd = NO_STEP * (len(turns) - len(turned)) + LONG_STEP * n_long
    return odd + _magnitudes([abs(turn) for turn in turned]) + _directions(turned)


def _as_switch(values: Sequence[int]) -> float:
    levels = set(values)
    if len(levels) > 2 or (len(levels) == 2 and max(levels) - min(levels) < LEAST_SWING):
        return math.inf
    pairs = pairwise(values)
    return ANY_VALUE + SECOND_LEVEL + sum(REPEATS if a == b else SWITCHES for a, b in pairs)


def surprises(values: Sequence[int]) -> dict[str, float]:
    """Surprise of ``values`` (0..127, in order), in nats, by the coding assumed."""
    return {
        SEVEN_BIT: _as_knob(values),
        SWITCH: _as_switch(values),
        **{coding: _as_encoder(values, coding) for coding in RELATIVE},
    }


def _lead(found: dict[str, float], among: Sequence[str], over: Sequence[str]) -> float:
    """By how much the best of ``among`` is less surprising than the best of ``over``."""
    return min(found[c] for c in over) - min(found[c] for c in among)


def _is_both_ways(values: Sequence[int], coding: str) -> bool:
    turns = [steps(coding, value) for value in values]
    return min(sum(t > 0 for t in turns), sum(t < 0 for t in turns)) >= LEAST_EACH_WAY


def _may_be(coding: str, values: Sequence[int]) -> bool:
    """Whether the values could be those of an encoder that begins slowly, as hands do."""
    turns = [abs(steps(coding, value)) for value in values]
    return turns[0] <= SLOW_STEP and min(turns) > 0 and max(turns) <= LONGEST_STEP


def single_kind(values: Sequence[int], number: int, is_resting: bool, is_over: bool) -> Verdict | None:
    """The kind of a source whose every value stands for itself; None: nothing is to be said yet."""
    levels = set(values)
    if len(levels) == 2 and min(levels) == 0 and max(levels) >= LEAST_SWING:
        # However often it repeats itself while it is held: an encoder never sends 0.
        return Verdict(number, SWITCH)
    if len(levels) == 1 and (len(values) == 1 or values[0] in (0, N_VALUES - 1)):
        # A button that was pressed, or a pedal that is held.
        return Verdict(number, SWITCH) if is_resting and values[0] and (len(values) == 1 or is_over) else None
    found = surprises(values)
    best = min(found, key=lambda coding: found[coding])
    others = [coding for coding in found if coding != best]
    lead = _lead(found, [best], others)
    if best == SWITCH:
        return Verdict(number, SWITCH) if lead >= SURE_SWITCH or is_resting else None
    possible = [coding for coding in RELATIVE if _may_be(coding, values)]
    if is_resting and len(values) >= LEAST_MESSAGES:
        # Fast turns of an encoder look as smooth as a knob's. But a knob that was turned through left the few
        # values of steps, and none goes from one direction's to the other's without what lies between.
        for coding in possible:
            if _is_both_ways(values, coding):
                return Verdict(number, coding)
    if best in RELATIVE:
        rest = [coding for coding in found if coding not in RELATIVE]
        if len(values) < LEAST_MESSAGES or _lead(found, RELATIVE, rest) < SURE_ENCODER:
            return Verdict(number, "", UNCLEAR) if is_over else None
        if lead >= SURE_ENCODER and _is_both_ways(values, best):
            return Verdict(number, best)
        return Verdict(number, "", ONE_WAY) if is_resting else None
    if max(values) - min(values) < ENOUGH_TURN:
        return Verdict(number, SEVEN_BIT, TOO_LITTLE) if is_over else None
    if possible:
        sure = SURE_AT_REST if is_over else math.inf
    else:
        sure = SURE_AT_END if is_over else SURE_AT_REST if is_resting else SURE_WHILE_TURNED
    if lead >= sure:
        return Verdict(number, SEVEN_BIT)
    return Verdict(number, "", UNCLEAR) if is_over else None


def pair_values(halves: Sequence[tuple[bool, int]], coding: str) -> list[int]:
    """The 14-bit values of ``halves`` (whether coarse, and value), if the two of each come in that order."""
    msb, lsb, values = None, 0, []
    waits = False
    for is_coarse, value in halves:
        is_first = is_coarse == (coding == MSB_FIRST)
        if is_first and waits and msb is not None and coding == LSB_FIRST:
            values.append(msb << 7 | lsb)
        if is_coarse:
            msb, lsb = value, 0 if is_first else lsb
        else:
            lsb = value
        waits = is_first
        if not is_first and msb is not None:
            values.append(msb << 7 | lsb)
    return values


def _n_turns(values: Sequence[int]) -> int:
    """How often the values change direction."""
    moves = [b - a for a, b in pairwise(values) if a != b]
    return sum((a > 0) != (b > 0) for a, b in pairwise(moves))


def pair_order(halves: Sequence[tuple[bool, int]], times_s: Sequence[float]) -> str:
    """Which half of a value comes first; empty where nothing tells yet.

    A slow hand shows it wherever the coarse half moves on: in the wrong order the value jumps there and back.
    A fast one shows it by the time: what comes together is a value, and begins with its first half.
    """
    n_turns = {coding: _n_turns(pair_values(halves, coding)) for coding in PAIRS}
    if abs(n_turns[MSB_FIRST] - n_turns[LSB_FIRST]) >= JUMP:
        return min(PAIRS, key=lambda coding: n_turns[coding])
    begins = [halves[0][0]] + [
        half[0]
        for half, (before_s, time_s) in zip(halves[1:], pairwise(times_s), strict=True)
        if time_s != before_s
    ]
    n_coarse = sum(is_coarse for is_coarse, _ in halves)
    if abs(len(halves) - 2 * n_coarse) > MOST_UNPAIRED * len(halves) or len(begins) < LEAST_BEGINS:
        return ""
    share = sum(begins) / len(begins)
    return MSB_FIRST if share >= CLEARLY else LSB_FIRST if share <= 1.0 - CLEARLY else ""


class Source:
    """The control changes heard of one address: of both halves, where it has two.

    Parameters
    ----------
    number: the control change of the coarse half, or the parameter's number.
    """

    def __init__(self, address: str, number: int) -> None:
        self.address = address
        self.number = number
        self.last_s = 0.0
        self.n_heard = 0
        self._halves: deque[tuple[bool, int]] = deque(maxlen=N_KEPT)
        self._times_s: deque[float] = deque(maxlen=N_KEPT)
        self._n_increments = 0
        self._judged: dict[tuple[bool, bool], Verdict | None] = {}
        """Verdicts on the messages heard until now."""

    def hear(self, number: int, value: int, now_s: float) -> None:
        """Take in a control change of this source."""
        self.last_s = now_s
        self._judged.clear()
        self.n_heard += 1
        if number in (DATA_INCREMENT, DATA_DECREMENT):
            self._n_increments += 1
        else:
            is_fine = N_COARSE <= number < 2 * N_COARSE
            self._halves.append((not is_fine, value))
            self._times_s.append(now_s)

    def verdict(self, is_resting: bool, is_over: bool) -> Verdict | None:
        """Its kind; None while the messages do not decide it yet.

        Parameters
        ----------
        is_resting: nothing came of it for a moment.
        is_over: nothing more will come.
        """
        key = (is_resting, is_over)
        if key not in self._judged:
            self._judged[key] = self._judge(is_resting, is_over)
        return self._judged[key]

    def _judge(self, is_resting: bool, is_over: bool) -> Verdict | None:
        if self._n_increments:
            if self.address == CC:
                return Verdict(self.number, "", UNADDRESSED)
            return Verdict(self.number, INCREMENTS) if self._n_increments >= LEAST_INCREMENTS else None
        coarse = [value for is_coarse, value in self._halves if is_coarse]
        fine = [value for is_coarse, value in self._halves if not is_coarse]
        is_still = len(set(coarse)) < 2
        if not coarse and self.address == CC:
            return self._fine_alone(fine, self.number + N_COARSE, is_resting, is_over)
        if fine and is_still:
            # Nothing but the fine half moves: a parameter of up to 128 values, or a hand that has just begun.
            if self.address != CC and set(coarse) <= {0}:
                return self._fine_alone(fine, self.number, is_resting, is_over)
            return Verdict(self.number, "", TOO_LITTLE) if is_over else None
        if not fine or len(set(fine)) == 1 or self._are_two(coarse, fine):
            return single_kind(coarse, self.number, is_resting, is_over)
        return self._pair(is_resting, is_over)

    def _fine_alone(self, fine: list[int], number: int, is_resting: bool, is_over: bool) -> Verdict | None:
        """A fine half whose coarse half never came: a source of its own, if its turn shows that."""
        if self.address == CC and self.number == DATA_ENTRY:
            return Verdict(number, "", UNADDRESSED)
        found = single_kind(fine, number, is_resting, is_over)
        if found is None or found.coding != SEVEN_BIT:
            return found
        if not is_resting or max(fine) - min(fine) < THROUGH:
            return Verdict(number, SEVEN_BIT, TOO_LITTLE) if is_over else None
        return found if self.address == CC else Verdict(number, LSB_ONLY)

    @staticmethod
    def _are_two(coarse: Sequence[int], fine: Sequence[int]) -> bool:
        """Whether the halves move each for itself: two knobs, or one that sends a value twice."""
        n_moves = sum(a != b for a, b in pairwise(coarse))
        jumps = [abs(b - a) for a, b in pairwise(fine)]
        return n_moves >= LEAST_COARSE_MOVES and bool(jumps) and max(jumps) <= SMOOTH

    def _pair(self, is_resting: bool, is_over: bool) -> Verdict | None:
        halves = list(self._halves)
        coding = pair_order(halves, list(self._times_s)) or (MSB_FIRST if is_resting else "")
        values = pair_values(halves, coding or MSB_FIRST)
        span = max(values, default=0) - min(values, default=0)
        if coding and span >= (ENOUGH_14_BIT if is_resting else ENOUGH_TURN * N_VALUES):
            return Verdict(self.number, coding)
        return Verdict(self.number, coding, TOO_LITTLE) if is_over else None
