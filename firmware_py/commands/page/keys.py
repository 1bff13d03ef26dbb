"""Who may change something through the page: whoever typed the PIN that the box itself shows.

A PIN is new with each start of the page. After five wrong ones it is not asked for a minute; each further
wrong one doubles that, up to an hour. Everybody's tries count together: on a cable nobody is told apart.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

N_DIGITS: Final = 6
"""Of a PIN. Chosen: with the pauses below, a thousandth of all of them takes six weeks to try."""
FREE_TRIES: Final = 5
"""Wrong PINs before the first pause. Chosen by hand: a person who mistypes is not held up."""
FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 3_600.0
"""Chosen by hand: an hour stops a machine that tries, and a person asks for a new start of the page."""
KEEPS_S: Final = 12 * 3_600.0
"""A browser that typed the PIN is known for so long. Chosen: a working day."""
MOST_BROWSERS: Final = 32
"""Browsers known at a time; beyond them the oldest is forgotten. Chosen: more than a box ever has."""


@dataclass(frozen=True)
class Answer:
    """To a PIN: a token for the browser, or none and how long to wait and how many tries are left."""

    token: str = ""
    wait_s: float = 0.0
    n_left: int = 0


class Keys:
    """The PIN, and the browsers that typed it.

    Parameters
    ----------
    now_s: monotonic seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.pin = f"{secrets.randbelow(10**N_DIGITS):0{N_DIGITS}}"
        self.n_wrong = 0
        """Wrong PINs since the last right one."""
        self._now_s = now_s
        self._opens_s = 0.0
        self._known: dict[bytes, float] = {}

    def try_pin(self, pin: str) -> Answer:
        """A token where ``pin`` is the PIN, and it may be tried now."""
        now_s = self._now_s()
        if now_s < self._opens_s:
            return Answer(wait_s=self._opens_s - now_s)
        if not hmac.compare_digest(pin.encode("utf-8", "replace"), self.pin.encode()):
            self.n_wrong += 1
            n_over = self.n_wrong - FREE_TRIES
            if n_over < 0:
                return Answer(n_left=-n_over)
            # Bounded before it is raised: a count of wrong ones has no end.
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(n_over, 10), LONGEST_PAUSE_S)
            self._opens_s = now_s + pause_s
            return Answer(wait_s=pause_s)
        self.n_wrong = 0
        token = secrets.token_urlsafe(32)
        while len(self._known) >= MOST_BROWSERS:
            del self._known[next(iter(self._known))]
        self._known[_digest(token)] = now_s + KEEPS_S
        return Answer(token)

    def is_known(self, token: str) -> bool:
        """Whether the browser with ``token`` typed the PIN, today."""
        until_s = self._known.get(_digest(token), 0.0)
        return self._now_s() < until_s

    def forget(self, token: str) -> None:
        """The browser leaves."""
        self._known.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    # Looked up by its digest, so that how long it takes tells nothing of a token.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
