"""What contacts mean: a rotary encoder's detents, a button's taps, whatever they bounce.

Contacts close to ground against a pull-up: a pin is high at rest. Here are state machines on edges and their
times, no pins. Decoding is by state, not by edge: a bounce goes forth and back and adds up to nothing.
Faults are told of once: a worn contact must not fill the journal.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from firmware_py.ports import Edge

# Chosen by hand: contacts bounce for some milliseconds; a tap is shorter than a second, and nobody holds for
# three by mistake.
DEBOUNCE_S: Final = 0.02
LONG_S: Final = 1.0
VERY_LONG_S: Final = 3.0
STUCK_S: Final = 30.0
"""Longer than anybody holds a button. Chosen for that reason."""
ONE_SIDED_EDGES: Final = 24
"""Edges of one contact of an encoder while the other never moved. Chosen: six detents."""
FASTEST_EDGES_PER_S: Final = 1_000
"""A hand makes 20 detents per second, 80 edges; a bouncing contact some times that. Chosen from it."""


class Rate:
    """Whether edges come faster than a hand can turn, second by second."""

    def __init__(self) -> None:
        self._second = -1
        self._n_edges = 0

    def is_too_fast(self, time_s: float) -> bool:
        """Count an edge."""
        second = int(time_s)
        if second != self._second:
            self._second, self._n_edges = second, 0
        self._n_edges += 1
        return self._n_edges > FASTEST_EDGES_PER_S


class Faults:
    """Told of once each, by ``warn``."""

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        self._name = name
        self._warn = warn
        self._told: set[str] = set()

    def tell(self, fault: str) -> None:
        """``fault`` was seen, perhaps not for the first time."""
        if fault not in self._told:
            self._told.add(fault)
            self._warn(f"{self._name} {fault}")


QUARTERS: Final = {
    # Clockwise: A closes first.
    (0b11, 0b01): 1,
    (0b01, 0b00): 1,
    (0b00, 0b10): 1,
    (0b10, 0b11): 1,
    (0b11, 0b10): -1,
    (0b10, 0b00): -1,
    (0b00, 0b01): -1,
    (0b01, 0b11): -1,
}
"""(A B before, A B after) → quarter of a cycle. By definition of a quadrature encoder's Gray code."""
RESTS: Final = {4: (0b11,), 2: (0b11, 0b00)}
"""Edges from one rest to the next → the states it rests in. By definition."""


class Encoder:
    """A rotary encoder on pins ``a`` and ``b``.

    A detent counts where the contacts come to rest, by the quarters gone since the last rest. So a lost edge
    costs its own detent at most, and nothing is carried on to the next.
    """

    def __init__(self, a: int, b: int, edges_per_detent: int, faults: Faults) -> None:
        self._bits = {a: 0b10, b: 0b01}
        self._edges_per_detent = edges_per_detent
        self._rests = RESTS[edges_per_detent]
        self._faults = faults
        self._rate = Rate()
        self._state = 0b11
        self._quarters = 0
        self._n_detents = 0
        self._last_pin = -1
        self._n_one_sided = 0

    def feed(self, edge: Edge) -> None:
        """Take in an edge of one of the two pins."""
        bit = self._bits[edge.pin]
        state = self._state | bit if edge.is_high else self._state & ~bit
        self._look_for_faults(edge)
        if state == self._state:
            return
        self._quarters += QUARTERS[self._state, state]
        self._state = state
        if state in self._rests:
            # Exact: from rest to rest it is a whole number of detents.
            self._n_detents += self._quarters // self._edges_per_detent
            self._quarters = 0

    def take(self) -> int:
        """Detents since the last call, clockwise counted positive."""
        n_detents, self._n_detents = self._n_detents, 0
        return n_detents

    def _look_for_faults(self, edge: Edge) -> None:
        self._n_one_sided = self._n_one_sided + 1 if edge.pin == self._last_pin else 1
        self._last_pin = edge.pin
        if self._n_one_sided == ONE_SIDED_EDGES:
            self._faults.tell(f"has a stuck contact: only pin {edge.pin} moves; check its wires")
        if self._rate.is_too_fast(edge.time_s):
            self._faults.tell("bounces faster than a hand turns; check its ground wire or replace it")


class Push(NamedTuple):
    """What a button did since the last look: pushes, short ones that ended, those that became long and very
    long.
    """

    n_downs: int
    n_taps: int
    n_longs: int
    n_very_longs: int = 0


class Button:
    """A push button. A push counts at its first edge, its end when the contact is steady."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._rate = Rate()
        self._is_pressed = False
        self._is_high = True
        self._is_long = self._is_very_long = False
        self._pressed_s = 0.0
        self._changed_s = float("-inf")
        self._n_downs = 0
        self._n_taps = 0

    def feed(self, edge: Edge) -> None:
        """Take in an edge of its pin."""
        if self._rate.is_too_fast(edge.time_s):
            self._faults.tell("bounces faster than a hand pushes; check its ground wire or replace it")
        self._settle(edge.time_s)
        is_bounce = edge.time_s - self._changed_s < DEBOUNCE_S
        if not edge.is_high and not self._is_pressed and not is_bounce:
            self._is_pressed, self._pressed_s = True, edge.time_s
            self._is_long = self._is_very_long = False
            self._n_downs += 1
        self._is_high, self._changed_s = edge.is_high, edge.time_s

    def look(self, now_s: float) -> Push:
        """Its changes since the last call."""
        self._settle(now_s)
        held_s = now_s - self._pressed_s if self._is_pressed and not self._is_high else 0.0
        is_new_long = held_s >= LONG_S and not self._is_long
        is_new_very_long = held_s >= VERY_LONG_S and not self._is_very_long
        self._is_long = self._is_long or is_new_long
        self._is_very_long = self._is_very_long or is_new_very_long
        if held_s >= STUCK_S:
            self._faults.tell(f"is pushed for {STUCK_S:g} s: it is stuck, or its wire touches ground")
        push = Push(self._n_downs, self._n_taps, int(is_new_long), int(is_new_very_long))
        self._n_downs = self._n_taps = 0
        return push

    def _settle(self, now_s: float) -> None:
        if self._is_pressed and self._is_high and now_s - self._changed_s >= DEBOUNCE_S:
            self._is_pressed = False
            self._n_taps += not self._is_long
