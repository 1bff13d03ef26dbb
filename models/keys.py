"""A keyboard's performance as the ears are given it, without the rest of the box."""

from collections.abc import Iterable, Iterator

import numpy as np

from firmware_py.board.map import memory_board
from firmware_py.devices.files.midi_file import KeyboardPerformance, KeyboardPlayer
from firmware_py.devices.offline import VirtualClock
from firmware_py.processes.keyboard import Keyboard
from kelly_edge.contract import GROUP_S, KEY_DTYPE

Key = tuple[int, int, float]
"""Pitch, velocity and time of a record of ``KEY_DTYPE``."""


def keys_until(
    performance: KeyboardPerformance, times_s: Iterable[float]
) -> Iterator[tuple[float, list[Key]]]:
    """Each of ``times_s`` (increasing, in seconds), with the keys that came since the one before."""
    ends, clock, key = memory_board(), VirtualClock(), np.zeros((), KEY_DTYPE)
    player = KeyboardPlayer(performance, Keyboard(ends.ends("control"), clock).hear, clock)
    for time_s in times_s:
        while clock.time_s < time_s:
            # As often as the box looks: keys are never dated long ago.
            clock.time_s = min(clock.time_s + GROUP_S, time_s)
            player.step()
        came = []
        while ends.rings["keys"].read(key):
            came.append((int(key["pitch"]), int(key["velocity"]), float(key["time_s"])))
        yield time_s, came
