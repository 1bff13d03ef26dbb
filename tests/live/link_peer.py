"""Another program in an Ableton Link session: ``link_peer.py BPM`` joins, and prints once per line read:
CLOCK_MONOTONIC, beats since the bar line then, its tempo, and how many others are there.
"""

import sys
import time

from link import Link


def main() -> None:
    link = Link(float(sys.argv[1]))
    link.enabled = True
    print("ready", flush=True)
    for _ in sys.stdin:
        state = link.captureAppSessionState()
        before_s, now_us, after_s = time.monotonic(), link.clock().micros(), time.monotonic()
        phase = state.phaseAtTime(now_us, 4.0)
        print((before_s + after_s) / 2, phase, state.tempo(), link.numPeers(), flush=True)


if __name__ == "__main__":
    main()
