"""The beat of MIDI clock heard: where its pulses lie, and which of them are beats and bar lines.

Pulses come 24 to a quarter note, late by whatever carried them and never early. A line through the last two
beats of them says where the next ones lie; a tempo that jumps begins a new line. Start, Continue and the song
position tell which pulse is a beat: a clock that was never started has a tempo, and no beat.

Source: MIDI 1.0 Detailed Specification (M1-1.0), System Real Time and Song Position Pointer. MIDI clock knows
no metre: bars are taken to have four beats.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

PULSES_PER_BEAT: Final = 24
"""MIDI 1.0: timing clock, pulses per quarter note."""
PULSES_PER_POSITION: Final = 6
"""A song position counts sixteenths. MIDI 1.0, song position pointer."""
N_BEATS: Final = 4
"""Of a bar: MIDI clock says no metre. Chosen: four quarters."""
WINDOW: Final = 2 * PULSES_PER_BEAT
"""Pulses that the line is fitted to. Chosen: two beats."""
LEAST: Final = PULSES_PER_BEAT // 2
"""Pulses from which a line is believed; after a jump the newest are enough. Chosen: half a beat."""
N_NEWEST: Final = 6
"""Pulses. Chosen: a quarter of a beat."""
JUMPED_S: Final = 0.008
"""The newest pulses all lie this far from the line, on one side: another tempo. Chosen: JACK brings pulses a
period of its own late, now and then two (5 ms at 256 frames)."""
LONGEST_PULSE_S: Final = 0.15
"""At 17 bpm. A longer gap is a break. Chosen below the slowest tempo that sequencers send."""
USUAL: Final = 0.3
"""An interval within this share of the usual one is usual. Chosen by hand."""
N_SURE: Final = 4
"""Pulses at usual intervals after a long one that tell a loss from a pulse held up. Chosen by hand."""
LOST_S: Final = 0.5
"""Without a pulse for this long the clock is gone. Chosen: three of the longest gaps."""


@dataclass(frozen=True)
class ClockBeat:
    """Beats ``beat_s`` apart, a bar line at ``line_s``, both in seconds of the stream; the last pulse."""

    line_s: float
    beat_s: float
    pulse_s: float


class ClockFollower:
    """Takes messages in their order, times in seconds of the stream; ``beat`` says what they mean."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=WINDOW)
        self._n = 0
        """Pulses heard; the number of the next one."""
        self._first: float | None = None
        """The number of the pulse that is song position 0 (it may lie before the first one heard)."""
        self._position = 0
        """Pulses from the song's beginning at which the next start goes on."""
        self._is_running = False
        self._is_known = False

    def pulse(self, time_s: float) -> None:
        """A pulse was heard."""
        if self._times_s and not 0.0 <= time_s - self._times_s[-1] < LONGEST_PULSE_S:
            self._times_s.clear()
            self._is_known = False
        self._times_s.append(time_s)
        self._is_known |= len(self._times_s) >= LEAST
        self._n += 1
        self._fill_gap()

    def _fill_gap(self) -> None:
        """Count pulses that were lost on the way: one long interval between usual ones is no slower tempo."""
        times_s = self._times_s
        if len(times_s) < LEAST + N_SURE:
            return
        *older, before_s = list(times_s)[:-N_SURE]
        newest = list(times_s)[-N_SURE:]
        pulse_s = (before_s - older[0]) / len(older)
        # After a pulse that was held up the next ones come sooner.
        is_usual = (np.abs(np.diff(newest) - pulse_s) < USUAL * pulse_s).all()
        n_lost = round((newest[0] - before_s) / pulse_s) - 1
        if n_lost < 1 or not is_usual:
            return
        for _ in newest:
            times_s.pop()
        times_s.extend(np.linspace(before_s, newest[0], n_lost + 2)[1:-1].tolist())
        times_s.extend(newest)
        self._n += n_lost

    def start(self) -> None:
        """The next pulse is the song's first."""
        self._position = 0
        self.go_on()

    def go_on(self) -> None:
        """The next pulse is where the song was stopped, or was set to."""
        self._first = self._n - self._position
        self._is_running = True

    def stop(self) -> None:
        """The song stands still; pulses may go on."""
        if self._is_running and self._first is not None:
            self._position = int(self._n - self._first)
        self._is_running = False

    def locate(self, sixteenths: int) -> None:
        """The song position was set."""
        self._position = PULSES_PER_POSITION * sixteenths
        if self._is_running:
            self.go_on()

    def beat(self, now_s: float) -> ClockBeat | None:
        """The beat at ``now_s``; None where the clock stands, is gone, or was not heard for long enough."""
        if not self._is_running or self._first is None or not self._is_known:
            return None
        if now_s - self._times_s[-1] > LOST_S:
            return None
        at_last_s, pulse_s = self._line()
        if pulse_s <= 0.0:
            return None
        bar = N_BEATS * PULSES_PER_BEAT
        since_line = (self._n - 1 - self._first) % bar
        return ClockBeat(at_last_s - since_line * pulse_s, PULSES_PER_BEAT * pulse_s, self._times_s[-1])

    def _line(self) -> tuple[float, float]:
        """When the newest pulse should have come, and seconds from pulse to pulse."""
        times_s = np.array(self._times_s)
        if len(times_s) >= LEAST + N_NEWEST:
            n_older = len(times_s) - N_NEWEST
            slope, end_s = _fit(times_s[:n_older])
            off_s = times_s[n_older:] - (end_s + slope * np.arange(1, N_NEWEST + 1))
            if (off_s > JUMPED_S).all() or (off_s < -JUMPED_S).all():
                self._times_s = deque(times_s[n_older:], maxlen=WINDOW)
                times_s = times_s[n_older:]
        slope, end_s = _fit(times_s)
        return end_s, slope


def _fit(times_s: NDArray[np.float64]) -> tuple[float, float]:
    """The straight line through pulses: seconds from one to the next, and where the last one lies on it."""
    numbers = np.arange(len(times_s)) - (len(times_s) - 1) / 2
    middle_s = float(times_s.mean())
    slope = float(numbers @ (times_s - middle_s) / (numbers @ numbers))
    return slope, middle_s + slope * float(numbers[-1])
