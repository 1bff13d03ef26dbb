"""What ``test_portaudio.py`` runs in processes of their own: libjack survives no second server in one.

``portaudio_client.py SCENARIO [ARGUMENT]`` prints what happened as one line of JSON; where it waits for the
test to do something it prints ``ready`` and reads a line.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from firmware_py.devices.sound.portaudio import PortAudioCard
from firmware_py.wiring.realtime import may_rise
from kelly_edge.contract import SAMPLE_RATE_HZ
from kelly_edge.errors import DeviceError

PERIOD = 128
N_STALLS = 3
Outcome = dict[str, Any]


class Client:
    """A card, and what it said."""

    def __init__(self, name: str = "portaudio:system", rate_hz: int = SAMPLE_RATE_HZ) -> None:
        self.warnings: list[str] = []
        self.lost: list[str] = []
        self.card = PortAudioCard(name, rate_hz, PERIOD, 3, self.warnings.append, self.lost.append)
        self.peak = 0.0

    def run(self, n_periods: int) -> float:
        """Echo what is heard; returns the seconds it took."""
        block, begin_s = np.zeros(PERIOD, np.float32), time.monotonic()
        for _ in range(n_periods):
            self.card.wait()
            self.card.read(block)
            self.peak = max(self.peak, float(np.abs(block).max()))
            self.card.write(block)
        return time.monotonic() - begin_s


def wait_for_the_test() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def pace(_: str) -> Outcome:
    client = Client()
    client.run(20)
    taken_s = client.run(375)
    client.card.close()
    return {"taken_s": taken_s, "warnings": client.warnings, "lost": client.lost}


def stalls(_: str) -> Outcome:
    client = Client()
    client.run(100)
    before = client.card.n_capture_xruns
    for _n in range(N_STALLS):
        time.sleep(0.1)
        client.run(100)
    return {"n_xruns": client.card.n_capture_xruns - before, "lost": client.lost}


def absent(name: str) -> Outcome:
    client = Client(name)
    return {"taken_s": client.run(187), "peak": client.peak, "warnings": client.warnings}


def refused(rate: str) -> Outcome:
    try:
        Client(rate_hz=int(rate))
    except DeviceError as error:
        return {"error": str(error)}
    return {"error": ""}


def killed(_: str) -> Outcome:
    client = Client()
    client.run(50)
    was_there = client.card.is_there
    wait_for_the_test()
    begin_s = time.monotonic()
    while not client.lost:
        client.run(1)
    return {"was_there": was_there, "taken_s": time.monotonic() - begin_s, "lost": client.lost}


def comes(_: str) -> Outcome:
    client = Client()
    was_there = client.card.is_there
    client.run(10)
    wait_for_the_test()
    begin_s = time.monotonic()
    while not client.card.is_there and time.monotonic() < begin_s + 300:
        client.run(10)
    taken_s = time.monotonic() - begin_s
    client.run(50)
    return {"was_there": was_there, "taken_s": taken_s, "warnings": client.warnings}


SCENARIOS: dict[str, Callable[[str], Outcome]] = {
    scenario.__name__: scenario for scenario in (pace, stalls, absent, refused, killed, comes)
}

if __name__ == "__main__":
    # As the audio process runs, where that is granted: other work on the machine costs no xruns.
    if may_rise():
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(80))
    outcome = SCENARIOS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "")
    print(json.dumps(outcome), flush=True)
    os._exit(0)
