"""What the box sends must not come back as a hand at its knobs.

An instrument that returns what it is played (MIDI thru, a loop in a patch) is known by its echoes: a note-on
that comes within a moment of the same note played. While a port echoes, none of its controllers count.
Mode messages (120..127) are what the box itself sends to silence instruments: they never count.
"""

from collections import deque
from typing import Final

from firmware_py.ports.midi import (
    CHANNEL,
    CONTROL_CHANGE,
    FIRST_MODE_MESSAGE,
    HIGHEST_DATA,
    KIND,
    MESSAGE_BYTES,
    NOTE_ON,
    PEDALS,
)

WINDOW_S: Final = 0.3
"""An echo comes this soon after its note, the pace of ``control`` included. Chosen: three steps of
``control``."""
LOOP_S: Final = 2.0
"""A port that echoed is not listened to for this long. Chosen by hand."""


RETURNED, OF_LAST = 6, 8
"""Of so many notes played that many came back from a port: it returns every one. Chosen by hand: no player
strikes so many of the box's own keys within a moment."""


class FeedbackGuard:
    """Says which messages are somebody's hand.

    Parameters
    ----------
    hears_keyboard: the pedals of a piano are music then, and no controllers.
    """

    def __init__(self, hears_keyboard: bool = False) -> None:
        self._hears_keyboard = hears_keyboard
        self._played: deque[tuple[float, int, int]] = deque()
        self._last: deque[tuple[float, int, int, set[str]]] = deque(maxlen=OF_LAST)
        """The same of the last notes, and the ports that they came back from."""
        self._loops_until: dict[str, float] = {}
        self.n_refused = 0

    def played(self, channel: int, pitch: int, time_s: float) -> None:
        """A note was sent at ``time_s``."""
        self._played.append((time_s, channel, pitch))
        self._last.append((time_s, channel, pitch, set()))
        while time_s - self._played[0][0] > WINDOW_S:
            self._played.popleft()

    def is_looping(self, port: str, now_s: float) -> bool:
        """Whether ``port`` has recently returned the notes the box played."""
        return now_s < self._loops_until.get(port, 0.0)

    def returns(self, port: str, channel: int) -> bool:
        """Whether ``port`` returns every note that the box plays on ``channel``."""
        return sum(port in ports for _, its, _, ports in self._last if its == channel) >= RETURNED

    def admits(self, port: str, message: bytes, now_s: float) -> bool:
        """Whether ``message``, read at ``now_s``, is a controller turned by hand; others are forgotten."""
        if len(message) != MESSAGE_BYTES or max(message[1:]) > HIGHEST_DATA:
            return False
        kind, channel = message[0] & KIND, message[0] & CHANNEL
        if kind == NOTE_ON and message[2] and self._is_echo(channel, message[1], now_s):
            self._loops_until[port] = now_s + LOOP_S
            for time_s, its, pitch, ports in self._last:
                if (its, pitch) == (channel, message[1]) and now_s - time_s <= WINDOW_S:
                    ports.add(port)
        if kind != CONTROL_CHANGE or (self._hears_keyboard and message[1] in PEDALS):
            return False
        if message[1] >= FIRST_MODE_MESSAGE or self.is_looping(port, now_s):
            self.n_refused += 1
            return False
        return True

    def _is_echo(self, channel: int, pitch: int, now_s: float) -> bool:
        return any(
            (channel, pitch) == (played_channel, played_pitch) and now_s - time_s <= WINDOW_S
            for time_s, played_channel, played_pitch in self._played
        )
