"""The ladder of a composer that is late: each rung is cheaper than the one before it.

Full context, shorter context, continuation, rest (``contract.Rung``). Which one is taken is judged by what
the first two cost recently.
"""

from typing import Final

from kelly_edge.contract import Rung

MARGIN: Final = 1.5
"""A rung is taken when this many times its recent cost fits into the time left. Chosen by hand; the cost of a
bar varies."""
FORGET: Final = 0.85
"""With each bar a cost is believed less, so that a better rung is tried again. Chosen: half after four
bars."""
LATE_CONTINUATION_S: Final = 0.05
"""With less time left than this nothing is composed: a rest. Chosen by hand."""


class Ladder:
    """Chooses a rung per bar.

    Attributes
    ----------
    cost_s: recent cost of the rungs that ask the network, in seconds per bar, the best rung first.
    """

    def __init__(self) -> None:
        self.cost_s: dict[int, float] = {Rung.FULL: 0.0, Rung.SHORT_CONTEXT: 0.0}

    def rung(self, left_s: float) -> int:
        """The best rung whose work fits into ``left_s``."""
        if left_s < LATE_CONTINUATION_S:
            return Rung.REST
        for rung, cost_s in self.cost_s.items():
            if left_s >= MARGIN * cost_s:
                return rung
        return Rung.CONTINUATION

    def spent(self, rung: int, seconds: float) -> None:
        """A bar on ``rung`` took ``seconds``."""
        for known in self.cost_s:
            self.cost_s[known] *= FORGET
        if rung in self.cost_s:
            self.cost_s[rung] = max(seconds, self.cost_s[rung])
