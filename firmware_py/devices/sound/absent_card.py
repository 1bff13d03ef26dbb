"""What a sound card's adapter does while its device is away: keep the pace, look for it, say so once."""

import math
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

REOPEN_EVERY_S: Final = 0.5
"""Chosen: a card that is plugged in is heard at once, and looking costs little."""
HANGS_AFTER_S: Final = 0.25
"""A card that delivers no period for this time is gone. Chosen: some fifty periods; no card is that late."""
FALLS_BEHIND_S: Final = 0.25
"""A process that slept longer than this is not made to catch up. Chosen: as ``alsa.HANGS_AFTER_S``."""


class SilentCard:
    """A ``SoundCard`` without a device: silence at the pace of the clock, where no microphone is listened to.

    Parameters
    ----------
    period_s: how long a period lasts.
    """

    is_there = True
    n_capture_xruns = n_playback_xruns = 0

    def __init__(self, period_s: float) -> None:
        self._pace = AbsentCard("", period_s, lambda text: None)
        self._pace.reopen_s = math.inf

    def wait(self) -> None:
        """Until a period has passed."""
        self._pace.pass_a_period(lambda: None)

    def read(self, out: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""
        out[:] = 0.0

    def write(self, block: NDArray[np.float32]) -> None:
        """See ``SoundCard``."""

    def close(self) -> None:
        """Nothing is open."""


class AbsentCard:
    """The device called ``name`` while it is away; a period lasts ``period_s``.

    Attributes
    ----------
    reopen_s: from this time (CLOCK_MONOTONIC) on the device is looked for.
    """

    def __init__(self, name: str, period_s: float, warn: Callable[[str], None]) -> None:
        self.reopen_s = 0.0
        self._name = name
        self._period_s = period_s
        self._warn = warn
        self._tick_s = time.monotonic()
        self._was_there = True

    def goes(self, why: str) -> None:
        """It is not there, now or still."""
        self._tick_s = time.monotonic()
        self.reopen_s = self._tick_s + REOPEN_EVERY_S
        if self._was_there:
            self._was_there = False
            self._warn(f"sound card {self._name} is not there ({why}); plug it in or set audio.card")

    def comes(self, how: str) -> None:
        """It is open; ``how`` ends the sentence if it had been away."""
        if not self._was_there:
            self._was_there = True
            self._warn(f"sound card {self._name} {how}")

    def pass_a_period(self, open_it: Callable[[], None]) -> None:
        """Sleep as long as a period takes; now and then try to open the device."""
        now_s = time.monotonic()
        if now_s >= self.reopen_s:
            open_it()
            now_s = time.monotonic()
        self._tick_s = max(self._tick_s + self._period_s, now_s - FALLS_BEHIND_S)
        time.sleep(max(0.0, self._tick_s - now_s))
