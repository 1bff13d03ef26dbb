"""A sequencer at the other end: MIDI clock on JACK, on a grid of CLOCK_MONOTONIC.

``clock_sender.py BPM SECONDS`` prints ``ready`` when its port is there, reads when to begin, and then sends
Start, and pulses from that time on.
"""

import contextlib
import os
import sys
import time

import rtmidi

PORT = "kelly_test_clock"


def main() -> None:
    bpm, seconds = map(float, sys.argv[1:])
    out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, PORT)
    out.open_virtual_port("out")
    print("ready", flush=True)
    begin_s = float(sys.stdin.readline())
    pulse_s = 60.0 / bpm / 24
    # A sequencer is on time, whatever else runs here.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))
    time.sleep(max(0.0, begin_s - 0.02 - time.monotonic()))
    out.send_message([0xFA])
    for number in range(round(seconds / pulse_s)):
        due_s = begin_s + number * pulse_s
        time.sleep(max(0.0, due_s - time.monotonic()))
        out.send_message([0xF8])


if __name__ == "__main__":
    main()
